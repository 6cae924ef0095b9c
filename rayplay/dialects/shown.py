"""A tool's schema -> what chat templates can read of it; the schema itself stays the judge of arguments.

Templates that spell types themselves (Gemma 4, gpt-oss) read `type`, `properties`, `items`, `nullable` and the `enum`
of strings, nothing else. So local references are inlined, alternatives of plain types become a list of types,
`X | None` becomes a nullable X, and what such a template still leaves out is told in the parameter's description.
"""

import json
from collections.abc import Callable
from typing import Any

from rayplay.records import Json, ToolSpec

MOST_NODES = 2_000  # of one tool's shown schema: references that double would have no end
DEEPEST = 12
LONGEST_WORDS = 600
_PLAIN = frozenset(("string", "number", "integer", "boolean", "null"))
_UNSAID = frozenset(("$defs", "definitions", "$schema", "$id"))


def shown_tool(spec: ToolSpec, *, in_words: bool, clean: Callable[[str], str]) -> Json:
    """The definition that a chat template renders.

    Args:
        spec: The tool.
        in_words: Whether the template spells types itself, so that what it cannot spell goes into descriptions.
        clean: Makes somebody else's text harmless; applied to descriptions alone, since values must stay what they are.
    """
    parameters = shown_schema(spec.parameters)
    if in_words and isinstance(parameters.get("properties"), dict):
        described = {name: _in_words(schema) for name, schema in parameters["properties"].items()}
        parameters = parameters | {"properties": described}
    function = {"name": spec.name, "description": clean(spec.description), "parameters": _cleaned(parameters, clean)}
    return {"type": "function", "function": function}


def shown_schema(schema: Json) -> Json:
    """A schema of arguments without references, as templates read it; at most MOST_NODES parts of it."""
    return _Inliner(schema).shown(schema, DEEPEST, ())


def resolve(schema: Any, root: Json) -> Any:
    """The schema that a local reference means, its own keys kept; {} where it leads nowhere or in a circle."""
    seen = set()
    while isinstance(schema, dict) and "$ref" in schema:
        reference = schema["$ref"]
        if not isinstance(reference, str) or reference in seen:
            return {}
        seen.add(reference)
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        target = _at(root, reference)
        schema = {**target, **rest} if isinstance(target, dict) else rest
    return schema


def _at(root: Json, reference: str) -> Any:
    if reference != "#" and not reference.startswith("#/"):
        return None
    node: Any = root
    for part in reference[2:].split("/") if len(reference) > 1 else ():
        part = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, dict) or part not in node:
            return None
        node = node[part]
    return node


class _Inliner:
    """One walk over one schema, with its budget."""

    def __init__(self, root: Json) -> None:
        self.root = root
        self.left = MOST_NODES

    def shown(self, schema: Any, depth: int, open_references: tuple[str, ...]) -> Any:
        self.left -= 1
        if not isinstance(schema, dict):
            return schema
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in open_references or depth <= 0 or self.left <= 0:
                return self._outline(schema)
            open_references = (*open_references, reference)
        schema = resolve(schema, self.root)
        if depth <= 0 or self.left <= 0:
            return self._outline(schema)
        shown: Json = {}
        for key, value in schema.items():
            if key in _UNSAID:
                continue
            if key in ("properties", "patternProperties") and isinstance(value, dict):
                shown[key] = {name: self.shown(one, depth - 1, open_references) for name, one in value.items()}
            elif key in ("items", "additionalProperties", "not", "if", "then", "else"):
                shown[key] = self.shown(value, depth - 1, open_references)
            elif key in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(value, list):
                shown[key] = [self.shown(one, depth - 1, open_references) for one in value]
            else:
                shown[key] = value
        return _typed(_joined(shown))

    def _outline(self, schema: Json) -> Json:
        """What fits where there is no more room: the kind alone."""
        schema = resolve(schema, self.root)
        return {key: schema[key] for key in ("type", "description") if key in schema}


def _joined(schema: Json) -> Json:
    """Alternatives as one: a list of plain types, a nullable form, or the only member of an `allOf`."""
    for key in ("anyOf", "oneOf"):
        branches = schema.get(key)
        if not isinstance(branches, list) or not all(isinstance(branch, dict) for branch in branches):
            continue
        rest = {name: value for name, value in schema.items() if name != key}
        if branches and "type" not in rest and all(_is_plain(branch) for branch in branches):
            kinds = [kind for b in branches for kind in (b["type"] if isinstance(b["type"], list) else [b["type"]])]
            return {"type": list(dict.fromkeys(kinds)), **rest}
        some = [branch for branch in branches if branch.get("type") != "null"]
        if len(some) == 1 and len(branches) == 2:
            one = {**some[0], **rest}
            plain = one.get("type") in _PLAIN if isinstance(one.get("type"), str) else False
            return {**one, "type": [one["type"], "null"]} if plain and "enum" not in one else {**one, "nullable": True}
    branches = schema.get("allOf")
    if isinstance(branches, list) and len(branches) == 1 and isinstance(branches[0], dict):
        return {**branches[0], **{name: value for name, value in schema.items() if name != "allOf"}}
    return schema


