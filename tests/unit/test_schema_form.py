"""The form in which data sets' schemas are kept accepts and refuses what the schemas themselves do."""

import json
import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayplay.data.normal import Rejected, read_tool
from rayplay.data.schemas import schema_of_parameters, without_filled
from rayplay.records import ToolSpec
from rayplay.schema_check import SchemaCheck
from rayplay.schema_slips import first_slip
from rayplay.toolbox import check_arguments
from tests.schema_shapes import MAKERS, arguments_near


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(MAKERS), st.integers(0, 2**32))
def test_nothing_is_lost_on_the_way(maker: Any, seed: int) -> None:
    draw = random.Random(seed)
    schema = maker(draw)
    form = schema_of_parameters(json.loads(json.dumps(schema)))
    jsonschema.Draft202012Validator.check_schema(form)
    assert first_slip(form) == "" and "definitions" not in form and "$schema" not in form
    assert schema_of_parameters(form) == form, "the form is its own form"
    before, after = SchemaCheck(schema), SchemaCheck(form)
    for _ in range(12):
        value = arguments_near(schema, draw)
        known = (before.unknown(value) is None, after.unknown(value) is None)
        assert known[0] == known[1], (schema, form, value)
        if form == {"type": "object", "properties": {}}:  # takes none, which `unknown` says, closed in words or not
            assert known[1] == (value == {}) and after.problem({}) == ""
        else:
            assert (before.problem(value) == "") == (after.problem(value) == ""), (schema, form, value)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(MAKERS), st.integers(0, 2**32))
def test_the_check_of_a_schema_is_that_of_the_reference_validator(maker: Any, seed: int) -> None:
    draw = random.Random(seed)
    schema = maker(draw)
    check = SchemaCheck(schema)
    assert check.faults == []
    if any(step in json.dumps(schema) for step in ("multipleOf", "dynamicRef")):
        return  # where the reference divides binary floats; and does not resolve without an identity
    reference = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)(schema)
    for _ in range(8):
        value = arguments_near(schema, draw)
        assert (check.problem(value) == "") == reference.is_valid(value), (schema, value)


@pytest.mark.parametrize(
    "spelling",
    [
        None,
        {},
        [],
        "",
        {"type": "object"},
        {"type": "Object", "properties": {}},
        {"type": "dict", "properties": None, "required": None, "description": None},
        {"type": "object", "additionalProperties": False, "strict": True},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "none", "type": "object"},
        {"properties": {}},
        {"properties": None},
        {"title": "NoArguments", "description": "takes nothing", "type": "object", "required": []},
        {"additionalProperties": False},
        {"type": "object", "properties": {"other": None}, "required": ["other"]},
    ],
)
def test_a_tool_without_parameters_gains_none(spelling: Any) -> None:
    form = schema_of_parameters(spelling)
    assert form["type"] == "object" and form["properties"] == {} and "required" not in form
    spec = ToolSpec(name="f", parameters=form)
    assert check_arguments(spec, {}) == ""
    assert all(check_arguments(spec, {name: 1}) for name in ("type", "title", "additionalProperties", "other"))


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ({"title": {"type": "str", "description": "of the book"}, "type": {"type": "str"}}, ["title", "type"]),
        ({"description": "What to say", "amount": "How much"}, ["description", "amount"]),
        ({"type": "object", "place": {"type": "string"}, "days": "int"}, ["place", "days"]),
        ({"type": "object", "format": {"type": "string"}, "description": "Export."}, ["format"]),
        ([{"name": "q", "type": "string"}, {"name": "required", "type": "bool"}], ["q", "required"]),
    ],
)
def test_names_that_are_keywords_too_stay_names(written: Any, names: list[str]) -> None:
    assert list(schema_of_parameters(written)["properties"]) == names


def test_types_of_other_languages_are_read_at_every_level() -> None:
    raw = {
        "type": "dict",
        "properties": {
            "a": {"type": "ARRAY", "items": {"type": "float"}},
            "b": {"type": "dict", "properties": {"c": {"type": "INTEGER"}}},
            "d": {"anyOf": [{"type": "str"}, {"type": "NULL"}]},
            "e": {"type": "any"},
            "f": {"type": "STRING", "nullable": True},
            "g": {"type": "tuple", "items": {"type": "int"}},
        },
    }
    form = schema_of_parameters(raw)["properties"]
    assert form["a"] == {"type": "array", "items": {"type": "number"}}
    assert form["b"]["properties"]["c"] == {"type": "integer"}
    assert form["d"] == {"anyOf": [{"type": "string"}, {"type": "null"}]} and form["e"] == {}
    assert form["f"]["type"] == ["string", "null"] and form["g"]["type"] == "array"


