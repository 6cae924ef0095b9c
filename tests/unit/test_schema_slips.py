"""What a user's own tool definition gets wrong is found when the recipe is read, by the tool's name and the place."""

import json

import pytest

from rayplay.errors import RecipeError
from rayplay.recipe_text import parse_recipe
from rayplay.schema_slips import first_slip


def refused(parameters: object) -> str:
    tools = [{"name": "calculator", "description": "c", "parameters": parameters}]
    with pytest.raises(RecipeError) as caught:
        parse_recipe(json.dumps({"model": {"name": "m"}, "tools": tools}), "r.json")
    return str(caught.value)


TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"type": "object", "properties": {"a": {"type": "int"}}}, "properties.a.type: 'int' is not a type"),
        ({"type": "object", "properties": {"a": {"type": "nubmer"}}}, "did you mean 'number'?"),
        ({"type": "object", "properties": {"a": {"type": "string", "required": True}}}, "stands next to `properties`"),
        ({"type": "object", "properties": {"a": TEXT, "required": ["a"]}}, "properties.required"),
        ({"type": "object", "properties": {"a": TEXT}, "required": ["b"]}, "'b' is required, but"),
        ({"type": "object", "propertis": {"a": TEXT}}, "did you mean 'properties'?"),
        ({"type": "object", "properties": {"a": {"type": "array", "item": TEXT}}}, "properties.a.item"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}, "#/$defs/A"),
        ({"type": "object", "properties": {"a": {"pattern": "(a"}}}, "regular expression"),
        ({"type": "array", "items": TEXT}, "arguments are an object"),
        ({"type": "object", "properties": {"a": {"enum": "yes"}}}, "properties.a.enum"),
    ],
)
def test_slips_are_named(parameters: dict, named: str) -> None:
    message = refused(parameters)
    assert "'calculator'" in message and named in message and "\n" not in message


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "object", "properties": {}},
        {"properties": {"type": TEXT, "required": TEXT, "item": TEXT}},
        {"type": "object", "properties": {"a": {"type": ["string", "null"], "description": "d", "x-order": 1}}},
        {"type": "object", "properties": {"a": TEXT}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "definitions": {"A": TEXT},
         "properties": {"a": {"$ref": "#/definitions/A"}}, "additionalProperties": False},
    ],
)  # fmt: skip
def test_right_definitions_pass(parameters: dict) -> None:
    assert first_slip(parameters) == ""
