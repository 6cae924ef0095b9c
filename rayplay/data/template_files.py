"""`templates/*.json` -> Templates; slots -> values of one side of the split; patterns -> text.

`{a}` stands for a slot, `{e.author}` for a field of a listed thing, `{r0}` for the text of the first result,
`{r0.condition}` for a field of it.
"""

import datetime
import json
import random
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from rayplay.errors import DataError
from rayplay.records import Json, digest
from rayplay.strict_json import read_json
from rayplay.text_files import read_text

FOLDER = Path(__file__).with_name("templates")
HELD_OUT_ONE_IN = 4  # share of slot values that training never sees
ATTEMPTS = 40  # draws of values before a wording is given up

_PLACE = re.compile(r"\{([a-z]\w*)((?:\.\w+)*)\}")


class Exchange(NamedTuple):
    """What was said and done before the request of a conversation of several."""

    request: str
    turns: tuple[tuple[Json, ...], ...]
    reply: str


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
    state: Json | None = None  # initial state by toolset
    check_calls: bool = True
    without: tuple[str, ...] = ()  # must not be on offer, for the request to be one that no tool fits
    needs: tuple[str, ...] = ()  # must be on offer though it is not called
    earlier: tuple[Exchange, ...] = ()

    def fits(self, names: set[str]) -> bool:
        """Whether the tools on offer serve it."""
        return self.called | set(self.needs) <= names and not set(self.without) & names

    @property
    def called(self) -> set[str]:
        """Names of the tools that the conversation calls."""
        turns = [*self.turns, *(turn for exchange in self.earlier for turn in exchange.turns)]
        return {call["name"] for turn in turns for call in turn}


@lru_cache(maxsize=1)
def read_templates() -> tuple[Template, ...]:
    """All templates of the folder, in the order of file names."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        content = read_json(read_text(path))
        for intent in content.get("intents", []) if isinstance(content, dict) else []:
            found += _wordings(intent)
    return tuple(found)


def _wordings(intent: Json) -> Iterator[Template]:
    for split, wordings in intent["requests"].items():
        for n, wording in enumerate(wordings):
            *before, request = [wording] if isinstance(wording, str) else wording
            yield Template(
                template_id=f"{intent['id']}/{split}/{n}",
                kind=intent["kind"],
                split=split,
                request=request,
                slots=intent.get("slots", {}),
                turns=tuple(map(tuple, intent["calls"])),
                reply=intent["reply"],
                answer=tuple(intent["answer"]),
                state=intent.get("state"),
                check_calls=intent.get("check_calls", True),
                without=tuple(intent.get("without", ())),
                needs=tuple(intent.get("needs", ())),
                earlier=tuple(
                    Exchange(said, tuple(map(tuple, done["calls"])), done["reply"])
                    for said, done in zip(before, intent.get("earlier", ()), strict=True)
                ),
            )


@lru_cache(maxsize=1)
def read_lists() -> dict[str, list[Any]]:
    """Words and things that slots draw from: strings, or objects with a `name` and further fields."""
    return read_json(read_text(FOLDER / "lists.json"))


def side_of(value: Any) -> str:
    """The split that a slot value belongs to, whatever slot or template it is used in."""
    return "held_out" if int(digest(["slot", plain(value)]), 16) % HELD_OUT_ONE_IN == 0 else "train"


def fill(pattern: Any, values: Json) -> Any:
    """Replace the places of a pattern, also inside objects and lists; a pattern of one place keeps the value's type."""
    if isinstance(pattern, dict):
        return {fill(key, values): fill(value, values) for key, value in pattern.items()}
    if isinstance(pattern, list):
        return [fill(item, values) for item in pattern]
    if not isinstance(pattern, str):
        return pattern
    whole = _PLACE.fullmatch(pattern)
    if whole:
        value = _look_up(whole, values)
        return value["name"] if isinstance(value, dict) and "name" in value else value
    return _PLACE.sub(lambda place: plain(_look_up(place, values)), pattern)


def literal_parts(pattern: str) -> list[str]:
    """A pattern cut into [text, place, text, place, ..., text]: what may be reworded stands at even indices."""
    parts, end = [], 0
    for place in _PLACE.finditer(pattern):
        parts += [pattern[end : place.start()], place[0]]
        end = place.end()
    return [*parts, pattern[end:]]


def plain(value: Any) -> str:
    """A value as it stands in text; a listed thing stands for its name."""
    return str(value["name"]) if isinstance(value, dict) and "name" in value else str(value)


def draw_values(template: Template, split: str, rng: random.Random) -> Json:
    """A value for every slot, all different, all of the split's side.

    Raises:
        DataError: A slot has none.
    """
    for _ in range(ATTEMPTS):
        values: Json = {}
        for name, slot in template.slots.items():
            free = [v for v in _candidates(slot, values, split) if plain(v) not in map(plain, values.values())]
            if not free:
                break
            values[name] = rng.choice(free)
        else:
            return values
    raise DataError(f"template {template.template_id}: a slot has no {split} value; widen its range")


def _candidates(slot: Json, values: Json, split: str) -> list[Any]:
    if "times" not in slot:
        return candidates(json.dumps(slot), split)
    factor = values[slot["times"]] if isinstance(slot["times"], str) else slot["times"]
    low, high = slot["int"]
    return [n * factor for n in range(low, high + 1) if side_of(n * factor) == split]


@lru_cache(maxsize=512)
def candidates(slot_json: str, split: str) -> list[Any]:
    """All values of a slot (given as JSON text) that stand on one side of the split."""
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


def _look_up(place: re.Match[str], values: Json) -> Any:
    value = values[place[1]]
    for field in place[2].split(".")[1:]:
        value = value[field]
    return value
