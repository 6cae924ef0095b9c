"""Questions of our own in BFCL's form, and right answers -> answers with one thing changed.

What is changed is what a model may get wrong, and what one judge may forgive and the other not.
"""

import copy
import json
import random
from collections.abc import Callable
from typing import Any

from tests.official_cases import Answer, Json

_WORDS = (
    *(
        "Narvik, Norway",
        "north-east",
        "Kelp Ltd.",
        "April 1, 2031",
        "O'Hara",
        "x^2 - 4",
        "a_b/c.d",
        "3.5",
        "-5",
        "8 / 2",
    ),
    *("tab\there", "two\nlines", "", " ", "Zürich", "straße", "東京", "*", "maybe?", "(none)", "UPPER lower"),
)
_SCALARS: dict[str, Callable[[random.Random], Any]] = {
    "string": lambda rng: rng.choice(_WORDS[:-2] if rng.random() < 0.5 else [w for w in _WORDS if w]),
    "integer": lambda rng: rng.choice([0, 1, -1, 7, 42, 2031, 10**12]),
    "float": lambda rng: rng.choice([0.0, 0.5, -2.25, 6.02e23, 1.6e-19, 4.2e-12, 100.0, 1 / 3]),
    "boolean": lambda rng: rng.random() < 0.5,
}


def make_question(rng: random.Random) -> Json:
    """A question of our own in BFCL's form: one to three functions, one to three right calls."""
    functions = [_make_function(f"tools.act_{i}", rng) for i in range(rng.randint(1, 3))]
    category = rng.choice(["simple_python", "multiple", "parallel", "parallel_multiple"])
    calls = rng.choice([2, 2, 3]) if "parallel" in category else 1
    chosen = [functions[0] if category != "parallel_multiple" else rng.choice(functions) for _ in range(calls)]
    truth = [{f["name"]: _make_truth(f["parameters"], rng)} for f in chosen]
    return {"functions": functions, "truth": truth, "category": category}


def _make_function(name: str, rng: random.Random) -> Json:
    properties = {key: _make_schema(rng) for key in "abcd"[: rng.randint(1, 4)]}
    required = [key for key in properties if rng.random() < 0.6]
    return {"name": name, "parameters": {"type": "dict", "properties": properties, "required": required}}


def _make_schema(rng: random.Random, scalar: bool = False) -> Json:
    kind = rng.choice([*_SCALARS, *([] if scalar else ["array", "tuple", "dict", "any", "list of dict"])])
    if kind in ("array", "tuple"):
        return {"type": kind, "items": _make_schema(rng, scalar=True)}
    if kind in ("dict", "list of dict"):
        fields = {key: _make_schema(rng, scalar=True) for key in "xyz"[: rng.randint(1, 2)]}
        schema = {"type": "dict", "properties": fields}
        return schema if kind == "dict" else {"type": "array", "items": schema}
    return {"type": kind}


def _make_truth(schema: Json, rng: random.Random) -> Json:
    truth = {}
    for key, part in schema["properties"].items():
        if key not in schema["required"] and rng.random() < 0.2:
            continue
        values = [_make_values(part, rng) for _ in range(rng.choice([1, 1, 2, 3]))]
        optional = key not in schema["required"] and rng.random() < 0.6
        truth[key] = [*(v for i, v in enumerate(values) if v not in values[:i]), *([""] if optional else [])]
    return truth


def _make_values(schema: Json, rng: random.Random) -> Any:
    """A listed value: in objects every field is again a list of values."""
    if schema["type"] in ("array", "tuple"):
        return [_make_values(schema["items"], rng) for _ in range(rng.randint(0, 2))]
    if schema["type"] == "dict":
        listed = {
            k: [_make_values(part, rng) for _ in range(rng.randint(1, 2))] for k, part in schema["properties"].items()
        }
        return {k: [*values, *([""] if rng.random() < 0.3 else [])] for k, values in listed.items()}
    return _SCALARS["string" if schema["type"] == "any" else schema["type"]](rng)


def _make_field(schema: Json, rng: random.Random) -> list[Any]:
    values = [_make_values(schema, rng) for _ in range(rng.randint(1, 2))]
    return [*values, *([""] if rng.random() < 0.3 else [])]


# What is done to a right value: the types that it is done to, and how


def _other_number(value: Any, rng: random.Random) -> Any:
    return value + rng.choice([1, -1, 10]) if isinstance(value, int) else value * rng.choice([1.01, -1, 1e-3]) + 0.5


