"""Kind of a parameter -> its JSON schema, and seeded values with the ways in which people say them.

A `Value` holds the exact JSON value and what stands for it in a request: `{v}` plainly, `{q}` quoted, `{d}` as a date,
`{t}` as a time, `{m}` as money, `{p}` as a percentage, `{u}` a unit of length.
"""

import datetime
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from rayplay.records import Json

FOLDER = Path(__file__).with_name("zoo")
_KIND = re.compile(r"(\w+)(?:\(([^)]*)\))?(?::(.*))?")


SHORT_UNIT_SHARE = 0.4
INVENTED_SHARE = 0.4  # more, and a small model no longer minds what a value means
MEANINGFUL = (
    "language", "currency", "color", "unit", "function_text", "field", "diet", "file", "compound", "element",
    "planet",
)  # fmt: skip
SMALL_WORDS = ("the", "a", "an", "of", "at", "in", "on", "and", "to", "for", "with")
ONSETS = (
    "b", "br", "c", "ch", "d", "dr", "f", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v",
    "w", "z",
)  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ou")
CODAS = ("", "", "n", "r", "l", "s", "th", "ck", "m", "nd", "rt")


@dataclass(frozen=True)
class Value:
    """A JSON value and how it may be said."""

    json: Any
    said: dict[str, str] = field(default_factory=dict)

    def __format__(self, form: str) -> str:
        return self.said.get(form) or self.said["v"]


@lru_cache
def words() -> dict[str, list[str]]:
    """The word lists by name."""
    return json.loads((FOLDER / "words.json").read_text(encoding="utf-8"))


def schema_of_kind(kind: str, rng: random.Random) -> Json:
    """The schema of a kind, in one of the ways that people declare it."""
    name, bounds, rest = _parts(kind)
    if name == "num" and len(bounds) < 3 and bounds[1] - bounds[0] >= 10 and rng.random() < 0.35:
        return {"type": "integer"}
    if name in ("num", "frac", "pct", "decpct"):
        schema: Json = {"type": "number"}
        return schema | {"format": "float"} if rng.random() < 0.12 else schema
    if name in ("money", "bigmoney"):
        return {"type": rng.choice(("number", "number", "integer"))}
    if name in ("int", "year"):
        return {"type": "integer"}
    if name == "bool":
        return {"type": "boolean"}
    if name == "enum":
        return {"type": "string", "enum": rest.split(",")}
    if name in ("nums", "nums2", "ints"):
        return {"type": "array", "items": {"type": "integer" if name == "ints" and rng.random() < 0.6 else "number"}}
    if name == "list":
        return {"type": "array", "items": {"type": "string"} | _choices(rest, rng)}
    if name == "obj":
        properties = {k: schema_of_kind(inner, rng) for k, inner in OBJECTS[rest].items()}
        return {"type": "object", "properties": properties}
    return {"type": "string"}


def _choices(kind: str, rng: random.Random) -> Json:
    """The values that a list may hold, where they can be told, written in one way."""
    closed = {entry.split(":")[0] for entry in words()["choice"]}
    if kind not in closed or rng.random() < 0.3:
        return {}
    write = rng.choice((str, str.title, str.capitalize))
    some = rng.sample(words()[kind], rng.randint(3, 6))
    return {"enum": [write(value.removeprefix("a ")) for value in some]}


def draw_value(kind: str, schema: Json, rng: random.Random) -> Value:
    """A value of the kind that fits its schema."""
    name, bounds, rest = _parts(kind)
    if name in _NUMBERS:
        return _NUMBERS[name](bounds, schema, rng)
    if name == "enum":
        value = rng.choice(rest.split(","))
        said = value.replace("_", " ")
        said = said.title() if rng.random() < 0.15 and value.islower() else said
        return Value(value, {"v": said})
    if name == "list" and "enum" in schema["items"]:
        chosen = rng.sample(schema["items"]["enum"], rng.choice((1, 1, 2, 2, 3)))
        return Value(chosen, {"v": join([v if rng.random() < 0.5 else v.lower() for v in chosen], rng)})
    if name == "list":
        chosen = [invent(v, rest, rng) for v in rng.sample(words()[rest], rng.randint(2, 3))]
        return Value(chosen, {"v": join(chosen, rng)})
    if name == "obj":
        return _object(rest, schema, rng)
    if name in _TEXTS:
        return _TEXTS[name](rng)
    chosen = invent(rng.choice(words()[name.rstrip("2")]), name.rstrip("2"), rng)
    quote = rng.choice(('"', "'"))
    return Value(chosen, {"v": chosen, "q": f"{quote}{chosen}{quote}" if quote not in chosen else f'"{chosen}"'})


