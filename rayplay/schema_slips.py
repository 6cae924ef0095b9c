"""A schema that a user wrote -> the first slip in it, before a run instead of at its first call.

Foreign schemas are taken as they are (`schema_check` leaves out what it cannot apply); a definition of the user's own
is held to more: what JSON Schema passes over in silence, such as a misspelt keyword, is a mistake here.
"""

import difflib
from collections.abc import Iterator
from typing import Any

from rayplay.records import Json
from rayplay.schema_check import Fault, SchemaCheck
from rayplay.schema_graph import KEYWORDS, REFERENCES, SchemaGraph, SchemaTooCostly

ASSERTIONS = ("type", "enum", "const", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
              "minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems", "minContains", "maxContains",
              "minProperties", "maxProperties", "required", "dependentRequired", "format")  # fmt: skip
NOTES = ("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "$comment", "title",
         "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "contentEncoding",
         "contentMediaType", "contentSchema", "nullable", "strict", "discriminator")  # fmt: skip
KNOWN = (*KEYWORDS, *REFERENCES, *ASSERTIONS, *NOTES)


def first_slip(schema: Any) -> str:
    """What is wrong with the parameters of a tool definition, by path; "" where nothing is."""
    check = SchemaCheck(schema)
    if check.faults:
        return str(check.faults[0])
    if schema.get("type", "object") != "object":
        return f'type: {schema["type"]!r}: arguments are an object; write "object"'
    try:
        graph = SchemaGraph(schema)
    except SchemaTooCostly as error:
        return str(error)
    return next((str(slip) for node in graph.nodes for slip in slips(graph, node)), "")


def slips(graph: SchemaGraph, node: Json) -> Iterator[Fault]:
    """What one schema of a definition gets wrong without being invalid."""
    path = graph.paths[id(node)]
    for key in node:
        near = difflib.get_close_matches(key, KNOWN, n=1, cutoff=0.75) if key not in KNOWN else []
        if near:
            yield Fault((*path, key), f"unknown keyword; did you mean {near[0]!r}?")
    properties, required = node.get("properties"), node.get("required", [])
    if isinstance(properties, dict) and not graph.parts(node).same and not graph.parts(node).any_name:
        absent = [name for name in required if name not in properties]
        if absent and node.get("additionalProperties", False) is False:
            yield Fault((*path, "required"), f"{absent[0]!r} is required, but `properties` does not describe it")
