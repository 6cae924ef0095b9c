"""A JSON schema from anywhere -> a check of values that is bounded in time and memory, and never raises.

The schema is judged once, when it is read: broken keywords, references to nowhere and regular expressions that no
linear or bounded matcher takes are named as faults, and each is left out alone, so that the rest still judges. What
is then applied is `jsonschema_rs`, whose regular expressions cannot run away and whose decimals are exact. It holds
the interpreter while it runs, so the steps that a value may take are counted before (`schema_graph`); a value that
would take more is refused.
"""

import copy
import difflib
import math
from typing import Any, NamedTuple

import jsonschema_rs

from rayplay.records import Json
from rayplay.schema_graph import COSTLY, KEYWORDS, MAP, REFERENCES, Bound, SchemaGraph, SchemaTooCostly, values_within
from rayplay.schema_names import KnownNames, Unknown
from rayplay.schema_words import in_words, sentence, shown
from rayplay.strict_json import first_unstorable

DEPTH_MAX = 24  # levels of objects and arrays in a value
STEPS_MAX = 12_000_000  # of checking one value; about half a second
ERROR_BYTES_MAX = 8 << 20  # of alternatives' errors, each of which holds a copy of the value
ERROR_VALUES_MAX = 2_000_000  # of the schema in these errors: each value's holds the enum that it is not in
FAULTS_MAX = 20
LIGHT_BYTES, COSTLY_BYTES, BACKTRACKS_MAX = 1 << 16, 1 << 20, 10_000
COSTLY_CHARS = 2000  # of a text that is tried against a costly pattern

LIGHT = jsonschema_rs.RegexOptions(size_limit=LIGHT_BYTES, dfa_size_limit=LIGHT_BYTES)
ANY = jsonschema_rs.FancyRegexOptions(BACKTRACKS_MAX, size_limit=COSTLY_BYTES, dfa_size_limit=COSTLY_BYTES)
DRAFTS: dict[str, type] = {
    "draft-04": jsonschema_rs.Draft4Validator,
    "draft-06": jsonschema_rs.Draft6Validator,
    "draft-07": jsonschema_rs.Draft7Validator,
    "2019-09": jsonschema_rs.Draft201909Validator,
    "2020-12": jsonschema_rs.Draft202012Validator,
}
# where a schema does not name its draft: the first of these that takes it whole
GUESSES = ("2020-12", "draft-07", "draft-04")
NAMING = tuple(key for key, (shapes, _) in KEYWORDS.items() if MAP in shapes)
TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")


class Size(NamedTuple):
    """How large a value is: values in it, levels, characters of all texts and keys."""

    nodes: int
    depth: int
    chars: int


SMALL = Size(nodes=30, depth=4, chars=1000)  # a schema that is too costly for so little is not applied at all


class Fault(NamedTuple):
    """A keyword that cannot be applied: where it stands, why, and whether it breaks the schema or only says nothing."""

    path: tuple[str | int, ...]
    reason: str
    breaks: bool = True

    def __str__(self) -> str:
        """The fault in one line."""
        where = ".".join(map(str, self.path))
        return f"{where}: {self.reason}" if where else self.reason


class SchemaCheck:
    """One schema, made ready. `faults` says what of it is not applied; none of them stops the rest."""

    def __init__(self, schema: Any) -> None:
        self.faults: list[Fault] = []
        self.weight = values_within(schema)
        self._validator: Any = None
        self._bound: Bound | None = None
        self._names: KnownNames | None = None
        try:
            self._prepare(schema)
        except SchemaTooCostly as error:
            self.faults.append(Fault((), str(error)))
        except RecursionError:
            self.faults.append(Fault((), "it is nested too deeply"))

    def problem(self, value: Any) -> str:
        """Why a value does not fit, in words; "" where it does, or where the schema cannot be applied."""
        size = measure(value)
        if isinstance(size, str):
            return size
        if self._validator is None or self._bound is None:
            return ""
        if not self._bound.within(STEPS_MAX, *size):
            return f"{size.nodes} values with {size.chars} characters are too many to be checked against this schema"
        try:
            if self._validator.is_valid(value):
                return ""
            held = self._bound.steps_at_most() * (size.chars + 20 * size.nodes)
            if held > ERROR_BYTES_MAX or self.weight * size.nodes > ERROR_VALUES_MAX:
                return "the value does not fit its schema; it is too large to say where"
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return in_words(error)
        except ValueError as error:
            return f"it is not JSON: {str(error)[:100]}"
        return ""

    def unknown(self, value: Any) -> Unknown | None:
        """The first key of `value` that the schema names nowhere; None also where the schema cannot be searched."""
        return self._names.unknown(value) if self._names else None

    def _prepare(self, schema: Any) -> None:
        if not isinstance(schema, dict):
            raise SchemaTooCostly(f"{shown(schema)} is not a schema; write an object with type and properties")
        graph = SchemaGraph(schema)
        if any(needs_care(graph, node) for node in graph.nodes):
            graph = SchemaGraph(copy.deepcopy(schema))
            for node in graph.nodes:
                self.faults += limit_references(graph, node) + limit_patterns(node, graph.paths[id(node)])
            graph = SchemaGraph(graph.root)
        bound = Bound(graph)
        if not bound.within(STEPS_MAX, *SMALL):
            raise SchemaTooCostly("to apply it to a small value would take too many steps")
        applied = self._compile(graph.root)
        if applied is not None:
            self._bound = bound
            self._names = KnownNames(graph if applied is graph.root else SchemaGraph(applied))

    def _compile(self, schema: Json) -> Json | None:
        """Make the validator -> the schema that it applies, without what its draft forbids; None: there is none."""
        applied = schema
        for _ in range(FAULTS_MAX):
            error = self._try(applied)
            if error is None:
                return applied
            path = tuple(error.instance_path) if isinstance(error, jsonschema_rs.ValidationError) else ()
            if not path:
                self.faults.append(Fault((), str(error).splitlines()[0][:200]))
                return None
            self.faults.append(Fault(path, why(error, path)))
            applied = copy.deepcopy(schema) if applied is schema else applied
            leave_out(applied, path)
        return None

    def _try(self, schema: Json) -> Exception | None:
        """Make the validator of the first draft that takes the schema; else what the first of them says."""
        first: Exception | None = None
        for draft in drafts_of(schema):
            try:
                self._validator = draft(schema, validate_formats=False, offline=True, pattern_options=ANY)
                return None
            except (jsonschema_rs.ValidationError, ValueError) as error:
                first = first or error
        return first