def join(parts: list[str], rng: random.Random) -> str:
    """`a, b and c`."""
    last = rng.choice((" and ", ", and ")) if len(parts) > 2 else " and "
    return ", ".join(parts[:-1]) + last + parts[-1] if len(parts) > 1 else parts[0]


def shorten_units(text: str, rng: random.Random) -> str:
    """Some of the units behind numbers in short, without a space: `12 kilowatts` or `12kW`."""

    def short(found: re.Match[str]) -> str:
        return found[1] + rng.choice(_shorts()[found[2]]) if rng.random() < SHORT_UNIT_SHARE else found[0]

    return _numbers_with_units().sub(short, text)


@lru_cache
def _shorts() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in words()["short_unit"]:
        unit, short = entry.split(":")
        found.setdefault(unit, []).append(short)
    return found


@lru_cache
def _numbers_with_units() -> re.Pattern[str]:
    units = sorted(_shorts(), key=len, reverse=True)
    return re.compile(rf"(\d) ({'|'.join(map(re.escape, units))})(?![\w/^])")


def invent(text: str, kind: str, rng: random.Random) -> str:
    """Often a new value of the shape of `text`, so that copying is learned and not a list: names are made up of
    syllables, words drawn anew, digits and capitals redrawn. Kinds whose values mean something stay as they are.
    """
    if kind in MEANINGFUL or rng.random() > INVENTED_SHARE:
        return text
    return re.sub(r"[A-Za-z][a-z]+|[A-Z]+|\d", lambda part: _invent_part(part[0], rng), text)


def _invent_part(part: str, rng: random.Random) -> str:
    if part.lower() in SMALL_WORDS or (len(part) > 1 and rng.random() < 0.25):
        return part
    if part.isdigit():
        return str(rng.randint(1, 9))
    if part.isupper():
        return "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in part)
    if part.islower():
        return rng.choice(words()["common"])
    if rng.random() < 0.4:
        return rng.choice(words()["common"]).capitalize()
    return "".join(
        rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(rng.choice((1, 2, 2, 3)))
    ).capitalize() + rng.choice(CODAS)


def _parts(kind: str) -> tuple[str, list[float], str]:
    match = _KIND.fullmatch(kind)
    bounds = [float(b) for b in match[2].split(",")] if match[2] else []
    return match[1], bounds, match[3] or ""


def _num(bounds: list[float], schema: Json, rng: random.Random) -> Value:
    low, high = bounds[:2]
    decimals = int(bounds[2]) if len(bounds) > 2 else (1 if rng.random() < 0.3 else 0)
    decimals = 0 if schema["type"] == "integer" else decimals
    value = round(rng.uniform(low, high), decimals) if decimals else rng.randint(int(low), int(high))
    return Value(value, {"v": _spoken(value, rng), "u": rng.choice(words()["unit"])})


def _int(bounds: list[float], schema: Json, rng: random.Random) -> Value:
    value = rng.randint(int(bounds[0]), int(bounds[1]))
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    said = names[value] if 1 < value <= 10 and rng.random() < 0.2 else _spoken(value, rng)
    return Value(value, {"v": said})


def _money(bounds: list[float], schema: Json, rng: random.Random, scale: int = 1) -> Value:
    if scale > 1 and rng.random() < 0.25:
        value = rng.randint(2, 95) * 100_000
        short = f"{value / 1e6:g}"
        return Value(value, {"v": f"{short} million", "m": rng.choice((f"{short} million dollars", f"${short}M"))})
    value: float = rng.choice((rng.randint(5, 99), rng.randint(1, 40) * 50, rng.randint(100, 2500))) * scale
    if schema["type"] == "number" and scale == 1 and rng.random() < 0.25:
        value = round(value + rng.choice((0.5, 0.99, 0.25, 0.75)), 2)
    grouped = f"{value:,}"
    said = rng.choice((f"${grouped}", f"${value}", f"{grouped} dollars", f"{value} euros"))
    return Value(value, {"v": rng.choice((str(value), grouped)), "m": said})


def _percent(bounds: list[float], schema: Json, rng: random.Random, divisor: int = 1) -> Value:
    shown: float = rng.choice((rng.randint(1, 30), round(rng.uniform(1, 12), 1)))
    value = round(shown / divisor, 5) if divisor > 1 else shown
    return Value(value, {"v": f"{shown}", "p": f"{shown}%"})


def _list_of_numbers(bounds: list[float], schema: Json, rng: random.Random, size: int = 0) -> Value:
    whole = schema["items"]["type"] == "integer" or rng.random() < 0.6
    count = size or rng.randint(2, 9)
    values = [rng.randint(1, 99) if whole else round(rng.uniform(0.5, 60), 1) for _ in range(count)]
    if not size and rng.random() < 0.15:
        values = [v * rng.choice((1, -1)) for v in values]
    texts = [str(v) for v in values]
    if schema["items"]["type"] == "number":
        values = [float(v) for v in values]  # a list of numbers is written as such: strict readers refuse 12 for 12.0
    shown = f"({', '.join(texts)})" if size else join(texts, rng)
    return Value(values, {"v": rng.choice((shown, f"[{', '.join(texts)}]"))})


