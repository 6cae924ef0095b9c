import pytest

from rayplay.matching import answer_found, argument_score, end_state_reached, match_calls, same_value
from rayplay.records import Expected, ExpectedCall, Status, ToolCall, ToolSpec


def made(name: str, problem: Status | None = None, **arguments) -> ToolCall:
    return ToolCall(call_id="c", name=name, arguments=arguments, problem=problem)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        ("New York", "new  york", True),
        ("1", 1, False),
        ([1, 2], [2, 1], False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        (None, None, True),
        (0.1 + 0.2, 0.3, True),
        (5551234567, 5551234568, False),
        (1.5, 10**400, False),
    ],
)
def test_values_are_compared_by_type(a, b, same):
    assert same_value(a, b) is same


def test_alternatives_defaults_and_optional_arguments():
    spec = ToolSpec(name="f", parameters={"properties": {"a": {}, "unit": {"default": "m"}, "x": {}}})
    want = ExpectedCall(name="f", arguments={"a": 1}, alternatives={"a": (2,), "x": (None, 5)})
    assert argument_score(want, made("f", a=2), spec) == 1.0
    assert argument_score(want, made("f", a=1, x=5), spec) == 1.0
    assert argument_score(want, made("f", a=1, x=6), spec) == 0.5
    assert argument_score(want, made("f", a=1, unit="m", x=5), spec) == 1.0
    assert argument_score(want, made("f", a=1, unit="km", x=5), spec) < 1.0


def test_an_integer_may_stand_for_a_float_and_no_float_for_an_integer():
    numbers = {"type": "array", "items": {"type": "integer"}}
    spec = ToolSpec(
        name="f", parameters={"properties": {"x": {"type": "number"}, "n": {"type": "integer"}, "ns": numbers}}
    )
    want = ExpectedCall(name="f", arguments={"x": 2.0, "n": 5, "ns": [1, 2]})
    assert argument_score(want, made("f", x=2, n=5, ns=[1, 2]), spec) == 1.0
    assert argument_score(want, made("f", x=2, n=5.0, ns=[1, 2]), spec) == pytest.approx(2 / 3)
    assert argument_score(want, made("f", x=2, n=5, ns=[1, 2.0]), spec) == pytest.approx(2 / 3)


def test_the_best_fitting_calls_are_paired_first():
    expected = Expected(calls=tuple(ExpectedCall(name="f", arguments={"a": a, "b": a}) for a in (1, 2)))
    match = match_calls(expected, [made("f", a=2, b=2)])
    assert match.argument_scores == (0.0, 1.0) and (match.missing, match.extra) == (1, 0)


def test_calls_match_in_any_order_and_each_counts_once():
    expected = Expected(calls=(ExpectedCall(name="f", arguments={"a": 1}), ExpectedCall(name="f", arguments={"a": 2})))
    assert match_calls(expected, [made("f", a=2), made("f", a=1)]).exact
    assert match_calls(expected, [made("f", a=1), made("f", a=1)]).missing == 1
    assert match_calls(expected, [made("f", a=1), made("f", a=2), made("g")]).extra == 1
    assert not match_calls(expected, [made("f", Status.INVALID_JSON, a=1), made("f", a=2)]).exact


@pytest.mark.parametrize(
    ("answer", "text", "found"),
    [
        ("42", "The result is 42.", 1.0),
        ("42", "The result is 42.0", 1.0),
        ("42", "The result is 142.", 0.0),
        ("1234", "It is 1,234 metres.", 1.0),
        ("3.14159", "about 3.14", 1.0),
        ("3.14159", "about 3", 0.0),
        ("3.14159", "about 3.15", 0.0),
        ("-7", "It is -7 degrees.", 1.0),
        ("Thea Thorne", "thea  thorne is", 1.0),
        ("sunny", "It rains.", 0.0),
    ],
)
def test_answers_are_numbers_within_tolerance_or_contained_text(answer, text, found):
    assert answer_found(Expected(answer=(answer,)), text) == found


def test_half_of_the_answers_is_half_right():
    assert answer_found(Expected(answer=("1", "2")), "only 2") == 0.5


def test_an_end_state_must_hold_the_named_fields_exactly_and_may_hold_others():
    expected = Expected(end_state={"Cart": {"items": {"tea": 2}}})
    assert end_state_reached(expected, '{"Cart": {"items": {"tea": 2}, "budget": 3}, "Other": {}}')
    assert not end_state_reached(expected, '{"Cart": {"items": {"tea": 2, "jam": 1}}}')
    assert not end_state_reached(expected, '{"Cart": {"items": {"tea": 1}}}')
    assert not end_state_reached(expected, None)
