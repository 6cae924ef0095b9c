"""What holds of matching for every value, schema and order of calls."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayplay.assignment import assign
from rayplay.matching import argument_score, match_calls, same_value
from rayplay.records import (
    Expected,
    ExpectedCall,
    Message,
    Status,
    StopReason,
    Task,
    ToolCall,
    ToolSpec,
    Trajectory,
    Turn,
)
from rayplay.rewards import REWARDS

RULES = ("exact", "plain", "official")
SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    st.sampled_from([0, 0.0, 1, 1.0, True, "", " ", "1", "a b", "a-b", 2**53, 1e300, 10**400]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from("abc")
TYPES = st.sampled_from(["integer", "number", "string", "boolean", "array", "object", "null", "any", "dict", 7, None])
SCHEMAS = st.recursive(
    st.one_of(
        *(
            st.just({}),
            st.just(True),
            st.just(None),
            st.builds(lambda t: {"type": t}, TYPES | st.lists(TYPES, max_size=3)),
        ),
        st.builds(lambda values: {"enum": values}, st.lists(SCALARS, max_size=3)),
        st.sampled_from(
            [{"$ref": "#"}, {"$ref": "#/$defs/a"}, {"$ref": "#/properties/a"}, {"$ref": 3}, {"$ref": "#/~1"}]
        ),
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES,
            "items": inner,
            "prefixItems": st.lists(inner, max_size=2),
            "properties": st.dictionaries(KEYS, inner, max_size=2),
            "additionalProperties": inner,
            "anyOf": st.lists(inner, max_size=3),
            "oneOf": st.lists(inner, max_size=2),
            "allOf": st.lists(inner, max_size=2),
            "required": st.lists(KEYS, max_size=2) | st.just("a"),
            "$defs": st.dictionaries(KEYS, inner, max_size=2),
            "default": SCALARS,
            "nullable": st.booleans(),
        },
    ),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(KEYS, VALUES, max_size=3)
SPECS = st.builds(lambda schema: ToolSpec(name="f", parameters=schema if isinstance(schema, dict) else {}), SCHEMAS)
EXPECTED_CALLS = st.builds(
    ExpectedCall,
    name=st.sampled_from("fg"),
    arguments=ARGUMENTS,
    alternatives=st.dictionaries(KEYS, st.lists(VALUES, max_size=2).map(tuple), max_size=2),
    accepted=st.dictionaries(KEYS.map(lambda key: f"/{key}") | st.just("/a/b"), st.tuples(VALUES), max_size=2),
    optional=st.lists(KEYS | st.sampled_from(["/a", "/a/b", "/a/0"]), max_size=2).map(tuple),
)
CALLS = st.builds(
    ToolCall,
    call_id=st.just("c"),
    name=st.sampled_from("fg"),
    arguments=ARGUMENTS,
    problem=st.sampled_from([None, None, None, Status.INVALID_JSON]),
)


def ordinary(value) -> bool:
    """Without NaN, which equals nothing."""
    if isinstance(value, list | dict):
        return all(map(ordinary, value.values() if isinstance(value, dict) else value))
    return not (isinstance(value, float) and math.isnan(value))


@given(VALUES, VALUES, st.sampled_from(RULES))
def test_the_same_is_the_same_from_both_sides_and_as_itself(a, b, rule):
    assert same_value(a, b, rule) == same_value(b, a, rule)
    assert same_value(a, a, rule) == ordinary(a)


@given(VALUES, VALUES)
def test_a_stricter_rule_takes_no_more(a, b):
    assert not same_value(a, b, "exact") or (same_value(a, b, "plain") and same_value(a, b, "official"))


@settings(max_examples=60)
@given(st.lists(EXPECTED_CALLS, max_size=3), st.lists(CALLS, max_size=3), SPECS, st.sampled_from(RULES), st.randoms())
def test_no_order_of_the_calls_decides_and_nothing_raises(expected, made, spec, rule, rng):
    tools = [spec, spec.model_copy(update={"name": "g"})]
    match = match_calls(Expected(calls=tuple(expected), rule=rule), made, tools)
    rng.shuffle(expected)
    rng.shuffle(made)
    other = match_calls(Expected(calls=tuple(expected), rule=rule), made, tools)
    assert (match.exact, match.missing, match.extra, match.names_right) == (
        *(other.exact, other.missing, other.extra, other.names_right),
    )
    assert sum(match.argument_scores) == pytest.approx(sum(other.argument_scores))


@settings(max_examples=60)
@given(st.lists(EXPECTED_CALLS, max_size=3), st.lists(CALLS, max_size=3), SPECS, st.sampled_from(RULES))
def test_the_rewards_agree_on_what_is_wholly_right(expected, made, spec, rule):
    tools = (spec, spec.model_copy(update={"name": "g"}))
    task = Task.build(
        "t", (Message(role="user", content="q"),), tools, expected=Expected(calls=tuple(expected), rule=rule)
    )
    turns = (Turn(start=1, end=2, calls=tuple(made)), Turn(start=2, end=3, content="done"))
    fields = {"sample_id": "s", "group": "g", "policy": "p", "seed": 0, "prompt_length": 1, "token_ids": (1, 2, 3)}
    sample = Trajectory(task=task, turns=turns, sampled_mask=(0, 1, 1), stop_reason=StopReason.ANSWERED, **fields)
    success, arguments, toolrl = (REWARDS[name](sample) for name in ("success", "arguments", "toolrl"))
    assert 0 <= arguments <= 1 and 0 <= toolrl <= 1
    assert (success == 1.0) == (arguments == 1.0)
    assert success < 1.0 or toolrl == 1.0


@given(VALUES, SCHEMAS)
def test_what_is_expected_and_given_by_the_same_words_is_right_unless_null_is_refused(value, schema):
    spec = ToolSpec(name="f", parameters={"properties": {"x": schema}})
    score = argument_score(
        ExpectedCall(name="f", arguments={"x": value}), ToolCall(call_id="c", name="f", arguments={"x": value}), spec
    )
    assert score == 1.0 or not ordinary(value) or "None" in repr(value)


def test_values_nested_too_deep_for_any_tool_are_right_nowhere():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert not same_value(deep, deep)
    assert (
        argument_score(ExpectedCall(name="f", arguments={"x": deep}), ToolCall(call_id="c", arguments={"x": deep}))
        == 0.0
    )


def test_schemas_that_double_with_every_reference_are_read_once():
    doubling = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(200)}
    spec = ToolSpec(name="f", parameters={"properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": doubling})
    call = ToolCall(call_id="c", name="f", arguments={"x": [3.0, None]})
    assert argument_score(ExpectedCall(name="f", arguments={"x": [3, None]}), call, spec) == 1.0


WEIGHTS = st.integers(1, 5).flatmap(
    lambda columns: st.lists(
        st.lists(st.builds(Fraction, st.integers(0, 6), st.integers(1, 5)), min_size=columns, max_size=columns),
        min_size=1,
        max_size=4,
    )
)


@given(WEIGHTS)
def test_the_assignment_is_the_best_of_all(weights):
    found = assign(weights)
    rows, columns = len(weights), len(weights[0])
    assert len(found) == len(set(found.values())) == min(rows, columns)
    wide = weights if rows <= columns else list(zip(*weights, strict=True))
    choices = itertools.permutations(range(max(rows, columns)), min(rows, columns))
    best = max(sum(wide[i][j] for i, j in enumerate(choice)) for choice in choices)
    assert sum(weights[i][j] for i, j in found.items()) == best


def test_an_empty_side_has_no_pairs():
    assert assign([]) == assign([[], []]) == {}
