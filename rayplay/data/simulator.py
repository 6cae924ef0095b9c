"""ToolSpec + arguments -> a made-up result of the declared shape, for tools that have no implementation.

Deterministic: the same tool, arguments and seed give the same result on every machine. Arguments are validated as a
real tool would. Every result is marked `simulated`: it counts as an executed call, never as a right answer.
"""

import datetime
import json
import random
from typing import Any

from rayplay.records import Json, Status, ToolResult, ToolSpec, seed_of
from rayplay.toolbox import check_arguments

_WORDS = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbor",
    "indigo",
    "juniper",
    "lagoon",
    "maple",
)
_MAX_DEPTH = 5


def simulate(spec: ToolSpec, arguments: Json, seed: int = 0, call_id: str = "") -> ToolResult:
    """What a stand-in for the tool answers.

    Args:
        spec: The tool; `spec.returns` is the shape of its result (none declared: a status).
        arguments: What the model passed.
        seed: The run's seed.
        call_id: Goes into the result.
    """
    problem = check_arguments(spec, arguments)
    if problem:
        return ToolResult(
            call_id=call_id, name=spec.name, status=Status.BAD_ARGUMENTS, text=f"Error: {problem}", simulated=True
        )
    shape = spec.returns or {"type": "object", "properties": {"status": {"enum": ["success"]}}}
    address = json.dumps(arguments, sort_keys=True, ensure_ascii=False)
    value = value_of(shape, random.Random(seed_of(seed, "simulate", spec.name, address)))
    text = json.dumps(value, ensure_ascii=False)
    return ToolResult(call_id=call_id, name=spec.name, status=Status.OK, text=text, simulated=True)


def value_of(schema: Json, rng: random.Random, name: str = "", depth: int = 0) -> Any:
    """A value of the schema; `name` of the field guides strings (ids, dates, addresses)."""
    if depth > _MAX_DEPTH:
        return None
    if schema.get("enum"):
        return rng.choice(schema["enum"])
    if schema.get("anyOf"):
        return value_of(schema["anyOf"][0], rng, name, depth + 1)
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {key: value_of(inner, rng, key, depth + 1) for key, inner in properties.items()}
    if kind == "array":
        size = max(schema.get("minItems", 0), rng.randint(1, 3))
        return [value_of(schema.get("items", {}), rng, name, depth + 1) for _ in range(min(size, 10))]
    if kind == "integer":
        low, high = _bounds(schema)
        return rng.randint(int(low), int(high))
    if kind == "number":
        return round(rng.uniform(*_bounds(schema)), 2)
    if kind == "boolean":
        return rng.random() < 0.5
    return None if kind == "null" else _text(name.lower(), rng)


def _bounds(schema: Json) -> tuple[float, float]:
    low = schema.get("minimum", 1)
    high = schema.get("maximum", max(low + 1, 500))
    return (low, high) if low <= high else (high, high)


def _text(name: str, rng: random.Random) -> str:
    word = rng.choice(_WORDS)
    number = rng.randint(100, 9999)
    if name.endswith("id") or "code" in name or "number" in name or "token" in name:
        return f"{word[:3].upper()}{number}"
    if "date" in name:
        return (datetime.date(2025, 1, 1) + datetime.timedelta(days=rng.randint(0, 720))).isoformat()
    if "time" in name:
        return f"{rng.randint(0, 23):02d}:{rng.choice((0, 15, 30, 45)):02d}"
    if "mail" in name:
        return f"{word}{number}@example.org"
    if "url" in name or "link" in name:
        return f"https://example.org/{word}/{number}"
    if "status" in name:
        return rng.choice(("ok", "done", "active"))
    return f"{word} {rng.choice(_WORDS)}"
