"""A JSON schema and a value -> whether null and floats stand in it only where the schema takes them.

Nothing else is looked at: other types cannot be taken for each other when values are compared. Read: type (one or a
list), nullable, enum, const, anyOf, oneOf, allOf, local $ref, properties, additionalProperties, items, prefixItems.
Not read: patternProperties, if, anchors. What a schema does not say is allowed; so is what such a part would say.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from rayplay.records import Json

_KINDS = {
    **dict.fromkeys(("integer", "number", "float", "double", "int"), "number"),
    **dict.fromkeys(("string", "str"), "string"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("array", "list", "tuple"), "array"),
    **dict.fromkeys(("object", "dict"), "object"),
    "null": "null",
}
_HOPS = 32  # references and unions inside each other, at most


def nulls_taken(schema: Any, value: Any, root: Json) -> bool:
    """Whether the schema takes every null in `value`; `root` holds what local references name."""
    return _Walk(root, _null_taken).fits(schema, value)


def floats_taken(schema: Any, value: Any, root: Json) -> bool:
    """Whether no float stands in `value` where the schema asks for an integer (5.0 for 5 as little as 5.5)."""
    return _Walk(root, _float_taken).fits(schema, value)


def _null_taken(schema: Json, value: Any) -> bool:
    if value is not None:
        return True
    if listed := _listed(schema):
        return None in listed
    types = named_types(schema)
    return not types or schema.get("nullable") is True or "any" in types or "null" in types


def _float_taken(schema: Json, value: Any) -> bool:
    if not isinstance(value, float):
        return True
    if types := set(named_types(schema)):
        return not types & {"integer", "int"} or bool(types & {"number", "float", "double"})
    equal = [v for v in _listed(schema) if isinstance(v, int | float) and not isinstance(v, bool) and v == value]
    return not equal or any(isinstance(v, float) for v in equal)


class _Walk:
    """One comparison of a value with a schema; each pair of nodes is looked at once."""

    def __init__(self, root: Json, leaf: Callable[[Json, Any], bool]) -> None:
        self._root, self._leaf = root, leaf
        self._known: dict[tuple[int, int], bool] = {}

    def fits(self, schema: Any, value: Any, hops: int = 0) -> bool:
        if not isinstance(schema, dict) or hops > _HOPS:
            return True
        key = (id(schema), id(value))
        if key not in self._known:
            self._known[key] = True  # while it is being looked at
            self._known[key] = self._looked_at(schema, value, hops)
        return self._known[key]

    def _looked_at(self, schema: Json, value: Any, hops: int) -> bool:
        if "$ref" in schema and not self.fits(self._referred(schema["$ref"]), value, hops + 1):
            return False
        if not self._leaf(schema, value):
            return False
        for key in ("anyOf", "oneOf"):
            branches = schema.get(key)
            if isinstance(branches, list) and branches and not self._fits_a_branch(branches, value, hops + 1):
                return False
        everything = schema.get("allOf")
        if isinstance(everything, list) and not all(self.fits(part, value, hops + 1) for part in everything):
            return False
        return all(self.fits(part, item) for part, item in _children(schema, value))

    def _fits_a_branch(self, branches: list[Any], value: Any, hops: int) -> bool:
        """Branches of another kind of value do not count; where all are of others, only null is refused."""
        kind = kind_of(value)
        of_kind = [b for b in branches if kind in (self._kinds(b, hops) or {kind})]
        return any(self.fits(b, value, hops) for b in of_kind) if of_kind else value is not None

    def _kinds(self, schema: Any, hops: int) -> set[str]:
        """Kinds of values that a schema takes; none where it does not say."""
        if not isinstance(schema, dict) or hops > _HOPS:
            return set()
        if "$ref" in schema:
            return self._kinds(self._referred(schema["$ref"]), hops + 1)
        if listed := _listed(schema):
            return set(map(kind_of, listed))
        found = {_KINDS.get(name, "") for name in named_types(schema)}
        return set() if "" in found else found | ({"null"} if found and schema.get("nullable") is True else set())

    def _referred(self, reference: Any) -> Any:
        """What a local reference names; None where it names nothing here."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            return None
        first, *parts = unquote(reference[1:]).split("/")
        found: Any = None if first else self._root  # "#name" is an anchor: not looked for
        for part in parts:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list):
                found = found[int(name)] if name.isascii() and name.isdecimal() and int(name) < len(found) else None
            else:
                found = found.get(name) if isinstance(found, dict) else None
        return found


def named_types(schema: Any) -> list[str]:
    """The names under a schema's `type`; none where it does not say."""
    named = schema.get("type") if isinstance(schema, dict) else None
    return [name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str)]


def kind_of(value: Any) -> str:
    """The JSON type of a value; integers and floats are both "number"."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    names = ((int | float, "number"), (str, "string"), (list, "array"), (dict, "object"))
    return next((name for types, name in names if isinstance(value, types)), "")


def _children(schema: Json, value: Any) -> Iterator[tuple[Any, Any]]:
    """(schema, value) of everything inside."""
    if isinstance(value, list):
        items = schema.get("items")
        first = items if isinstance(items, list) else schema.get("prefixItems")  # a list of items: drafts up to 7
        first = first if isinstance(first, list) else []
        yield from zip(first, value, strict=False)
        yield from ((items, item) for item in value[len(first) :])
    elif isinstance(value, dict):
        named = schema.get("properties")
        named = named if isinstance(named, dict) else {}
        for key, item in value.items():
            yield named[key] if key in named else schema.get("additionalProperties"), item


def _listed(schema: Json) -> list[Any]:
    """The values that `enum` or `const` allow; none where neither stands."""
    if "const" in schema:
        return [schema["const"]]
    return schema["enum"] if isinstance(schema.get("enum"), list) else []