def _is_plain(schema: Json) -> bool:
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    return schema.keys() == {"type"} and all(isinstance(kind, str) and kind in _PLAIN for kind in kinds)


def _typed(schema: Json) -> Json:
    """A schema of values alone, or of alternatives, with the type that they have: templates ask for `type` first."""
    if "const" in schema and "enum" not in schema:
        schema = {**{k: v for k, v in schema.items() if k != "const"}, "enum": [schema["const"]]}
    values = schema.get("enum")
    if "type" in schema or not isinstance(values, list) or not values:
        return schema
    kinds = list(dict.fromkeys(_kind(value) for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, **schema}


def _kind(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _in_words(schema: Any) -> Any:
    """A parameter whose description names what a template that spells types itself would leave out."""
    if not isinstance(schema, dict):
        return schema
    schema = _with_text_default(schema)
    if _is_spelt(schema):
        return schema
    words = _short(schema)
    said = schema.get("description")
    described = f"{said.rstrip()} " if isinstance(said, str) and said.strip() else ""
    return {**_with_type(schema), "description": f"{described}Form: {words[:LONGEST_WORDS]}"}


def _with_text_default(schema: Json) -> Json:
    """gpt-oss's template joins the default of an enumeration or of alternatives to text: as text, or not at all."""
    if "default" not in schema or isinstance(schema["default"], str) or not schema.keys() & {"enum", "oneOf"}:
        return schema
    rest = {key: value for key, value in schema.items() if key != "default"}
    return rest if schema["default"] is None else {**rest, "default": json.dumps(schema["default"], ensure_ascii=False)}


def _with_type(schema: Json) -> Json:
    """Every parameter has a type to show; of alternatives, their types."""
    if "type" in schema:
        return schema
    branches = [b for key in ("anyOf", "oneOf") for b in schema.get(key, ()) if isinstance(b, dict)]
    found = [b["type"] for b in branches if "type" in b]
    kinds = list(dict.fromkeys(kind for f in found for kind in (f if isinstance(f, list) else [f])))
    return {"type": kinds or ["any"], **schema}


def _is_spelt(schema: Any) -> bool:
    """Whether both templates that spell types show all of it."""
    if not isinstance(schema, dict) or schema.keys() & {"anyOf", "oneOf", "allOf", "prefixItems", "not", "if"}:
        return False
    kind = schema.get("type")
    if "enum" in schema:
        return kind == "string" and all(isinstance(value, str) for value in schema["enum"])
    if isinstance(kind, list):
        return all(one in _PLAIN for one in kind)
    if kind == "array":
        items = schema.get("items")
        return isinstance(items, dict) and items.get("type") in _PLAIN and "enum" not in items
    if kind == "object":
        inner = schema.get("properties")
        return isinstance(inner, dict) and bool(inner) and all(_is_spelt(one) for one in inner.values())
    return kind in _PLAIN


def _short(schema: Any) -> str:
    """A schema as a line that people and models read: `{street: string, floors?: integer | null}[]`."""
    if not isinstance(schema, dict) or not schema:
        return "any"
    values = schema.get("enum")
    if isinstance(values, list):
        text = " | ".join(json.dumps(value, ensure_ascii=False) for value in values)
    elif branches := next((schema[key] for key in ("anyOf", "oneOf") if isinstance(schema.get(key), list)), None):
        text = " | ".join(_short(branch) for branch in branches)
    elif schema.get("type") == "array":
        items = _short(schema.get("items"))
        text = f"({items})[]" if " | " in items and not items.startswith("{") else f"{items}[]"
    elif isinstance(schema.get("properties"), dict):
        required = schema.get("required") if isinstance(schema.get("required"), list) else []
        parts = [f"{n}{'' if n in required else '?'}: {_short(one)}" for n, one in schema["properties"].items()]
        text = "{" + ", ".join(parts) + "}"
    elif isinstance(schema.get("additionalProperties"), dict):
        text = f"{{[name]: {_short(schema['additionalProperties'])}}}"
    else:
        kind = schema.get("type", "any")
        text = " | ".join(map(str, kind)) if isinstance(kind, list) else str(kind)
    return f"{text} | null" if schema.get("nullable") else text


def _cleaned(schema: Any, clean: Callable[[str], str], depth: int = 4 * DEEPEST) -> Any:
    if isinstance(schema, list) and depth > 0:
        return [_cleaned(one, clean, depth - 1) for one in schema]
    if not isinstance(schema, dict) or depth <= 0:
        return schema
    return {
        key: clean(value) if key == "description" and isinstance(value, str) else _cleaned(value, clean, depth - 1)
        for key, value in schema.items()
    }
