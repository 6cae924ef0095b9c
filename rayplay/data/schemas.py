"""Loose parameter descriptions of public data sets -> JSON schema, and values that fit it.

Whatever is written, what comes out is a valid draft 2020-12 schema, so that a validator never fails on the schema
itself.
"""

import ast
import copy
import json
import re
from typing import Any

from rayplay.data.schema_form import form_of
from rayplay.data.type_words import WORDS, schema_of_type
from rayplay.records import Json
from rayplay.schema_check import SchemaCheck
from rayplay.schema_graph import KEYWORDS
from rayplay.schema_slips import KNOWN, NOTES

__all__ = ["fit", "literal", "schema_of_parameters", "schema_of_type"]

# keywords that can make a name required which `properties` does not describe
NAMING = frozenset(("allOf", "anyOf", "oneOf", "$ref", "if", "dependentSchemas", "dependencies", "patternProperties",
                    "additionalProperties"))  # fmt: skip
_LONGEST_LITERAL = 100_000
FILLED_MAX = 1000  # nulls that are taken out of the arguments of one call
_CONSTANTS = {"true": True, "false": False, "null": None}
_INTEGER = re.compile(r"\s*[+-]?\d{1,18}(\.0+)?\s*")
_NUMBER = re.compile(r"\s*[+-]?\d{1,18}(\.\d+)?([eE][+-]?\d{1,2})?\s*")

CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}


def schema_of_parameters(raw: Any, required: Any = None) -> Json:
    """Parameters as a data set writes them -> an object schema, in the form of `schema_form`.

    Args:
        raw: A JSON schema of an object, a mapping name -> description or type, or a list of {"name", "type", ...}.
        required: Names that are required, where they stand beside `raw`.

    Raises:
        ValueError: The schema is larger or nested deeper than is taken.
    """
    if isinstance(raw, list):
        raw = {str(item.get("name")): item for item in raw if isinstance(item, dict) and item.get("name")}
    if not isinstance(raw, dict):
        raw = {}
    if is_schema(raw):
        properties = described(raw)
        rest = {key: value for key, value in raw.items() if key in KNOWN or key not in properties}
        required = rest.get("required") if required is None else required
    else:
        properties, rest = dict(raw), {}
        for name in ("required", "optional"):
            if isinstance(properties.get(name), list):
                listed = properties.pop(name)
                required = listed if name == "required" and required is None else required
    found = form_of({**rest, "type": "object", "properties": properties, "required": None})
    found = {"type": "object", "properties": {}, **found}
    if found == CLOSED:  # a tool without parameters takes none, said or not: one spelling of it
        del found["additionalProperties"]
    names = required if isinstance(required, list | tuple) else [n for n, v in properties.items() if is_marked(v)]
    loose = set(rest) & NAMING
    names = [n for n in dict.fromkeys(map(str, names)) if n in found["properties"] or loose]
    return {**found, "required": names} if names else found


def is_schema(raw: Json) -> bool:
    """Whether parameters are a JSON schema, and not names with their descriptions."""
    kind = raw.get("type")
    if isinstance(kind, dict):
        return False
    if "properties" in raw and isinstance(raw["properties"], dict | None):
        return True
    if isinstance(kind, str) and WORDS.get(kind.strip().lower()) == "object":
        return True
    if any(key.startswith("$") for key in raw) or any(isinstance(raw.get(key), list) for key in ("allOf", "anyOf")):
        return True
    return all(key in KNOWN and not isinstance(value, dict | str) for key, value in raw.items() if key not in NOTES)


def described(raw: Json) -> Json:
    """The properties of an object schema; some sets write them next to `type`, without `properties`."""
    properties = raw.get("properties")
    if isinstance(properties, dict):
        return properties
    return {
        name: value
        for name, value in raw.items()
        if isinstance(value, dict if name in KNOWN else dict | str) and name not in KEYWORDS
    }


def is_marked(value: Any) -> bool:
    """Whether a parameter says of itself that it is required."""
    if not isinstance(value, dict) or value.get("required") is not True:
        return False
    return not (isinstance(value.get("type"), str) and schema_of_type(value["type"])[1])


def without_filled(arguments: Json, schema: Json) -> Json:
    """Arguments without the nulls that a writer filled in: those of names that the schema knows nowhere.

    Arrow gives all rows of a file the fields of all others, at every level.
    """
    check = SchemaCheck(schema)
    if check.unknown(arguments) is None:
        return arguments
    found = copy.deepcopy(arguments)
    for _ in range(FILLED_MAX):
        stranger = check.unknown(found)
        if stranger is None:
            return found
        inner: Any = found
        for part in stranger.path:
            inner = inner[part]
        if inner.pop(stranger.key) is not None:
            break  # a name that says something is for the check to refuse
    return arguments


def fit(value: Any, schema: Json) -> Any:
    """The value as its schema wants it, where only the spelling differs: "63" -> 63, 5.0 -> 5, "true" -> True.

    A value that cannot be read so is returned as it is; the caller's validator then refuses it.
    """
    wanted = schema.get("type")
    if isinstance(wanted, list):
        return value
    if wanted == "object" and isinstance(value, dict):
        known = schema.get("properties", {})
        return {k: fit(v, known[k]) if k in known else v for k, v in value.items()}
    if wanted == "array" and isinstance(value, list):
        return [fit(v, schema.get("items", {})) for v in value]
    if isinstance(value, str) and wanted in ("array", "object"):
        read = literal(value)
        return fit(read, schema) if isinstance(read, list if wanted == "array" else dict) else value
    return _fit_scalar(value, wanted)


def _fit_scalar(value: Any, wanted: Any) -> Any:
    if wanted == "integer":
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            return int(value.partition(".")[0])
    if wanted == "number" and isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value) if set(value) & set(".eE") else int(value)
    if wanted == "boolean" and isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if wanted == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def literal(text: str) -> Any:
    """JSON, or a Python literal in which true / false / null are understood -> JSON value; None where it is neither."""
    try:
        return json.loads(text, strict=False, parse_constant=_refuse)
    except (ValueError, RecursionError):
        pass
    if len(text) > _LONGEST_LITERAL:
        return None
    try:
        tree = _JsonConstants().visit(ast.parse(text.strip(), mode="eval"))
        # tuples become lists; sets, bytes and complex numbers are no JSON
        return json.loads(json.dumps(ast.literal_eval(tree), allow_nan=False))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


class _JsonConstants(ast.NodeTransformer):
    """Names that JSON knows as constants; a string that holds such a word is not touched."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_CONSTANTS[node.id]) if node.id in _CONSTANTS else node


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")
