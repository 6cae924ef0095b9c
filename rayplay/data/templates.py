"""Templates (JSON) + the real tools -> Tasks and Demonstrations whose labels cannot disagree with the tools.

An intent in `templates/*.json` has slots, wordings for training and for held-out tasks, the calls that serve it (a
list of turns, each a list of calls made together), and a reply. Replies, answers, end states and the arguments of later
calls are filled in from results of calls that were really executed; an answer that the results do not hold is an error
of the template, not a label. An intent with `earlier` exchanges is a conversation: a wording is then a list of
requests, and the task begins at the last one, in the state that the others left.

Train and held-out tasks share no wording and no slot value: every value belongs to one side by its hash.
"""

import json
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rayplay.data.template_files import ATTEMPTS, Template, draw_values, fill, plain, read_templates
from rayplay.data.variation import offer, reword
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
    seed_of,
)

# (name, arguments) -> result; tools of stateful toolsets get the JSON state to start from as a third argument
Execute = Callable[..., ToolResult]

SOURCE = "templates"
# Share of each kind among those that the tools on offer can serve; a kind with 0 comes only where a recipe asks.
KINDS = {
    "one_call": 0.45,
    "two_calls": 0.2,
    "choice": 0.1,
    "no_tool": 0.25,
    "stateful": 0.5,
    "missing_parameter": 0.0,
    "no_fitting_tool": 0.0,
}