PLACE = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}


@pytest.mark.parametrize("held", ["$defs", "definitions", "components"])
def test_references_are_written_out_with_what_stands_next_to_them(held: str) -> None:
    definitions = {"schemas": {"Place": PLACE}} if held == "components" else {"Place": PLACE}
    pointer = "#/components/schemas/Place" if held == "components" else f"#/{held}/Place"
    raw = {"type": "object", "properties": {"at": {"$ref": pointer, "description": "where"}}, held: definitions}
    form = schema_of_parameters(raw)
    assert form == {"type": "object", "properties": {"at": {**PLACE, "description": "where"}}}
    older = {**raw, "properties": {"at": {"allOf": [{"$ref": pointer}], "default": None}}}
    assert schema_of_parameters(older)["properties"]["at"] == {**PLACE, "default": None}


def test_a_schema_that_refers_to_itself_keeps_its_references() -> None:
    person = {"type": "object", "properties": {"name": {"type": "string"}, "boss": {"$ref": "#/definitions/Person"}}}
    raw = {"type": "object", "properties": {"who": {"$ref": "#/definitions/Person"}}, "definitions": {"Person": person}}
    form = schema_of_parameters(raw)
    assert form["properties"]["who"] == {"$ref": "#/$defs/Person"}
    assert form["$defs"]["Person"]["properties"]["boss"] == {"$ref": "#/$defs/Person"}
    spec = ToolSpec(name="f", parameters=form)
    assert check_arguments(spec, {"who": {"name": "a", "boss": {"name": "b"}}}) == ""
    assert "who.boss.nme" in check_arguments(spec, {"who": {"boss": {"nme": "b"}}})


def test_references_that_would_grow_beyond_bounds_stay_references() -> None:
    levels = {
        f"l{n}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/l{n + 1}"} for k in "abc"}} for n in range(9)
    }
    raw = {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/l0"}},
        "$defs": {**levels, "l9": {"type": "integer"}},
    }
    form = schema_of_parameters(raw)
    assert len(json.dumps(form)) < 5000 and len(form["$defs"]) == 10
    assert check_arguments(ToolSpec(name="f", parameters=form), {"x": {"a": {"b": {"c": {}}}}}) == ""


def test_a_schema_beyond_all_measure_is_a_rejected_row() -> None:
    deep: dict = {"type": "string"}
    for _ in range(300):
        deep = {"type": "object", "properties": {"a": deep}}
    with pytest.raises(Rejected) as caught:
        read_tool({"name": "f", "description": "d", "parameters": deep})
    assert caught.value.reason == "broken_tools"


def test_what_arrow_filled_in_is_neither_a_keyword_nor_an_argument() -> None:
    raw = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "description": None, "enum": None, "default": None, "items": None},
            "b": None,
            "c": {"type": "object", "properties": {"d": {"type": "integer"}, "e": None}, "required": None},
        },
        "required": ["a"],
    }
    form = schema_of_parameters(raw)
    assert form["properties"] == {
        "a": {"type": "string"},
        "c": {"type": "object", "properties": {"d": {"type": "integer"}}},
    }
    given = {"a": "x", "b": None, "c": {"d": 1, "e": None}}
    assert without_filled(given, form) == {"a": "x", "c": {"d": 1}} and given["b"] is None
    assert without_filled({"a": "x", "b": 0}, form) == {"a": "x", "b": 0}
    assert schema_of_parameters({"type": "object", "properties": {"n": {"type": "integer", "default": None}}})[
        "properties"
    ]["n"] == {"type": "integer", "default": None}


def test_drafts_come_out_as_the_newest() -> None:
    raw = {
        "type": "object",
        "properties": {
            "p": {"type": "array", "items": [{"type": "string"}], "additionalItems": {"type": "integer"}},
            "n": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        },
        "dependencies": {"p": ["n"], "n": {"required": ["p"]}},
    }
    form = schema_of_parameters(raw)
    assert form["properties"]["p"] == {
        "type": "array",
        "prefixItems": [{"type": "string"}],
        "items": {"type": "integer"},
    }
    assert form["properties"]["n"] == {"type": "number", "exclusiveMinimum": 0}
    assert form["dependentRequired"] == {"p": ["n"]} and form["dependentSchemas"] == {"n": {"required": ["p"]}}
