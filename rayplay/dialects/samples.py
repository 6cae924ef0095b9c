"""A tool's schema -> arguments that satisfy it, and the words that a model must be shown of it: for the probe alone."""

from collections.abc import Iterator
from typing import Any

from rayplay.dialects.shown import shown_schema
from rayplay.records import Json, ToolSpec

DEEPEST = 5
MOST_WORDS = 200
_EASY = {"string": 'a "b", 3', "integer": 3, "number": 0.25, "boolean": True, "null": None}


def sample_arguments(schema: Json) -> Json:
    """A value for every argument; what its bounds or pattern ask beyond the type is not looked at."""
    shown = shown_schema(schema)
    return {name: _value(one, DEEPEST) for name, one in _properties(shown).items()}


def words_of(schema: Json) -> list[str]:
    """Names of arguments and of fields within them, and the values of enumerations of strings."""
    return list(dict.fromkeys(_words(shown_schema(schema), DEEPEST)))[:MOST_WORDS]


def shape_of(tool: ToolSpec) -> tuple:
    """What templates and readers may stumble over in a tool: characters of names that are no letters, and its types."""
    shown = shown_schema(tool.parameters)
    names = [tool.name, *_words(shown, DEEPEST)]
    unusual = frozenset(char for name in names for char in name if not (char.isascii() and char.isalnum()))
    return unusual, tool.name[:1].isdigit(), frozenset(_kinds(shown, DEEPEST)), bool(_properties(shown))


def _kinds(schema: Any, depth: int) -> Iterator[tuple]:
    if not isinstance(schema, dict) or depth <= 0:
        return
    values = schema.get("enum")
    kinds = [type(value).__name__ for value in values] if isinstance(values, list) else ()
    yield depth, str(schema.get("type")), *sorted(set(kinds)), *sorted(schema.keys() & {"anyOf", "oneOf", "allOf"})
    for one in _properties(schema).values():
        yield from _kinds(one, depth - 1)
    yield from _kinds(schema.get("items"), depth - 1)


def _value(schema: Any, depth: int) -> Any:
    if not isinstance(schema, dict):
        return "any"
    values = schema.get("enum")
    if isinstance(values, list) and values:
        return values[0]
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list) and schema[key]:
            return _value(schema[key][0], depth)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "array":
        return [_value(schema["items"], depth - 1)] if depth > 0 and schema.get("items") else []
    if kind == "object" or _properties(schema):
        return {name: _value(one, depth - 1) for name, one in _properties(schema).items()} if depth > 0 else {}
    return _EASY.get(kind, "any") if isinstance(kind, str) else "any"


def _words(schema: Any, depth: int) -> Iterator[str]:
    if not isinstance(schema, dict) or depth <= 0:
        return
    for value in schema.get("enum", ()) if isinstance(schema.get("enum"), list) else ():
        if isinstance(value, str) and value.isalnum():
            yield value
    for name, one in _properties(schema).items():
        yield name
        yield from _words(one, depth - 1)
    yield from _words(schema.get("items"), depth - 1)
    for key in ("anyOf", "oneOf"):
        for branch in schema.get(key, ()) if isinstance(schema.get(key), list) else ():
            yield from _words(branch, depth - 1)


def _properties(schema: Json) -> Json:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}
