"""A tool's schema in any draft and spelling -> the same schema in one form: draft 2020-12, words of types read, nothing
lost.

The form accepts and refuses the same arguments as what was read. References are written out where they are, which
every template can show, unless the schema refers to itself or would grow beyond bounds: then they stay, into `$defs`.
Dropped are keywords that are broken, references to nowhere, and what says nothing (titles, identifiers, nulls that a
writer filled in).
"""

import re
from typing import Any

from rayplay.data.type_words import WORDS, distinct, schema_of_type
from rayplay.records import Json
from rayplay.schema_check import ANY, takes
from rayplay.schema_graph import HELD, KEYWORDS, LIST, MAP, ONE, REFERENCES, SchemaGraph, subschemas

INLINE_MAX = 600  # schemas of a form with its references written out
LOOKED_AT_MAX = 1_000_000  # schemas, in the search for those that refer to themselves
TEXTS, FLAGS = ("description", "format", "contentEncoding", "contentMediaType"), ("deprecated", "readOnly", "writeOnly")
NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
COUNTS = (
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
    "minContains",
    "maxContains",
)
SAYS_NOTHING_OF_VALUES = ("description", "default", "examples", *FLAGS)
OLD_DRAFTS = ("draft-03", "draft-04", "draft-06", "draft-07")  # in which what stands next to $ref does not count
FALSE: Json = {"not": {}}


def form_of(root: Json) -> Json:
    """One schema, as it stands in a definition.

    Raises:
        SchemaTooCostly: It is larger or nested deeper than is taken.
    """
    graph = SchemaGraph(root)
    writer = _Writer(graph, inline=True)
    try:
        found = writer.write(root)
    except _TooLarge:
        writer = _Writer(graph, inline=False)
        found = writer.write(root)
    return {**found, "$defs": writer.definitions} if writer.definitions else found


class _TooLarge(Exception):
    """Written out, the references are more than is shown."""


class _Writer:
    """Writes the form of one document."""

    def __init__(self, graph: SchemaGraph, inline: bool) -> None:
        self._graph, self._inline = graph, inline
        self._written = 0
        self._names: dict[int, str] = {}
        self.definitions: dict[str, Json] = {}
        self._refers = any(key in node for node in graph.nodes for key in REFERENCES)
        self._loops = looping(graph) if self._refers else set()
        self._old = any(draft in str(graph.root.get("$schema")) for draft in OLD_DRAFTS)

    def write(self, node: Any) -> Json:
        """The form of one schema; a boolean one as an object too, for templates that read properties."""
        self._written += 1
        if self._inline and self._refers and self._written > INLINE_MAX:
            raise _TooLarge
        if isinstance(node, str):
            return schema_of_text(node)
        if not isinstance(node, dict):
            return dict(FALSE) if node is False else {}
        targets = [self._refer(node[key]) for key in REFERENCES if key in node]
        own = {key: node[key] for key in SAYS_NOTHING_OF_VALUES if key in node} if targets and self._old else node
        found = self._own(own)
        for target in targets:
            found = joined(target, found)
        alone = found.get("allOf", ())
        if len(alone) == 1 and set(found) <= {"allOf", *SAYS_NOTHING_OF_VALUES}:
            rest = {key: value for key, value in found.items() if key != "allOf"}
            found = {**alone[0], **rest}
        return found

    def _refer(self, reference: Any) -> Json:
        """What a reference says, written out or named."""
        target = self._graph.target(reference)
        if not isinstance(target, dict):
            return dict(FALSE) if target is False else {}
        if target is self._graph.root:
            return {"$ref": "#"}
        if self._inline and id(target) not in self._loops:
            return self.write(target)
        if id(target) not in self._names:
            plain = str(reference).rsplit("/", 1)[-1].lstrip("#") or "schema"
            name, number = plain, 2
            while name in self._names.values():
                name, number = f"{plain}_{number}", number + 1
            self._names[id(target)] = name
            self.definitions[name] = self.write(target)
        return {"$ref": f"#/$defs/{self._names[id(target)]}"}

    def _own(self, node: Json) -> Json:
        """The form of a schema's own keywords, without its references."""
        found = typed(node)
        found.update(assertions(node))
        for key, value in node.items():
            if key in KEYWORDS and KEYWORDS[key][1] != HELD and value is not None and key not in SPECIAL:
                written = self._part(key, value)
                if written is not None:
                    found[key] = written
        self._items(node, found)
        self._dependencies(node, found)
        return found

    def _part(self, key: str, value: Any) -> Any:
        """The schemas under one keyword; None where they have no form that it allows."""
        shapes = KEYWORDS[key][0]
        if MAP in shapes and isinstance(value, dict):
            kept = {str(name): part for name, part in value.items() if part is not None}
            if key == "patternProperties":
                kept = {name: part for name, part in kept.items() if takes(name, ANY)}
            return {name: self.write(part) for name, part in kept.items()}
        if LIST in shapes and isinstance(value, list):
            return [self.write(part) for part in value] or None
        if ONE in shapes and isinstance(value, bool):
            return value
        return self.write(value) if ONE in shapes and isinstance(value, dict) else None

    def _items(self, node: Json, found: Json) -> None:
        """`items` of all drafts: a list of schemas is `prefixItems`, and `additionalItems` what follows."""
        items, rest = node.get("items"), node.get("additionalItems")
        if isinstance(items, list):
            found["prefixItems"] = [self.write(part) for part in items] or [{}]
            if isinstance(rest, dict | bool):
                found["items"] = rest if isinstance(rest, bool) else self.write(rest)
        elif isinstance(items, dict | str | bool):
            found["items"] = items if isinstance(items, bool) else self.write(items)

    def _dependencies(self, node: Json, found: Json) -> None:
        """`dependencies` of old drafts: schemas and names, each under its own keyword."""
        held = node.get("dependencies")
        for name, value in held.items() if isinstance(held, dict) else ():
            if isinstance(value, list):
                found.setdefault("dependentRequired", {})[name] = [n for n in value if isinstance(n, str)]
            elif isinstance(value, dict | bool):
                found.setdefault("dependentSchemas", {})[name] = self.write(value)


