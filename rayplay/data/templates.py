"""Templates (JSON) + the real tools -> Tasks and Demonstrations whose labels cannot disagree with the tools.

An intent in `templates/*.json` has slots, wordings for training and for held-out tasks, the calls that serve it (a
list of turns, each a list of calls made together), and a reply. `{a}` stands for a slot, `{e.author}` for a field of a
listed thing, `{r0}` for the text of the first result and `{r0.condition}` for a field of it. Replies, answers and the
arguments of later calls are filled in from results of calls that were really executed; an answer that the results do
not hold is an error of the template, not a label.

Train and held-out tasks share no wording and no slot value: every value belongs to one side by its hash.
"""

import datetime
import json
import random
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from rayplay.errors import DataError
from rayplay.matching import answer_found
from rayplay.records import (
    Demonstration,
    Expected,
    ExpectedCall,
    Json,
    Message,
    Status,
    Task,
    ToolCall,
    ToolResult,
    ToolSpec,
    digest,
    seed_of,
)  # fmt: skip

Execute = Callable[[str, Json], ToolResult]

FOLDER = Path(__file__).with_name("templates")
SOURCE = "templates"
KINDS = {"one_call": 0.45, "two_calls": 0.2, "choice": 0.1, "no_tool": 0.25}
HELD_OUT_ONE_IN = 4  # share of slot values that training never sees
ATTEMPTS = 40  # draws that give nothing new before a wording counts as used up

_PLACE = re.compile(r"\{([a-z]\w*)((?:\.\w+)*)\}")


class Template(NamedTuple):
    """One wording of one intent."""

    template_id: str
    kind: str
    split: str  # "train" or "held_out"
    request: str
    slots: dict[str, Json]
    turns: tuple[tuple[Json, ...], ...]
    reply: str
    answer: tuple[str, ...]

    def tools(self) -> set[str]:
        """Names of the tools that it calls."""
        return {call["name"] for turn in self.turns for call in turn}


def build_tasks(
    specs: tuple[ToolSpec, ...],
    execute: Execute,
    *,
    count: int,
    split: str,
    seed: int,
    kinds: dict[str, float] | None = None,
) -> list[tuple[Task, Demonstration]]:
    """`count` tasks with distinct requests, each with the conversation that solves it.

    Kinds get their share of `count` and every wording of a kind the same share of that. The same arguments give the
    same tasks in the same order.

    Args:
        specs: Tools on offer; templates that call any other tool are left out.
        execute: Runs a call with the real tool.
        count: How many tasks.
        split: "train" or "held_out".
        seed: Of the choice of values and of the order.
        kinds: Weight by kind; none = `KINDS`.

    Raises:
        DataError: Not enough wordings and values, an unknown kind, a call that failed, or an answer that is not in
            the results.
    """
    names = {spec.name for spec in specs}
    usable = [t for t in read_templates() if t.split == split and t.tools() <= names]
    execute = _remembering(execute)
    requests: set[str] = set()
    built: list[tuple[Task, Demonstration]] = []
    for kind, share in _shares(kinds or KINDS, count, usable).items():
        for template, values in _draw([t for t in usable if t.kind == kind], share, split, seed, requests, kind):
            built.append(_build(template, values, specs, execute))
    random.Random(seed_of(seed, SOURCE, split)).shuffle(built)
    return built


@lru_cache(maxsize=1)
def read_templates() -> tuple[Template, ...]:
    """All templates of the folder, in the order of file names."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        for intent in json.loads(path.read_text(encoding="utf-8")).get("intents", []):
            found += _wordings(intent)
    return tuple(found)


@lru_cache(maxsize=1)
def read_lists() -> dict[str, list[Any]]:
    """Words and things that slots draw from: strings, or objects with a `name` and further fields."""
    return json.loads((FOLDER / "lists.json").read_text(encoding="utf-8"))


def side_of(value: Any) -> str:
    """The split that a slot value belongs to, whatever slot or template it is used in."""
    return "held_out" if int(digest(["slot", _text(value)]), 16) % HELD_OUT_ONE_IN == 0 else "train"


def fill(pattern: str, values: Json) -> Any:
    """Replace the places of a pattern; a pattern that is one place and nothing else keeps the value's type."""
    whole = _PLACE.fullmatch(pattern)
    if whole:
        return _look_up(whole, values)
    return _PLACE.sub(lambda place: _text(_look_up(place, values)), pattern)


