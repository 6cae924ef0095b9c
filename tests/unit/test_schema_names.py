"""A key that the schema names nowhere is refused at every level; a key that it names anywhere is known."""

from dataclasses import dataclass
from typing import Any

import pytest

from rayplay.records import ToolSpec
from rayplay.toolbox import check_arguments, spec_of, tool


@dataclass
class Window:
    start: str
    minutes: int = 30


@dataclass
class Room:
    name: str
    window: Window | None = None
    seats: list[Window] | None = None


@tool
def book(room: Room, extra: dict[str, int] | None = None, either: Window | Room | None = None) -> str:
    """Book."""
    return ""


BOOK = spec_of(book)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"room": {"name": "a", "windw": None}}, "'room.windw'"),
        ({"room": {"name": "a", "window": {"start": "9", "minuts": 5}}}, "'room.window.minuts'"),
        ({"room": {"name": "a", "seats": [{"start": "9"}, {"start": "9", "end": 5}]}}, "'room.seats.1.end'"),
        ({"room": {"name": "a"}, "either": {"start": "9", "nme": "x"}}, "'either.nme'"),
        ({"rom": {"name": "a"}}, "'rom'; book takes: room, extra, either"),
    ],
)
def test_a_misspelt_key_is_named_with_its_place(arguments: dict, named: str) -> None:
    assert check_arguments(BOOK, arguments).startswith(f"unknown argument {named}")


@pytest.mark.parametrize(
    "arguments",
    [
        {"room": {"name": "a", "window": {"start": "9", "minutes": 5}}},
        {"room": {"name": "a"}, "extra": {"anything": 1}},
        {"room": {"name": "a"}, "either": {"start": "9"}},
        {"room": {"name": "a"}, "either": {"name": "b"}},
    ],
)
def test_known_keys_and_free_keys_pass(arguments: dict) -> None:
    assert check_arguments(BOOK, arguments) == ""


def problem(schema: dict[str, Any], arguments: dict[str, Any]) -> str:
    return check_arguments(ToolSpec(name="pay", parameters={"type": "object", **schema}), arguments)


IBAN = {"properties": {"iban": {"type": "string"}}}
BIC = {"properties": {"bic": {"type": "string"}}, "required": ["bic"]}
PLACES = [
    {"dependentSchemas": {"iban": BIC}},
    {"dependencies": {"iban": BIC}, "$schema": "http://json-schema.org/draft-07/schema#"},
    {"if": {"required": ["iban"]}, "then": BIC},
    {"if": {"required": ["other"]}, "else": BIC},
    {"allOf": [BIC]},
    {"anyOf": [BIC, {"properties": {"cash": {"const": True}}, "required": ["cash"]}]},
    {"oneOf": [BIC, {"properties": {"cash": {"const": True}}, "required": ["cash"]}]},
    {"$ref": "#/$defs/bic", "$defs": {"bic": BIC}},
    {"$dynamicRef": "#bic", "$defs": {"bic": {"$dynamicAnchor": "bic", **BIC}}},
    {"allOf": [{"allOf": [{"$ref": "#/$defs/bic"}]}], "$defs": {"bic": BIC}},
]


@pytest.mark.parametrize("place", PLACES)
def test_every_place_that_can_name_an_argument_counts(place: dict) -> None:
    schema = {**IBAN, **place}
    assert problem(schema, {"iban": "1", "bic": "x"}) == ""
    assert problem(schema, {"iban": "1"}), "and it is required"
    assert "unknown argument 'bicc'" in problem(schema, {"iban": "1", "bic": "x", "bicc": "x"})


def test_a_name_of_a_condition_that_does_not_hold_is_known() -> None:
    assert problem({**IBAN, "dependentSchemas": {"iban": BIC}}, {"bic": "x"}) == ""


@pytest.mark.parametrize(
    "opening",
    [
        {"additionalProperties": True},
        {"additionalProperties": {"type": "integer"}},
        {"patternProperties": {"^x-": {}}},
        {"unevaluatedProperties": {"type": "integer"}},
        {"propertyNames": {"maxLength": 5}},
    ],
)
def test_schemas_that_say_they_are_open_are(opening: dict) -> None:
    assert problem({**IBAN, **opening}, {"iban": "1", "x-a": 1}) == ""


def test_what_is_open_is_still_judged() -> None:
    assert problem({**IBAN, "unevaluatedProperties": False}, {"iban": "1", "q": 1})
    assert problem({**IBAN, "propertyNames": {"pattern": "^[a-z]+$"}}, {"Q": 1})
    assert problem({"patternProperties": {"^x": {"type": "integer"}}}, {"x1": "a"})


def test_objects_of_which_nothing_is_said_are_free_below_the_arguments() -> None:
    assert problem({"properties": {"meta": {"type": "object"}}}, {"meta": {"any": {"thing": 1}}}) == ""
    assert "takes: none" in problem({}, {"any": 1})
    free_or_known = {"anyOf": [IBAN, {"type": "object"}]}
    assert problem({"properties": {"by": free_or_known}}, {"by": {"other": 1}}) == ""


def test_recursive_schemas_are_searched_to_the_end() -> None:
    tree = {"properties": {"left": {"$ref": "#"}, "value": {"type": "integer"}}}
    assert problem(tree, {"left": {"left": {"value": 1}}}) == ""
    assert "'left.left.valu'" in problem(tree, {"left": {"left": {"valu": 1}}})