def build_tasks(
    specs: tuple[ToolSpec, ...],
    execute: Execute,
    *,
    count: int,
    split: str,
    seed: int,
    kinds: dict[str, float] | None = None,
    paraphrase: float = 0.0,
    distractors: int = 0,
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
        paraphrase: Share of requests that are reworded by rules (which never touch a slot value).
        distractors: Tools offered beside `specs` that nothing implements and no task needs.

    Raises:
        DataError: Not enough wordings and values, an unknown kind, a call that failed, or an answer that is not in
            the results.
    """
    names = {spec.name for spec in specs}
    usable = [t for t in read_templates() if t.split == split and t.fits(names)]
    execute = _remembering(execute)
    asked: set[tuple[str, ...]] = set()
    built: list[tuple[Task, Demonstration]] = []
    for kind, share in _shares(kinds or KINDS, count, usable).items():
        of_kind = [t for t in usable if t.kind == kind]
        for template, request, values in _draw(of_kind, share, split, seed, asked, kind, paraphrase):
            offered = offer(specs, distractors, seed_of(seed, request))
            built.append(_build(template, request, values, specs, offered, execute))
    random.Random(seed_of(seed, SOURCE, split)).shuffle(built)
    return built


def read_options(options: Json) -> Json:
    """A recipe's `options` of this source as arguments of `build_tasks`: paraphrase in [0, 1], distractors from 0.

    Raises:
        DataError: Another key, or a value out of range.
    """
    ranges = {"paraphrase": 1.0, "distractors": 100}
    for key, value in options.items():
        if key not in ranges:
            raise DataError(f"templates: unknown option {key!r}; there are: {', '.join(ranges)}")
        kinds_of_number = (int,) if key == "distractors" else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds_of_number) or not 0 <= value <= ranges[key]:
            raise DataError(f"templates: option {key} is {value!r}; give a number from 0 to {ranges[key]:g}")
    return dict(options)


def _shares(kinds: dict[str, float], count: int, usable: Iterable[Template]) -> dict[str, int]:
    """Whole numbers that add up to `count`, by largest remainder."""
    present = {t.kind for t in usable}
    for kind in kinds:
        if kind not in KINDS:
            raise DataError(f"templates: unknown kind {kind!r}; there are: {', '.join(KINDS)}")
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
    templates: list[Template],
    share: int,
    split: str,
    seed: int,
    asked: set[tuple[str, ...]],
    kind: str,
    paraphrase: float,
) -> Iterator[tuple[Template, str, Json]]:
    """`share` fills of the templates in turn, everything said in each a new one; adds it to `asked`."""
    waiting = deque(random.Random(seed_of(seed, split, kind)).sample(templates, len(templates)))
    draws = {t.template_id: random.Random(seed_of(seed, t.template_id)) for t in templates}
    drawn = 0
    while drawn < share:
        if not waiting:
            raise DataError(f"templates: only {drawn} distinct {split} requests of kind {kind!r}; {share} wanted")
        template = waiting.popleft()
        rng = draws[template.template_id]
        for _ in range(ATTEMPTS):
            values = draw_values(template, split, rng)
            # Rewording has a generator of its own, so that the values do not depend on how much is reworded.
            pattern = reword(template.request, split, paraphrase, random.Random(seed_of(seed, str(values))))
            request = plain(fill(pattern, values))
            said = (*(plain(fill(exchange.request, values)) for exchange in template.earlier), request)
            if said not in asked:
                asked.add(said)
                waiting.append(template)
                drawn += 1
                yield template, request, values
                break


@dataclass
class _Said:
    """A conversation as it grows, with what its results tell."""

    messages: list[Message]
    values: Json
    states: Json
    expected: list[ExpectedCall] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def _build(
    template: Template,
    request: str,
    values: Json,
    specs: tuple[ToolSpec, ...],
    offered: tuple[ToolSpec, ...],
    execute: Execute,
) -> tuple[Task, Demonstration]:
    said = _Said([], values | {"request": request}, dict(fill(template.state, values)) if template.state else {})
    for exchange in template.earlier:
        said.messages.append(Message(role="user", content=plain(fill(exchange.request, values))))
        for turn in exchange.turns:
            _take_turn(said, template, turn, specs, execute)
        said.messages.append(Message(role="assistant", content=plain(fill(exchange.reply, said.values))))
    said.messages.append(Message(role="user", content=request))
    said.expected.clear()  # what was asked before is done
    asked, start, heard = tuple(said.messages), dict(said.states), len(said.texts)
    for turn in template.turns:
        _take_turn(said, template, turn, specs, execute)
    reply = plain(fill(template.reply, said.values))
    expected = Expected(
        calls=tuple(said.expected),
        answer=tuple(plain(fill(a, said.values)) for a in template.answer),
        end_state=said.states or None,
        check_calls=template.check_calls,
    )
    _check_answer(template, expected, reply, said.texts[heard:])
    origin = {"licence": "MIT", "origin": template.template_id}
    state = json.dumps(start, sort_keys=True) if start else None
    task = Task.build(SOURCE, asked, offered, kind=template.kind, expected=expected, state=state, **origin)
    messages = (*said.messages, Message(role="assistant", content=reply))
    return task, Demonstration(row_id=task.task_id, source=SOURCE, messages=messages, tools=offered, **origin)


def _take_turn(
    said: _Said, template: Template, turn: tuple[Json, ...], specs: tuple[ToolSpec, ...], execute: Execute
) -> None:
    """Execute the calls of one assistant message, in order, and say them and their results."""
    wanted = [
        ExpectedCall(
            name=call["name"],
            arguments=fill(call["arguments"], said.values),
            alternatives={k: tuple(fill(v, said.values)) for k, v in call.get("alternatives", {}).items()},
            optional=tuple(call.get("optional", ())),
        )
        for call in turn
    ]
    number = sum(bool(message.tool_calls) for message in said.messages)
    made = [ToolCall(call_id=f"call-{number}-{n}", name=w.name, arguments=w.arguments) for n, w in enumerate(wanted)]
    said.messages.append(Message(role="assistant", tool_calls=tuple(made)))
    said.expected += wanted
    for call in made:
        result = _execute(said.states, call, specs, execute)
        if result.status is not Status.OK:
            raise DataError(
                f"template {template.template_id}: {call.name} answered {result.status}: {result.text[:200]}"
            )
        said.messages.append(Message(role="tool", content=result.text, tool_call_id=call.call_id, name=call.name))
        said.values[f"r{len(said.texts)}"] = _readable(result.text)
        said.texts.append(result.text)


def _execute(states: Json, call: ToolCall, specs: tuple[ToolSpec, ...], execute: Execute) -> ToolResult:
    """Run a call; a stateful one starts from its toolset's state and leaves a new one in `states`."""
    toolset = next(spec.toolset for spec in specs if spec.name == call.name)
    if not toolset:
        return execute(call.name, call.arguments)
    result = execute(call.name, call.arguments, json.dumps(states.get(toolset)))
    if result.state is not None:
        states[toolset] = json.loads(result.state)
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


def _remembering(execute: Execute) -> Execute:
    """Equal calls from equal states are executed once."""
    known: dict[str, ToolResult] = {}

    def remember(*call: Any) -> ToolResult:
        key = json.dumps(call, sort_keys=True)
        if key not in known:
            known[key] = execute(*call)
        return known[key]

    return remember
