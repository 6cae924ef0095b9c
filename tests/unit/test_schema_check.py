"""Schemas from anywhere judge what they can, within bounds, and say what they cannot."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayplay import toolbox
from rayplay.records import ToolSpec
from rayplay.schema_check import STEPS_MAX, SchemaCheck
from rayplay.schema_graph import Bound, SchemaGraph
from rayplay.toolbox import check_arguments


def checked(schema: Any, value: Any) -> str:
    return check_arguments(ToolSpec(name="order", parameters={"type": "object", **schema}), {"x": value})


def about(value: Any, **schema: Any) -> str:
    return checked({"properties": {"x": schema}}, value)


@pytest.mark.parametrize(
    ("step", "fitting", "others"),
    [
        (0.01, (12.34, 0.58, 1.15, 3, 250.0, 1e15), (0.575, 12.345)),
        (0.05, (0.15, 0.35, 7), (0.07,)),
        (2.5, (7.5, 10), (8,)),
        (1e-6, (0.000003, 1.1), (0.0000005,)),
    ],
)
def test_decimal_steps_are_exact(step: float, fitting: tuple, others: tuple) -> None:
    assert [about(value, multipleOf=step) for value in fitting] == [""] * len(fitting)
    assert all("multiple" in about(value, multipleOf=step) for value in others)


BACKTRACKING = [r"^(\d+,?)+$", r"(a|a)*b", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"^(?=(a+)+b)"]


@pytest.mark.parametrize("pattern", BACKTRACKING)
def test_no_pattern_runs_away(pattern: str) -> None:
    for text in ("1" * 60 + "x", "a" * 60, "a" * 50_000):
        assert isinstance(about(text, type="string", pattern=pattern), str)


def test_patterns_that_look_ahead_are_tried_on_texts_of_a_bounded_length() -> None:
    password = r"^(?=.*\d)(?=.*[a-z]).{8,}$"
    assert about("passw0rd", pattern=password) == ""
    assert "does not match" in about("password", pattern=password) or "not" in about("password", pattern=password)
    assert about("a1" * 5000, pattern=password)
    assert about(7, pattern=password) == ""


def doubling(levels: int, key: str = "allOf") -> dict:
    defs: dict[str, Any] = {f"l{n}": {key: [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {"properties": {"x": {"$ref": "#/$defs/l0"}}, "$defs": {**defs, f"l{levels}": {"type": "string"}}}


@pytest.mark.parametrize("key", ["allOf", "anyOf", "oneOf"])
def test_references_that_double_are_not_applied_where_that_takes_for_ever(key: str) -> None:
    assert [str(f) for f in SchemaCheck({"type": "object", **doubling(45, key)}).faults]
    assert checked(doubling(45, key), 3) == ""
    assert checked(doubling(5, "allOf"), 3).startswith("x: 3 is not of type 'string'")


def test_a_large_value_against_a_costly_schema_is_refused_unchecked() -> None:
    many = {**doubling(10), "properties": {"x": {"items": {"$ref": "#/$defs/l0"}}}}
    assert "too many" in checked(many, ["y"] * 40_000)


def test_the_bound_counts_every_way_that_leads_to_a_value() -> None:
    node = {"anyOf": [{"properties": {"left": {"$ref": "#/$defs/N"}}}] * 3}
    bound = Bound(SchemaGraph({"$ref": "#/$defs/N", "$defs": {"N": node}}))
    assert bound.within(STEPS_MAX, 10, 5, 0) and not bound.within(STEPS_MAX, 10, 20, 0)
    apart = {"anyOf": [{"properties": {f"k{n}": {"$ref": "#/$defs/N"}}} for n in range(3)]}
    assert Bound(SchemaGraph({"$ref": "#/$defs/N", "$defs": {"N": apart}})).within(STEPS_MAX, 10, 20, 0)


def test_long_enums_and_unique_lists_are_checked_at_once() -> None:
    words = [f"word {n}" for n in range(40_000)]
    assert about("word 39999", enum=words) == "" and "is not one of" in about("other", enum=words)
    assert about([{"n": n} for n in range(10_000)], uniqueItems=True) == ""
    assert about([{"n": 1}, {"n": 1}], uniqueItems=True)


BROKEN = [
    {"type": "strnig"},
    {"type": ["string", 4]},
    {"enum": "a"},
    {"minimum": "3"},
    {"multipleOf": -1},
    {"oneOf": {"type": "null"}},
    {"required": True},
    {"items": 5},
    {"pattern": "["},
    {"minLength": -2},
    {"$ref": 7},
    {"properties": ["a"]},
    "string",
    None,
    [],
]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_keyword_is_named_and_refuses_nothing_by_itself(broken: Any) -> None:
    schema = {"type": "object", "properties": {"x": broken, "n": {"type": "integer"}}}
    spec = ToolSpec(name="order", parameters=schema)
    assert SchemaCheck(schema).faults
    for value in ("a", 1, [1], {"a": 1}, None):
        assert check_arguments(spec, {"x": value}) == ""
    assert check_arguments(spec, {"n": "1"}) == "n: '1' is not of type 'integer'"  # the rest still judges


@pytest.mark.parametrize("schema", [None, [], "object", {"properties": None}, {"properties": {"x": 1}, "allOf": 3}])
def test_parameters_that_are_no_schema_never_raise(schema: Any) -> None:
    assert isinstance(SchemaCheck(schema).problem({"x": 1}), str)


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "s", "expected integer, null"),
        ({"anyOf": [{"required": ["a"], "type": "object"}, {"type": "string"}]}, {}, "'a' is a required property; or"),
        ({"const": 4}, 5, "5 is not 4"),
        ({"type": "object", "additionalProperties": False}, {"q": 1}, "'x.q'"),
        ({"maxLength": 2}, "abc", "longer than 2"),
        ({"minimum": 2}, 1, "1 is less than the minimum of 2"),
        ({"not": {}}, 1, "x: "),
        (False, 1, "x: 1 is not allowed here"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(schema: Any, value: Any, expected: str) -> None:
    found = checked({"properties": {"x": schema}}, value)
    assert expected in found and len(found) < 500


def test_a_long_value_is_cut_in_the_message() -> None:
    assert len(about("v" * 100_000, type="integer")) < 400
    alternatives = [{"type": "object", "properties": {"t": {"const": n}}} for n in range(400)]
    assert 0 < len(about({"t": "v" * 150_000}, anyOf=alternatives)) < 400


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_refused_by_name_whatever_the_schema(number: float) -> None:
    assert about({"deep": [1, number]}).startswith("x.deep.1: ")


def test_what_is_not_json_is_refused_in_words() -> None:
    assert "surrogate" in about("\ud83d") and "surrogate" in about({"\udc00": 1})
    assert about(object()) and about({1: 2}) and about({"a"})


def test_drafts_are_told_apart_by_name_and_by_form() -> None:
    pair = {"items": [{"type": "string"}, {"type": "integer"}], "additionalItems": False}
    assert about(["a", 1], **pair) == "" and about([1, "a"], **pair) and about(["a", 1, 2], **pair)
    assert about(3, minimum=3, exclusiveMinimum=True) and about(4, minimum=3, exclusiveMinimum=True) == ""
    seven = {"$schema": "http://json-schema.org/draft-07/schema#"}
    refers = {"properties": {"x": {"$ref": "#/definitions/s"}}, "definitions": {"s": {"type": "string"}}, **seven}
    assert checked(refers, "a") == "" and checked(refers, 1)
    assert checked({"properties": {"x": {"type": "string"}}, "$schema": "https://example.org/my-own"}, 1)


def test_nothing_is_fetched() -> None:
    for reference in ("http://127.0.0.1:9/s.json", "file:///etc/hostname", "other.json#/a", "#nowhere"):
        assert about(1, **{"$ref": reference}) == ""


def test_references_by_anchor_and_identity_are_followed() -> None:
    by_anchor = {"properties": {"x": {"$ref": "#word"}}, "$defs": {"w": {"$anchor": "word", "type": "string"}}}
    by_id = {"$id": "https://example.org/root", "properties": {"x": {"$ref": "https://example.org/root#/$defs/w"}}}
    assert checked(by_anchor, 1) and checked(by_anchor, "a") == ""
    assert checked({**by_id, "$defs": {"w": {"type": "string"}}}, 1)


SCALARS = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer", "minimum": 2},
        {"type": ["number", "null"]},
        {"enum": ["a", 1, None]},
        {"const": True},
        {"type": "string", "pattern": "^a+$"},
        {"type": "boolean"},
        {},
    ]
)
SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner),
        st.builds(lambda a, b: {"allOf": [a], "oneOf": [b, {"type": "array"}]}, inner, inner),
        st.builds(lambda a: {"type": "array", "items": a, "maxItems": 2}, inner),
        st.builds(lambda a, b: {"type": "object", "properties": {"k": a}, "additionalProperties": b}, inner, inner),
        st.builds(lambda a: {"if": {"type": "string"}, "then": a, "else": {"type": "integer"}}, inner),
        st.builds(lambda a: {"not": a}, inner),
        st.builds(lambda a: {"patternProperties": {"^k": a}, "minProperties": 1}, inner),
    ),
    max_leaves=6,
)
VALUES = st.recursive(
    st.sampled_from(["a", "b", 1, 2.0, 2.5, None, True]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "l"]), inner, max_size=2),
    max_leaves=5,
)


@settings(deadline=None, max_examples=300)
@given(SCHEMAS, VALUES)
def test_it_judges_like_the_reference_validator(schema: dict, value: Any) -> None:
    judged = SchemaCheck(schema)
    assert not judged.faults
    assert (judged.problem(value) == "") == jsonschema.Draft202012Validator(schema).is_valid(value)


def test_ready_schemas_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayplay.toolbox.CHECKS_MAX", 3)
    for number in range(10):
        spec = ToolSpec(name="t", parameters={"properties": {f"a{number}": {}}})
        assert check_arguments(spec, {f"a{number}": 1}) == ""
    assert len(toolbox._checks) <= 3


def test_a_long_list_against_a_long_enum_is_refused_at_once():
    schema = {
        "type": "object",
        "properties": {"x": {"anyOf": [{"type": "array", "items": {"enum": list(range(9000))}}]}},
    }
    assert "too large to say where" in SchemaCheck(schema).problem({"x": list(range(4500, 13500))})
    assert SchemaCheck(schema).problem({"x": list(range(9000))}) == ""