SPECIAL = ("items", "additionalItems", "dependencies")


def schema_of_text(text: str) -> Json:
    """A bare text where a schema is expected: a type where it reads as one, else a description."""
    plain = text.strip()
    if plain.lower() in WORDS or re.fullmatch(r"[A-Za-z]+\[.*\]|[a-z]+\s*,\s*optional", plain):
        return schema_of_type(text)[0]
    return {"type": "string", "description": text}


def typed(node: Json) -> Json:
    """What `type` says, in any spelling: `OBJECT`, `List[int]`, `["string", "null"]`, `nullable` next to it."""
    written = node.get("type")
    if isinstance(written, list):
        words = [WORDS.get(word.strip().lower(), "") for word in written if isinstance(word, str)]
        return {"type": distinct([w for w in words if w])} if all(words) and words else {}
    found = schema_of_type(written)[0] if isinstance(written, str) else {}
    if "unevaluatedItems" in node:
        found.pop("items", None)
    if node.get("nullable") is True and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    return found


def assertions(node: Json) -> Json:
    """The keywords that hold no schemas, where their values are such as draft 2020-12 allows."""
    found: Json = {key: node[key] for key in TEXTS if isinstance(node.get(key), str)}
    found.update({key: node[key] for key in FLAGS if isinstance(node.get(key), bool)})
    found.update({key: node[key] for key in NUMBERS if is_number(node.get(key))})
    found.update({key: int(node[key]) for key in COUNTS if is_number(node.get(key)) and is_count(node[key])})
    for bound, strict in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if node.get(strict) is True and bound in found:  # draft 4
            found[strict] = found.pop(bound)
    if is_number(node.get("multipleOf")) and node["multipleOf"] > 0:
        found["multipleOf"] = node["multipleOf"]
    if isinstance(node.get("uniqueItems"), bool):
        found["uniqueItems"] = node["uniqueItems"]
    if isinstance(node.get("pattern"), str) and takes(node["pattern"], ANY):
        found["pattern"] = node["pattern"]
    if isinstance(node.get("enum"), list) and node["enum"]:
        found["enum"] = distinct(node["enum"])
    if isinstance(node.get("examples"), list):
        found["examples"] = node["examples"]
    if isinstance(node.get("required"), list):
        names = distinct([name for name in node["required"] if isinstance(name, str)])
        found.update({"required": names} if names else {})
    filled = any(value is None for key, value in node.items() if key not in ("default", "const"))
    for key in ("default", "const"):
        if key in node and not (filled and node[key] is None):
            found[key] = node[key]
    held = node.get("dependentRequired")
    if isinstance(held, dict):
        found["dependentRequired"] = {n: [w for w in v if isinstance(w, str)] for n, v in held.items() if has_names(v)}
    return found


def joined(target: Json, found: Json) -> Json:
    """A schema that a reference led to, with what stands next to the reference."""
    if set(found) <= set(SAYS_NOTHING_OF_VALUES):
        return {**target, **found}
    return {**found, "allOf": [target, *found.get("allOf", ())]}


def looping(graph: SchemaGraph) -> set[int]:
    """Identities of the schemas that references name and that refer to themselves, at whatever distance."""
    named = {id(t): t for node in graph.nodes for t in targets_of(graph, node)}
    if len(named) * len(graph.nodes) > LOOKED_AT_MAX:
        return set(named)  # none of them is written out
    found = set()
    for start, target in named.items():
        stack, seen = [target], set()
        while stack and start not in found:
            node = stack.pop()
            inside = [part for applied, _, part in subschemas(node) if applied != HELD and isinstance(part, dict)]
            for part in (*inside, *targets_of(graph, node)):
                if id(part) == start:
                    found.add(start)
                elif id(part) not in seen:
                    seen.add(id(part))
                    stack.append(part)
    return found


def targets_of(graph: SchemaGraph, node: Json) -> list[Json]:
    """The schemas that one schema refers to."""
    targets = [graph.target(node[key]) for key in REFERENCES if key in node]
    return [target for target in targets if isinstance(target, dict)]


def is_number(value: Any) -> bool:
    """Whether a value is a number, which true is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: float) -> bool:
    """Whether a number can count."""
    return value >= 0 and value == value // 1


def has_names(value: Any) -> bool:
    """Whether a value is a list of names."""
    return isinstance(value, list) and any(isinstance(name, str) for name in value)