def _wordings(intent: Json) -> Iterator[Template]:
    turns = tuple(tuple(turn) for turn in intent["calls"])
    for split, requests in intent["requests"].items():
        for n, request in enumerate(requests):
            name = f"{intent['id']}/{split}/{n}"
            answer = tuple(intent["answer"])
            yield Template(name, intent["kind"], split, request, intent["slots"], turns, intent["reply"], answer)


def _shares(kinds: dict[str, float], count: int, usable: Iterable[Template]) -> dict[str, int]:
    """Whole numbers that add up to `count`, by largest remainder."""
    present = {t.kind for t in usable}
    known = sorted(present | KINDS.keys())
    for kind in kinds:
        if kind not in known:
            raise DataError(f"templates: unknown kind {kind!r}; there are: {', '.join(known)}")
    weights = {k: w for k, w in kinds.items() if k in present and w > 0}
    if not weights:
        raise DataError("templates: no wording fits these tools and kinds; add tools or other kinds to the recipe")
    total = sum(weights.values())
    exact = {k: count * w / total for k, w in weights.items()}
    shares = {k: int(x) for k, x in exact.items()}
    for k in sorted(weights, key=lambda k: shares[k] - exact[k])[: count - sum(shares.values())]:
        shares[k] += 1
    return shares


def _draw(
    templates: list[Template], share: int, split: str, seed: int, requests: set[str], kind: str
) -> Iterator[tuple[Template, Json]]:
    """`share` fills of the templates in turn, every request a new one; adds them to `requests`."""
    waiting = deque(random.Random(seed_of(seed, split, kind)).sample(templates, len(templates)))
    draws = {t.template_id: random.Random(seed_of(seed, t.template_id)) for t in templates}
    drawn = 0
    while drawn < share:
        if not waiting:
            raise DataError(
                f"templates: only {drawn} distinct {split} requests of kind {kind!r}, {share} are asked for"
            )
        template = waiting.popleft()
        for _ in range(ATTEMPTS):
            values = _values(template, split, draws[template.template_id])
            request = fill(template.request, values)
            if request not in requests:
                requests.add(request)
                waiting.append(template)
                drawn += 1
                yield template, values | {"request": request}
                break


def _values(template: Template, split: str, rng: random.Random) -> Json:
    """A value for every slot, all different, all of the split's side."""
    for _ in range(ATTEMPTS):
        values: Json = {}
        for name, slot in template.slots.items():
            free = [v for v in _candidates(slot, values, split) if all(_text(v) != _text(o) for o in values.values())]
            if not free:
                break
            values[name] = rng.choice(free)
        else:
            return values
    raise DataError(f"template {template.template_id}: a slot has no {split} value; widen its range")


def _candidates(slot: Json, values: Json, split: str) -> list[Any]:
    if "times" in slot:
        factor = values[slot["times"]] if isinstance(slot["times"], str) else slot["times"]
        low, high = slot["int"]
        return [n * factor for n in range(low, high + 1) if side_of(n * factor) == split]
    return _plain_candidates(json.dumps(slot), split)


@lru_cache(maxsize=512)
def _plain_candidates(slot_json: str, split: str) -> list[Any]:
    """All values of a slot that stand on one side of the split."""
    slot = json.loads(slot_json)
    if "list" in slot:
        pool: Iterable[Any] = read_lists()[slot["list"]]
    elif "decimal" in slot:
        low, high, places = slot["decimal"]
        pool = (n / 10**places for n in range(low * 10**places + 1, high * 10**places) if n % 10)
    elif "date" in slot:
        first, last = (datetime.date.fromisoformat(day) for day in slot["date"])
        pool = ((first + datetime.timedelta(days=n)).isoformat() for n in range((last - first).days + 1))
    else:
        pool = range(slot["int"][0], slot["int"][1] + 1)
    return [value for value in pool if side_of(value) == split]