def measure(value: Any) -> Size | str:
    """The size of a value, or why it is no JSON value that can be checked."""
    nodes = depth = 0
    level, texts = [value], []
    while level:
        if depth > DEPTH_MAX:
            return f"arguments are nested deeper than {DEPTH_MAX}"
        nodes += len(level)
        below: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                texts += part
                below += part.values()
            elif isinstance(part, list):
                below += part
            elif isinstance(part, str):
                texts.append(part)
            elif isinstance(part, float):
                if not math.isfinite(part):
                    return first_unstorable(value)
            elif part is not None and not isinstance(part, int):
                return f"a {type(part).__name__} is not JSON"
        level, depth = below, depth + 1
    try:
        chars = len("".join(texts).encode())
    except TypeError:
        return "a key is not a text"
    except UnicodeEncodeError:
        return "a text holds half of a surrogate pair, which is no Unicode character"
    return Size(nodes, depth - 1, chars)


def needs_care(graph: SchemaGraph, node: Json) -> bool:
    """Whether one schema holds what may have to be changed before it is applied."""
    if "pattern" in node or "patternProperties" in node:
        return True
    return any(key in node and graph.target(node[key]) is None for key in REFERENCES)


def limit_references(graph: SchemaGraph, node: Json) -> list[Fault]:
    """Drop the references of one schema that lead nowhere in its document."""
    faults = []
    for key in REFERENCES:
        if key in node and graph.target(node[key]) is None:
            reason = f"{shown(node.pop(key))} is not in this schema, and nothing is fetched"
            faults.append(Fault((*graph.paths[id(node)], key), reason, breaks=False))
    return faults


def limit_patterns(node: Json, path: tuple[str | int, ...]) -> list[Fault]:
    """Keep the cheap regular expressions of one schema, bound the costly ones, drop what nothing here reads."""
    faults = []
    pattern = node.get("pattern")
    if isinstance(pattern, str) and not takes(pattern, LIGHT):
        del node["pattern"]
        if takes(pattern, ANY):
            node[COSTLY] = True
            tried = {"if": {"maxLength": COSTLY_CHARS}, "then": {"pattern": pattern}, "else": False}
            node["allOf"] = [*node.get("allOf", ()), tried]
        else:
            reason = f"{shown(pattern)} is not a regular expression that can be applied"
            faults.append(Fault((*path, "pattern"), reason, breaks=False))
    named = node.get("patternProperties")
    for pattern in [p for p in named if not takes(p, LIGHT)] if isinstance(named, dict) else ():
        del named[pattern]
        for key in ("additionalProperties", "unevaluatedProperties"):  # they would refuse what it named
            node.pop(key, None)
        reason = f"{shown(pattern)} is not a regular expression that can be applied to names"
        faults.append(Fault((*path, "patternProperties"), reason, breaks=False))
    return faults


def takes(pattern: str, options: Any) -> bool:
    """Whether a regular expression compiles within the bounds of `options`."""
    try:
        jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=options)
    except (jsonschema_rs.ValidationError, ValueError):
        return False
    return True


def drafts_of(schema: Json) -> list[type]:
    """The draft that a schema names, else those that it may be of, the newest first."""
    named = schema.get("$schema")
    found = [draft for name, draft in DRAFTS.items() if isinstance(named, str) and name in named]
    return found or [DRAFTS[name] for name in GUESSES]


def leave_out(schema: Json, path: tuple[str | int, ...]) -> None:
    """Drop the keyword, or the entry, that stands at a path; what stands under a name stays, and takes anything."""
    node: Any = schema
    for part in path[:-1]:
        node = node[part]
    if path[-2:-1] and path[-2] in NAMING:
        node[path[-1]] = {}
    else:
        del node[path[-1]]


def why(error: jsonschema_rs.ValidationError, path: tuple[str | int, ...]) -> str:
    """What is wrong with a keyword of a schema, in words for whoever wrote it."""
    key, value = path[-1], error.instance
    if key == "type" and path[-2:-1] != ("properties",):
        near = difflib.get_close_matches(str(value).lower(), TYPES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(TYPES)}"
        return f"{shown(value)} is not a type of JSON; {hint}"
    if key == "required":
        return f"{shown(value)}: `required` is a list of names and stands next to `properties`, not inside one of them"
    return sentence(error)
