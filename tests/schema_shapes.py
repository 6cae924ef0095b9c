"""Realistic tool schemas of many makers, and arguments that nearly fit them, drawn from a seed."""

import random
from enum import Enum
from typing import Annotated, Any, Literal, Optional

from pydantic import BaseModel, ConfigDict, Field, create_model

from rayplay.schema_graph import SchemaGraph

WORDS = ("city", "limit", "unit", "tags", "filter", "when", "note", "kind")
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


class Unit(Enum):
    KELVIN = "kelvin"
    CELSIUS = "celsius"


class Node(BaseModel):
    value: int
    children: list["Node"] = []


class Base(BaseModel):
    model_config = ConfigDict(extra="forbid")
    label: str
    weight: float | None = None


class Leaf(Base):
    kind: Literal["leaf"] = "leaf"


class Branch(Base):
    kind: Literal["branch"] = "branch"
    inner: list["Branch | Leaf"] = []


def python_type(draw: random.Random, depth: int = 0) -> Any:
    """A type hint that pydantic describes."""
    simple = (str, int, float, bool, Literal["a", "b"], Literal[1, 2], Unit, Base, Node, Branch | Leaf)
    constrained = (
        Annotated[int, Field(ge=0, le=9)],
        Annotated[str, Field(min_length=1, max_length=4)],
        Annotated[str, Field(pattern=r"^[a-z]+$")],
        Annotated[float, Field(multiple_of=0.25)],
    )
    if depth > 2 or draw.random() < 0.5:
        return draw.choice(simple + constrained)
    inner = python_type(draw, depth + 1)
    return draw.choice((list[inner], dict[str, inner], Optional[inner], tuple[inner, int]))  # noqa: UP045


def pydantic_schema(draw: random.Random) -> dict:
    """As FastMCP, pydantic-ai and LangChain take it off a function's types."""
    fields: dict[str, Any] = {}
    for name in draw.sample(WORDS, draw.randint(0, 4)):
        described = Field(description=f"the {name}") if draw.random() < 0.5 else ...
        fields[name] = (python_type(draw), described)
        if draw.random() < 0.4:
            fields[name] = (Optional[fields[name][0]], None)  # noqa: UP045
    extra = ConfigDict(extra=draw.choice(("forbid", "allow", "ignore")))
    return create_model("fArguments", __config__=extra, **fields).model_json_schema()


def strict_openai(draw: random.Random) -> dict:
    """OpenAI's strict mode: everything required and closed, absence is null."""
    return closed(pydantic_schema(draw))


