"""A JSON schema from anywhere -> its parts, what they refer to, and a bound on the work of applying it.

Which keywords hold schemas, and whether these apply to the same value, to a property or to an item, stands in the
tables below and nowhere else. References are followed within the document alone; nothing is ever fetched.

The bound: a schema is applied to a value of `nodes` values nested `depth` deep with `chars` characters of text in at
most `work(nodes, depth, chars)` steps of about 50 ns. Where references double, that is exponential in a schema of a
few lines, so it is computed (level by level, over the same keys) instead of tried.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from rayplay.records import Json

# keyword -> how its value holds schemas (one, a list of them, or some by name) and what these are applied to
ONE, LIST, MAP = "one", "list", "map"
SAME, NAMED, ANY_NAME, NAMES, ITEMS, HELD = "same", "named", "any_name", "names", "items", "held"
KEYWORDS: dict[str, tuple[tuple[str, ...], str]] = {
    **dict.fromkeys(("not", "if", "then", "else"), ((ONE,), SAME)),
    **dict.fromkeys(("allOf", "anyOf", "oneOf"), ((LIST,), SAME)),
    **dict.fromkeys(("dependentSchemas", "dependencies"), ((MAP,), SAME)),
    "properties": ((MAP,), NAMED),
    **dict.fromkeys(("additionalProperties", "unevaluatedProperties"), ((ONE,), ANY_NAME)),
    "patternProperties": ((MAP,), ANY_NAME),
    "propertyNames": ((ONE,), NAMES),
    "items": ((ONE, LIST), ITEMS),
    **dict.fromkeys(("additionalItems", "unevaluatedItems", "contains"), ((ONE,), ITEMS)),
    "prefixItems": ((LIST,), ITEMS),
    **dict.fromkeys(("$defs", "definitions"), ((MAP,), HELD)),
}
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")

NODES_MAX, VALUES_MAX, NESTING_MAX, CHAIN_MAX = 20_000, 100_000, 200, 64
LEVELS_MAX = 200_000  # entries of the table of costs by level
PER_CHAR, PER_CHAR_COSTLY = 50, 400  # steps for a character under a pattern; measured on the worst that compile
PER_CONTAINER = 8  # steps to compare a value with an object or array of an enum


class SchemaTooCostly(ValueError):
    """A schema that cannot be applied within its bounds; the text says why."""


class Parts(NamedTuple):
    """The subschemas of one schema, by what they are applied to."""

    same: list[Json]
    named: dict[str, Json]
    any_name: list[Json]
    names: list[Json]
    items: list[Json]


class Cost(NamedTuple):
    """Steps at one place of a value: for the value itself, and for each character where it is text."""

    steps: int
    per_char: int

    def plus(self, other: "Cost") -> "Cost":
        """Both together."""
        return Cost(self.steps + other.steps, self.per_char + other.per_char)


def values_within(value: Any, limit: int = VALUES_MAX) -> int:
    """How many JSON values are in `value`, itself included; more than `limit` are not counted to the end."""
    count, stack = 0, [value]
    while stack and count <= limit:
        count += 1
        part = stack.pop()
        if isinstance(part, dict | list):
            stack.extend(part.values() if isinstance(part, dict) else part)
    return count


def subschemas(schema: Json) -> Iterator[tuple[str, tuple[str | int, ...], Any]]:
    """(what it is applied to, path, subschema) of every direct part of a schema, definitions included."""
    for key, value in schema.items():
        if key not in KEYWORDS:
            continue
        shapes, applied_to = KEYWORDS[key]
        if isinstance(value, dict) and MAP in shapes:
            for name, part in value.items():
                yield applied_to, (key, name), part
        elif isinstance(value, list) and LIST in shapes:
            for number, part in enumerate(value):
                yield applied_to, (key, number), part
        elif ONE in shapes:
            yield applied_to, (key,), value


class SchemaGraph:
    """The schemas of one document and what each applies.

    Raises:
        SchemaTooCostly: It is larger or nested deeper than is taken.
    """

    def __init__(self, root: Json) -> None:
        if values_within(root) > VALUES_MAX:
            raise SchemaTooCostly(f"it holds more than {VALUES_MAX} values")
        self.root = root
        self.nodes: list[Json] = []
        self.paths: dict[int, tuple[str | int, ...]] = {}  # where each stands, by identity
        self._resources: dict[str, Json] = {"": root}
        self._anchors: dict[str, Json] = {}
        self._parts: dict[int, Parts] = {}
        self._costs: dict[int, Cost] = {}
        self._levels: dict[tuple[int, int], dict[str | None, Cost]] = {}
        self._entries = 0
        self.recursive = False
        self._collect()

    def _collect(self) -> None:
        stack: list[tuple[Json, tuple[str | int, ...]]] = [(self.root, ())]
        while stack:
            node, path = stack.pop()
            if len(self.nodes) >= NODES_MAX:
                raise SchemaTooCostly(f"it holds more than {NODES_MAX} schemas")
            if len(path) > NESTING_MAX:
                raise SchemaTooCostly(f"it is nested deeper than {NESTING_MAX // 2}")
            self.nodes.append(node)
            self.paths.setdefault(id(node), path)
            for key in ("$id", "id"):
                if isinstance(node.get(key), str):
                    self._resources.setdefault(node[key].rstrip("#"), node)
            for key in ("$anchor", "$dynamicAnchor"):
                if isinstance(node.get(key), str):
                    self._anchors.setdefault(node[key], node)
            stack.extend((part, (*path, *step)) for _, step, part in subschemas(node) if isinstance(part, dict))

    def target(self, reference: Any) -> Json | bool | None:
        """The schema that a reference names; None where this document does not hold it."""
        if not isinstance(reference, str):
            return None
        resource, _, fragment = reference.partition("#")
        node: Any = self._resources.get(resource)
        if fragment and not fragment.startswith("/"):
            return self._anchors.get(fragment, self._resources.get(f"#{fragment}")) if node is not None else None
        for part in fragment.split("/")[1:]:
            key = part.replace("%25", "%").replace("%24", "$").replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and key.isdigit() and int(key) < len(node):
                node = node[int(key)]
            elif isinstance(node, dict) and key in node:
                node = node[key]
            else:
                return None
        return node if isinstance(node, dict | bool) else None

    def parts(self, node: Json) -> Parts:
        """What a schema applies, references followed."""
        known = self._parts.get(id(node))
        if known is None:
            known = self._parts[id(node)] = self._read_parts(node)
        return known

    def _read_parts(self, node: Json) -> Parts:
        found = Parts([], {}, [], [], [])
        for applied_to, step, part in subschemas(node):
            if not isinstance(part, dict) or applied_to == HELD:
                continue
            if applied_to == NAMED:
                found.named[str(step[-1])] = part
            else:
                getattr(found, applied_to).append(part)
        targets = [self.target(node[key]) for key in REFERENCES if key in node]
        found.same.extend(target for target in targets if isinstance(target, dict))
        return found

    def here(self, node: Json, chain: tuple[int, ...] = ()) -> Cost:
        """The cost of applying a schema to one value, without what is inside of the value.

        Raises:
            SchemaTooCostly: It applies itself to the same value without end, or through a very long chain.
        """
        known = self._costs.get(id(node))
        if known is not None:
            return known
        if id(node) in chain:
            raise SchemaTooCostly("it refers to itself without end")
        if len(chain) > CHAIN_MAX:
            raise SchemaTooCostly(f"its references lead through more than {CHAIN_MAX} others")
        cost = own_cost(node)
        for part in self.parts(node).same:
            cost = cost.plus(self.here(part, (*chain, id(node))))
        if "unevaluatedProperties" in node or "unevaluatedItems" in node:  # looks at the others' findings again
            cost = Cost(2 * cost.steps, cost.per_char)
        self._costs[id(node)] = cost
        return cost

    def whole(self) -> Cost:
        """The cost of every part once for each way to it; sets `recursive` where the ways have no end."""
        sums: dict[int, Cost] = {}
        open_: set[int] = set()

        def total(node: Json, nesting: int) -> Cost:
            if id(node) in sums:
                return sums[id(node)]
            if id(node) in open_ or nesting > 10 * CHAIN_MAX:
                self.recursive = True
                return Cost(0, 0)
            open_.add(id(node))
            parts, cost = self.parts(node), own_cost(node)
            for part in (*parts.same, *parts.named.values(), *parts.any_name, *parts.names, *parts.items):
                cost = cost.plus(total(part, nesting + 1))
            if "unevaluatedProperties" in node or "unevaluatedItems" in node:
                cost = Cost(2 * cost.steps, cost.per_char)
            open_.discard(id(node))
            sums[id(node)] = cost
            return cost

        return total(self.root, 0)

    def level(self, node: Json, depth: int) -> Cost:
        """The cost at the dearest place that lies `depth` levels below the value that `node` is applied to.

        Raises:
            SchemaTooCostly: The table of costs grows beyond its bound.
        """
        if depth == 0:
            return self.here(node)
        table = self._by_name(node, depth)
        anywhere = table.get(None, Cost(0, 0))
        places = [cost.plus(anywhere) for name, cost in table.items() if name is not None] or [anywhere]
        return Cost(max(c.steps for c in places), max(c.per_char for c in places))

    def _by_name(self, node: Json, depth: int) -> dict[str | None, Cost]:
        """Costs `depth` levels below, by the name that leads there; None: by any name, or as an item."""
        known = self._levels.get((id(node), depth))
        if known is not None:
            return known
        if self._entries > LEVELS_MAX:
            raise SchemaTooCostly("it refers to itself in too many ways")
        parts, table = self.parts(node), {}

        def add(name: str | None, cost: Cost) -> None:
            table[name] = table[name].plus(cost) if name in table else cost

        for part in parts.same:
            for name, cost in self._by_name(part, depth).items():
                add(name, cost)
        for name, part in parts.named.items():
            add(name, self.level(part, depth - 1))
        for part in (*parts.any_name, *parts.items, *(parts.names if depth == 1 else ())):
            add(None, self.level(part, depth - 1))
        self._levels[id(node), depth] = table
        self._entries += 1 + len(table)
        return table


def own_cost(node: Json) -> Cost:
    """The cost of a schema's own keywords."""
    choices = node.get("enum")
    containers = sum(isinstance(c, dict | list) for c in choices) if isinstance(choices, list) else 0
    by_pattern = node.get("patternProperties")
    patterns = len(by_pattern) if isinstance(by_pattern, dict) else 0
    per_char = PER_CHAR * patterns
    if "pattern" in node:
        per_char += PER_CHAR
    elif COSTLY in node:
        per_char += PER_CHAR_COSTLY
    return Cost(1 + PER_CONTAINER * containers + patterns, per_char)


COSTLY = "x-rayplay-costly"  # marks a schema whose pattern is tried on short texts alone


class Bound:
    """Steps that a schema takes for values of a size; computed once, for the depths that occur."""

    def __init__(self, graph: SchemaGraph) -> None:
        self._graph = graph
        for node in graph.nodes:
            graph.here(node)
        self._whole = graph.whole()
        self._levels: list[Cost] = []

    def within(self, budget: int, nodes: int, depth: int, chars: int) -> bool:
        """Whether a value of that size is checked in at most `budget` steps."""
        graph = self._graph
        if not graph.recursive and self._whole.steps * nodes + self._whole.per_char * chars <= budget:
            return True
        try:
            while len(self._levels) <= depth:
                self._levels.append(graph.level(graph.root, len(self._levels)))
        except (SchemaTooCostly, RecursionError):
            return False
        reached = self._levels[: depth + 1]
        return max(c.steps for c in reached) * nodes + max(c.per_char for c in reached) * chars <= budget

    def steps_at_most(self) -> int:
        """Steps at one place of any value that was found to be within a budget."""
        return max((cost.steps for cost in self._levels), default=self._whole.steps)
