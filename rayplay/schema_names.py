"""A schema and a value -> a key that the schema names nowhere, at whatever level: most often a misspelling.

JSON Schema lets unknown keys pass where it is silent; a tool would then run as if the argument had not been given.
Known at a place is what any schema that applies there names, whether or not its condition holds. A place is open to
all keys where one of them says so (additionalProperties, patternProperties, propertyNames, unevaluatedProperties),
where one of them is an object of which nothing else is said, and, below the arguments themselves, where none names a
key.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from rayplay.records import Json
from rayplay.schema_graph import SchemaGraph

OPENING = ("additionalProperties", "patternProperties", "propertyNames", "unevaluatedProperties", "maxProperties")
WORK_MAX = 200_000  # schemas looked at for one value; a value that needs more is not searched to the end
PLACES_MAX = 20_000  # places remembered


class Unknown(NamedTuple):
    """A key that is known nowhere, where it stands, and what is known there."""

    path: tuple[str | int, ...]
    key: str
    known: tuple[str, ...]


class Place(NamedTuple):
    """What all schemas that apply to one value say of its keys and items."""

    nodes: tuple[Json, ...]
    known: tuple[str, ...]
    open: bool
    closed: bool  # one of them says that it takes no other keys


class KnownNames:
    """Finds unknown keys; places are remembered, so that a second call costs a look-up for each key."""

    def __init__(self, graph: SchemaGraph) -> None:
        self._graph = graph
        self._places: dict[tuple[int, ...], Place] = {}
        self._inner: dict[tuple[int, str | None], Place] = {}
        self._work = 0

    def unknown(self, value: Any) -> Unknown | None:
        """The first unknown key in `value`, outermost first."""
        self._work = 0
        if len(self._inner) > PLACES_MAX:
            self._inner.clear()
            self._places.clear()
        queue = [((), value, self._place([self._graph.root]))]
        for path, part, place in queue:
            if self._work > WORK_MAX:
                return None
            if isinstance(part, dict):
                inner = [(key, item, self._under(place, key)) for key, item in part.items()]
                closed = not place.open and (place.known or place.closed or not path)
                stranger = next((key for key in part if key not in place.known), None) if closed else None
                if stranger is not None:
                    return Unknown(path, str(stranger), place.known)
            elif isinstance(part, list):
                under = self._under(place, None) if part else None
                inner = [(n, item, under) for n, item in enumerate(part)]
            else:
                continue
            queue += [((*path, key), i, u) for key, i, u in inner if isinstance(i, dict | list) and u.nodes]
        return None

    def _under(self, place: Place, key: str | None) -> Place:
        """The place under a key; None: of the items."""
        found = self._inner.get((id(place), key))
        if found is None:
            inner: list[Json] = []
            for node in place.nodes:
                parts = self._graph.parts(node)
                inner += parts.items if key is None else parts.any_name
                if key in parts.named:
                    inner.append(parts.named[key])
            self._work += len(place.nodes)
            found = self._inner[id(place), key] = self._place(inner)
        return found

    def _place(self, nodes: Iterable[Json]) -> Place:
        """All schemas that apply where these do, the conditional ones too."""
        closure: dict[int, Json] = {}
        stack = list(nodes)
        while stack:
            node = stack.pop()
            if id(node) not in closure:
                closure[id(node)] = node
                stack.extend(self._graph.parts(node).same)
        self._work += len(closure)
        address = tuple(sorted(closure))
        if address not in self._places:
            held = tuple(closure.values())
            names = dict.fromkeys(name for node in held for name in names_in(node))
            root = self._graph.root
            opened = any(says_open(node) or (node is not root and is_bare(node)) for node in held)
            closed = any(node.get("additionalProperties") is False for node in held)
            self._places[address] = Place(held, tuple(names), opened, closed)
        return self._places[address]


def names_in(node: Json) -> list[str]:
    """The keys that one schema names for the value it applies to."""
    properties, required = node.get("properties"), node.get("required")
    return [
        *(properties if isinstance(properties, dict) else ()),
        *(name for name in (required if isinstance(required, list) else ()) if isinstance(name, str)),
    ]


def says_open(node: Json) -> bool:
    """Whether one schema says that it takes keys which it does not name."""
    return any(node.get(key, False) is not False for key in OPENING)


def is_bare(node: Json) -> bool:
    """Whether one schema is an object of which nothing else is said: one alternative of several, it takes any keys."""
    return node.get("type") == "object" and set(node) <= {"type", "description", "title", "default"}