def closed(schema: Any) -> Any:
    """Every object of a schema closed, all of its properties required."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items() if key not in ("default", "additionalProperties")}
    if isinstance(made.get("properties"), dict) and schema.get("type") == "object":
        made |= {"required": list(made["properties"]), "additionalProperties": False}
    return made


def zod_schema(draw: random.Random) -> dict:
    """As zod-to-json-schema writes: draft 7, references by place, tuples as lists, intersections."""
    point = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
    choices: list[dict] = [
        {"type": "array", "minItems": 2, "maxItems": 2, "items": [{"type": "string"}, {"type": "integer"}]},
        {"allOf": [point, {"type": "object", "properties": {"y": {"type": "string"}}}]},
        {"type": "object", "additionalProperties": {"type": "number"}, "propertyNames": {"pattern": "^[a-z]+$"}},
        {"type": ["string", "null"]},
        {"type": "string", "format": "date-time"},
        {"type": "number", "exclusiveMinimum": 0},
        {"const": "fixed"},
        {"not": {"type": "string"}},
        {"type": "object", "patternProperties": {"^x-": {"type": "integer"}}, "additionalProperties": False},
        {"anyOf": [{"type": "string"}, point]},
        {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 5}]},
    ]
    names = draw.sample(WORDS, draw.randint(1, 4))
    properties: dict[str, Any] = {name: draw.choice(choices) for name in names}
    if len(names) > 1:
        properties[names[1]] = {"$ref": f"#/properties/{names[0]}", "description": "the same"}
    made = {"type": "object", "properties": properties, "required": draw.sample(names, draw.randint(0, len(names)))}
    return {**made, "additionalProperties": draw.random() < 0.3, "$schema": DRAFT_7}


def conditional_schema(draw: random.Random) -> dict:
    """Hand-written: conditions, dependencies and definitions."""
    pay = {"properties": {"card": {"type": "string"}, "iban": {"type": "string"}, "sum": {"type": "number"}}}
    rule = draw.choice(
        [
            {"if": {"properties": {"card": {"const": "visa"}}, "required": ["card"]}, "then": {"required": ["sum"]}},
            {"dependentRequired": {"card": ["sum"]}},
            {"dependentSchemas": {"card": {"properties": {"code": {"type": "integer"}}, "required": ["code"]}}},
            {"$schema": DRAFT_7, "dependencies": {"card": ["sum"], "iban": {"properties": {"bic": {"minLength": 2}}}}},
            {"anyOf": [{"required": ["card"]}, {"required": ["iban"]}]},
            {"oneOf": [{"required": ["card"]}, {"required": ["iban"]}], "minProperties": 2},
            {"unevaluatedProperties": False, "allOf": [{"properties": {"code": {"type": "integer"}}}]},
            {"$ref": "#/definitions/more", "definitions": {"more": {"properties": {"sum": {"maximum": 10}}}}},
            {"allOf": [{"$dynamicRef": "#more"}], "$defs": {"m": {"$dynamicAnchor": "more", "required": ["sum"]}}},
            {"properties": {**pay["properties"], "again": {"$ref": "#"}}},
        ]
    )
    return {"type": "object", **pay, **rule}


MAKERS = (pydantic_schema, strict_openai, zod_schema, conditional_schema)


def arguments_near(schema: dict, draw: random.Random) -> dict:
    """Arguments that fit the schema, or nearly."""
    made = value_near(SchemaGraph(schema), schema, draw, 0)
    return made if isinstance(made, dict) else {"city": made}


def value_near(graph: SchemaGraph, node: Any, draw: random.Random, depth: int) -> Any:
    """A value for one schema; one in eight is of another kind."""
    odd = (None, 1, 2.0, 2.5, "a", "visa", [], ["a", 1], {}, True, {"x": 1})
    if not isinstance(node, dict) or depth > 6 or draw.random() < 0.12:
        return draw.choice(odd)
    if "$ref" in node:
        return value_near(graph, graph.target(node["$ref"]), draw, depth + 1)
    for key in ("anyOf", "oneOf"):
        if key in node and "properties" not in node:
            return value_near(graph, draw.choice(node[key]), draw, depth + 1)
    if "enum" in node:
        return draw.choice(node["enum"])
    if "const" in node:
        return node["const"]
    kind = node.get("type", "object" if "properties" in node or "allOf" in node else "string")
    kind = draw.choice(kind) if isinstance(kind, list) else kind
    return of_kind(graph, node, kind, draw, depth)


def of_kind(graph: SchemaGraph, node: dict, kind: str, draw: random.Random, depth: int) -> Any:
    """A value of one JSON type."""
    if kind == "object":
        parts = [node, *(p for p in node.get("allOf", ()) if isinstance(p, dict))]
        known = {name: part for p in parts for name, part in p.get("properties", {}).items()}
        made = {n: value_near(graph, p, draw, depth + 1) for n, p in known.items() if draw.random() < 0.8}
        if draw.random() < 0.25:
            made[draw.choice(("x-a", "code", "bic", "extra", "again"))] = draw.choice(("a", 3, {}))
        inner = node.get("additionalProperties")
        return {**made, "k": value_near(graph, inner, draw, depth + 1)} if isinstance(inner, dict) else made
    if kind == "array":
        listed = node.get("prefixItems") or (node["items"] if isinstance(node.get("items"), list) else None)
        if listed:
            return [value_near(graph, part, draw, depth + 1) for part in listed][: draw.randint(1, 3)]
        return [value_near(graph, node.get("items"), draw, depth + 1) for _ in range(draw.randint(0, 2))]
    values: dict[str, tuple] = {
        "string": ("a", "ab", "abcdef", "", "A1"), "integer": (0, 3, 7, 12, 3.0), "number": (0.25, 3, 5.5, 12.5, -1),
        "boolean": (True, False), "null": (None,),
    }  # fmt: skip
    return draw.choice(values.get(kind, ("a",)))