def _frac(bounds: list[float], schema: Json, rng: random.Random) -> Value:
    value = round(rng.uniform(0.05, 0.95), 2)
    return Value(value, {"v": str(value)})


_NUMBERS: dict[str, Callable[[list[float], Json, random.Random], Value]] = {
    "num": _num,
    "int": _int,
    "year": lambda b, s, r: (lambda y: Value(y, {"v": str(y)}))(r.randint(1950, 2025)),
    "money": _money,
    "bigmoney": lambda b, s, r: _money(b, s, r, scale=1000),
    "pct": _percent,
    "decpct": lambda b, s, r: _percent(b, s, r, divisor=100),
    "frac": _frac,
    "nums": _list_of_numbers,
    "ints": _list_of_numbers,
    "nums2": lambda b, s, r: _list_of_numbers(b, s, r, size=2),
}


def _date(rng: random.Random) -> Value:
    day = datetime.date(2024, 1, 1) + datetime.timedelta(days=rng.randint(0, 900))
    spoken = (
        day.isoformat(),
        day.isoformat(),
        f"{day:%B} {day.day}, {day.year}",
        f"{day.day} {day:%B} {day.year}",
        f"{day:%B} {_ordinal(day.day)}, {day.year}",
    )
    said = rng.choice(spoken)
    return Value(day.isoformat(), {"v": said, "d": said})


def _time(rng: random.Random) -> Value:
    hour, minute = rng.randint(6, 22), rng.choice((0, 0, 15, 30, 45))
    twelve = f"{(hour - 1) % 12 + 1}:{minute:02d} {'AM' if hour < 12 else 'PM'}"
    said = rng.choice((f"{hour:02d}:{minute:02d}", twelve, twelve.lower()))
    return Value(f"{hour:02d}:{minute:02d}", {"v": said, "t": said})


def _id(rng: random.Random) -> Value:
    number = rng.randint(1000, 99999)
    letters = "".join(rng.choice("ABCDEFGHJKMNPRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
    value = rng.choice((str(number), f"{letters}{number}", f"{letters}-{number}"))
    return Value(value, {"v": value})


def _email(rng: random.Random) -> Value:
    first, last = rng.choice(words()["person"]).lower().split(" ", 1)
    value = rng.choice((f"{first}@example.com", f"{first}.{last}@example.org", f"{last}@example.net"))
    return Value(value, {"v": value})


def _phone(rng: random.Random) -> Value:
    value = f"+{rng.randint(1, 49)}-555-{rng.randint(100, 999)}-{rng.randint(1000, 9999)}"
    return Value(value, {"v": value})


def _us_city(rng: random.Random) -> Value:
    """`City, ST`, which people say without the state as often as with it."""
    value = rng.choice(words()["us_city"])
    return Value(value, {"v": rng.choice((value, value.split(",")[0]))})


def _season(rng: random.Random) -> Value:
    year = rng.randint(1970, 2024)
    value = f"{year}-{year + 1}"
    return Value(value, {"v": value})


def _bool(rng: random.Random) -> Value:
    value = rng.random() < 0.65
    return Value(value, {"v": "yes" if value else "no"})


_TEXTS: dict[str, Callable[[random.Random], Value]] = {
    "date": _date, "time": _time, "id": _id, "email": _email, "phone": _phone, "bool": _bool,
    "season": _season, "uscity": _us_city,
}  # fmt: skip

OBJECTS: dict[str, dict[str, str]] = {
    "cond": {"status": "enum:open,shipped,paid,late", "city": "city", "year": "year"},
    "profile": {"email": "email", "city": "city", "phone": "phone"},
    "home": {"bedrooms": "int(1,6)", "size": "int(40,300)", "year_built": "year"},
    "address": {"street": "street", "city": "city", "postal_code": "id"},
}


def _object(name: str, schema: Json, rng: random.Random) -> Value:
    """Two or three of the object's fields, said one after another."""
    fields = list(OBJECTS[name])
    chosen = sorted(rng.sample(fields, rng.randint(2, len(fields))), key=fields.index)
    value: Json = {}
    said = []
    for key in chosen:
        inner = draw_value(OBJECTS[name][key], schema["properties"][key], rng)
        value[key] = inner.json
        said.append(f"{key.replace('_', ' ')} {inner.said['v']}")
    return Value(value, {"v": join(said, rng)})


def _spoken(value: float, rng: random.Random) -> str:
    return f"{value:,}" if value >= 1000 and rng.random() < 0.5 else str(value)


def _ordinal(day: int) -> str:
    ending = "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{ending}"