def _build(
    template: Template, values: Json, specs: tuple[ToolSpec, ...], execute: Execute
) -> tuple[Task, Demonstration]:
    asked = Message(role="user", content=values["request"])
    said: list[Message] = [asked]
    expected: list[ExpectedCall] = []
    texts: list[str] = []
    for turn_index, turn in enumerate(template.turns):
        wanted = [_expected_call(call, values) for call in turn]
        made = tuple(
            ToolCall(call_id=f"call-{turn_index}-{n}", name=w.name, arguments=w.arguments) for n, w in enumerate(wanted)
        )
        results = [_succeed(template, execute(call.name, call.arguments)) for call in made]
        said.append(Message(role="assistant", tool_calls=made))
        said += [
            Message(role="tool", content=result.text, tool_call_id=call.call_id, name=call.name)
            for call, result in zip(made, results, strict=True)
        ]
        for result in results:
            values[f"r{len(texts)}"] = _readable(result.text)
            texts.append(result.text)
        expected += wanted
    reply = _text(fill(template.reply, values))
    wanted_answer = Expected(answer=tuple(_text(fill(a, values)) for a in template.answer), calls=tuple(expected))
    _check_answer(template, wanted_answer, reply, texts)
    task = Task.build(
        SOURCE, (asked,), specs, kind=template.kind, expected=wanted_answer, licence="MIT", origin=template.template_id
    )
    messages = (*said, Message(role="assistant", content=reply))
    row = Demonstration(
        row_id=task.task_id, source=SOURCE, messages=messages, tools=specs, licence="MIT", origin=template.template_id
    )
    return task, row


def _expected_call(call: Json, values: Json) -> ExpectedCall:
    arguments = {key: _fill_argument(pattern, values) for key, pattern in call["arguments"].items()}
    alternatives = {
        key: tuple(_fill_argument(pattern, values) for pattern in patterns)
        for key, patterns in call.get("alternatives", {}).items()
    }
    return ExpectedCall(name=call["name"], arguments=arguments, alternatives=alternatives)


def _fill_argument(pattern: Any, values: Json) -> Any:
    """A listed thing stands for its name; anything but text is a constant."""
    value = fill(pattern, values) if isinstance(pattern, str) else pattern
    return value["name"] if isinstance(value, dict) and "name" in value else value


def _succeed(template: Template, result: ToolResult) -> ToolResult:
    if result.status is not Status.OK:
        raise DataError(f"template {template.template_id}: {result.name} answered {result.status}: {result.text[:200]}")
    return result


def _check_answer(template: Template, expected: Expected, reply: str, results: list[str]) -> None:
    """The reply must hold the answer, and so must the results where there are any."""
    for where, text in {"reply": reply, "results": "\n".join(results) if results else reply}.items():
        if answer_found(expected, text) < 1.0:
            raise DataError(f"template {template.template_id}: {expected.answer} is not in the {where}: {text[:200]}")


def _readable(text: str) -> Any:
    """A JSON object as such, any other result as its text."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    return value if isinstance(value, dict) else text


def _look_up(place: re.Match[str], values: Json) -> Any:
    value = values[place[1]]
    for field in place[2].split(".")[1:]:
        value = value[field]
    return value


def _text(value: Any) -> str:
    return str(value["name"]) if isinstance(value, dict) and "name" in value else str(value)


def _remembering(execute: Execute) -> Execute:
    """Equal calls are executed once."""
    known: dict[str, ToolResult] = {}

    def remember(name: str, arguments: Json) -> ToolResult:
        key = json.dumps([name, arguments], sort_keys=True)
        if key not in known:
            known[key] = execute(name, arguments)
        return known[key]

    return remember