CHANGES: dict[str, tuple[type | tuple[type, ...], Callable[[Any, random.Random], Any]]] = {
    "other number": ((int, float), _other_number),
    "a float for it": (int, lambda v, _: float(v)),
    "an integer for it": (float, lambda v, _: int(v)),
    "nearly the same": (float, lambda v, _: v * (1 + 1e-12)),
    "a tiny other": (float, lambda v, _: v * 1e-11),
    "zero": ((int, float), lambda v, _: 0),
    "negated": ((int, float), lambda v, _: -v),
    "as a string": ((int, float, bool), lambda v, _: json.dumps(v)),
    "negated truth": (bool, lambda v, _: not v),
    "truth as a number": (bool, lambda v, _: int(v)),
    "upper case": (str, lambda v, _: v.upper()),
    "swapped case": (str, lambda v, _: v.swapcase()),
    "no spaces": (str, lambda v, _: v.replace(" ", "")),
    "double spaces": (str, lambda v, _: v.replace(" ", "  ")),
    "hyphens for spaces": (str, lambda v, _: v.replace(" ", "-")),
    "underscores for spaces": (str, lambda v, _: v.replace(" ", "_")),
    "without marks": (str, lambda v, _: v.translate(str.maketrans("", "", ",./-_*^"))),
    "a mark more": (str, lambda v, r: v + r.choice(list(",./-_*^"))),
    "another sign more": (str, lambda v, r: v + r.choice(list("!?:;()#+"))),
    "a tab for a space": (str, lambda v, _: v.replace(" ", "\t")),
    "a line break more": (str, lambda v, _: v + "\n"),
    "other quotes": (str, lambda v, _: v.replace("'", '"') + "'"),
    "a letter less": (str, lambda v, _: v[:-1]),
    "a word more": (str, lambda v, _: v + " please"),
    "other text": (str, lambda v, _: "something else"),
    "empty text": (str, lambda v, _: ""),
    "a space": (str, lambda v, _: " "),
    "as a number": (str, lambda v, _: int(v) if v.isdecimal() and len(v) < 9 else 7),
    "null": (object, lambda v, _: None),
    "in a list": (object, lambda v, _: [v]),
    "as an object": (object, lambda v, _: {"value": v}),
    "reversed": (list, lambda v, _: v[::-1]),
    "an item less": (list, lambda v, _: v[:-1]),
    "an item twice": (list, lambda v, _: [*v, *v[-1:]]),
    "empty list": (list, lambda v, _: []),
    "a field less": (dict, lambda v, _: dict(list(v.items())[:-1])),
    "a field more": (dict, lambda v, _: {**v, "extra": 1}),
    "fields in another order": (dict, lambda v, _: dict(reversed(v.items()))),
}


def mutate(answer: Answer, rng: random.Random) -> Answer:
    """The answer with one thing done to it."""
    calls = copy.deepcopy(answer.calls)
    kind = rng.random()
    if kind < 0.12 or not any(call["arguments"] for call in calls):
        return _mutate_calls(calls, rng)
    call = rng.choice([call for call in calls if call["arguments"]])
    key = rng.choice(list(call["arguments"]))
    if kind < 0.2:
        del call["arguments"][key]
        return Answer(calls, "an argument left out")
    if kind < 0.26:
        call["arguments"][rng.choice(["unknown", key + "_"])] = rng.choice(["x", 1, None])
        return Answer(calls, "an unknown argument")
    mutation, call["arguments"][key] = _mutate_value(call["arguments"][key], rng)
    return Answer(calls, mutation)


def _mutate_calls(calls: list[Json], rng: random.Random) -> Answer:
    kind = rng.choice(["other order", "a call less", "a call twice", "a call more", "other name"])
    if kind == "other order":
        calls = calls[::-1]
    elif kind == "a call less":
        calls = calls[:-1]
    elif kind == "a call twice":
        calls = [*calls, copy.deepcopy(calls[0])]
    elif kind == "a call more":
        calls = [*calls, {"name": "another_function", "arguments": {}}]
    else:
        calls[0]["name"] += "_2"
    return Answer(calls, kind)


def _mutate_value(value: Any, rng: random.Random, where: str = "") -> tuple[str, Any]:
    inside = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if inside and rng.random() < 0.6:
        key = rng.choice(inside)
        changed = copy.copy(value)
        mutation, changed[key] = _mutate_value(
            value[key], rng, where + ("in an object: " if isinstance(value, dict) else "in a list: ")
        )
        return mutation, changed
    fitting = [(name, change) for name, (kinds, change) in CHANGES.items() if _applies(kinds, value, name)]
    special = [f for f in fitting if CHANGES[f[0]][0] is not object]
    name, change = rng.choice(special if special and rng.random() < 0.8 else fitting)
    return where + name, change(value, rng)


def _applies(kinds: Any, value: Any, name: str) -> bool:
    if isinstance(value, bool):  # a number to Python
        return kinds in (bool, object) or name == "as a string"
    return isinstance(value, kinds)
