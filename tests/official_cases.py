"""BFCL's questions -> what they expect as records of ours, and right answers to them.

A case is {"functions", "truth", "category"} in BFCL's own form; `expectation` says the same in ours.
"""

import copy
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rayplay.records import Expected, ExpectedCall, ToolCall, ToolSpec
from rayplay.values import pointer

Json = dict[str, Any]
CATEGORIES = ("simple_python", "multiple", "parallel", "parallel_multiple", "live_simple", "live_multiple",
              "live_parallel", "live_parallel_multiple")  # fmt: skip
_TYPES = {"float": "number", "dict": "object", "tuple": "array", "any": "string", "bool": "boolean", "list": "array"}
_MOST_VARIANTS = 600  # of an object that is written out


class Answer(NamedTuple):
    """Calls, and what was done to the right ones."""

    calls: list[Json]  # {"name", "arguments"}
    mutation: str


def read_questions(data: Path) -> Iterator[Json]:
    """All questions of BFCL with Python calls, from the folder of an installed bfcl-eval."""
    for category in CATEGORIES:
        lines = (data / f"BFCL_v4_{category}.json").read_text(encoding="utf-8").splitlines()
        truths = (data / "possible_answer" / f"BFCL_v4_{category}.json").read_text(encoding="utf-8").splitlines()
        for line, truth in zip(lines, truths, strict=True):
            question, answer = json.loads(line), json.loads(truth)
            assert question["id"] == answer["id"]
            yield {"functions": question["function"], "truth": answer["ground_truth"], "category": category}


def expectation(case: Json) -> tuple[Expected, list[ToolSpec]]:
    """What a case expects, as a record of ours under the rule `official`, and its tools."""
    schemas = {f["name"]: f["parameters"] for f in case["functions"]}
    calls = tuple(_expected_call(*next(iter(entry.items())), schemas) for entry in case["truth"])
    tools = [ToolSpec(name=_plain(name), parameters=_schema(schema)) for name, schema in schemas.items()]
    return Expected(calls=calls, rule="official"), tools


def calls_of(answer: Answer) -> list[ToolCall]:
    """The answer's calls as records."""
    return [ToolCall(call_id=str(i), **call) for i, call in enumerate(answer.calls)]


def right_answer(case: Json, rng: random.Random) -> Answer:
    """One right answer by the listed values; what may be left out is, now and then."""
    calls = []
    for entry in case["truth"]:
        ((name, listed),) = entry.items()
        arguments = {key: _pick(values, rng) for key, values in listed.items()}
        kept = {key: value for key, value in arguments.items() if value is not _ABSENT}
        calls.append({"name": _plain(name), "arguments": kept})
    return Answer(calls, "right")


_ABSENT = object()


def _pick(values: list[Any], rng: random.Random) -> Any:
    kept = [value for value in values if value != ""]
    if not kept or ("" in values and rng.random() < 0.4):
        return _ABSENT
    value = rng.choice(kept)
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return [_pick_object(item, rng) for item in value]
    return _pick_object(value, rng) if isinstance(value, dict) else copy.deepcopy(value)


def _pick_object(listed: Json, rng: random.Random) -> Json:
    picked = {key: _pick(values, rng) if isinstance(values, list) else values for key, values in listed.items()}
    return {key: value for key, value in picked.items() if value is not _ABSENT}


def _plain(name: str) -> str:
    return name.replace(".", "_")


def _schema(schema: Any) -> Any:
    """BFCL's names of types -> those of JSON schema, as its handler shows them to a model."""
    if isinstance(schema, list):
        return [_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: _TYPES.get(v, v) if k == "type" and isinstance(v, str) else _schema(v) for k, v in schema.items()}


def _expected_call(name: str, listed: Json, schemas: Json) -> ExpectedCall:
    """BFCL's lists of values -> a value, its alternatives, and what may be left out."""
    made: dict[str, Any] = {"arguments": {}, "alternatives": {}, "accepted": {}, "optional": []}
    for key, values in listed.items():
        kept = [value for value in values if value != ""]
        if "" in values:
            made["optional"].append(key)
            kept += _mark_as_value(kept, schemas[name]["properties"].get(key, {}).get("type"))
        objects = [v for v in kept if isinstance(v, dict) or (isinstance(v, list) and any(map(_is_object, v)))]
        if len(objects) == 1 and len(kept) == 1:
            made["arguments"][key] = _first_of(objects[0], pointer(key), made)
            continue
        options = [variant for value in kept for variant in _variants(value)]
        if options:
            made["arguments"][key] = options[0]
        made["alternatives"][key] = tuple(o for o in options[1:] if o is not None)
        if None in options[1:]:
            made["accepted"][pointer(key)] = (None,)
    return ExpectedCall(name=_plain(name), **{**made, "optional": tuple(made["optional"])})


def _mark_as_value(kept: list[Any], kind: str | None) -> list[Any]:
    """What the official judge also takes the mark "" of an argument that may be left out for."""
    if kind in ("array", "tuple"):
        return [[]]
    return [""] if kind in ("string", "any") or (kept and isinstance(kept[0], str)) else []


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _first_of(value: Any, at: str, made: Json) -> Any:
    """The first listed value of each field; the others go to `accepted` and `optional`."""
    if isinstance(value, list):
        return [_first_of(item, f"{at}{pointer(i)}", made) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    first: Json = {}
    for key, values in value.items():
        place = at + pointer(key)
        values = values if isinstance(values, list) else [values]
        if "" in values:
            made["optional"].append(place)
        if kept := [v for v in values if v != ""]:
            first[key] = kept[0]
        made["accepted"][place] = (*kept[1:], *([""] if "" in values else []))
    return first


def _variants(value: Any) -> list[Any]:
    """Every object that a listed one stands for."""
    if isinstance(value, list) and any(map(_is_object, value)):
        return [list(items) for items in itertools.islice(itertools.product(*map(_variants, value)), _MOST_VARIANTS)]
    if not isinstance(value, dict):
        return [value]
    fields = []
    for key, values in value.items():
        values = values if isinstance(values, list) else [values]
        fields.append([*({key: v} for v in values), *([{}] if "" in values else [])])
    products = itertools.islice(itertools.product(*fields), _MOST_VARIANTS)
    return [{k: v for part in parts for k, v in part.items()} for parts in products]
