"""Whole floats become integers where a parameter's type holds integers, and nowhere else."""

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayplay.sandbox.whole import whole_of


@pytest.mark.parametrize(
    ("hint", "given_value", "wanted"),
    [
        (int, 7.0, 7),
        (int, 7.5, 7.5),
        (int, True, True),
        (int | None, 7.0, 7),
        (int | None, None, None),
        (str | int, 7.0, 7),
        (str | int, "7.0", "7.0"),
        (int | float, 7.0, 7.0),
        (Annotated[int, "rows"], 7.0, 7),
        (list[int], [7.0, 8], [7, 8]),
        (list[list[int]] | None, [[7.0], []], [[7], []]),
        (dict[str, int], {"a": 7.0}, {"a": 7}),
        (dict[str, list[int | None]], {"a": [7.0, None]}, {"a": [7, None]}),
        (list[int] | dict[str, int], {"a": 7.0}, {"a": 7}),
        (Literal[3, 7], 7.0, 7),
        (Literal["a", 7] | None, 7.0, 7),
        (Literal["a", 7], 8.0, 8.0),
        (Literal[True, 7], 1.0, 1.0),
    ],
)
def test_what_the_schema_takes_for_an_integer_is_one(hint: Any, given_value: Any, wanted: Any) -> None:
    change = whole_of(hint) or (lambda value: value)
    found = change(given_value)
    assert found == wanted and repr(found) == repr(wanted)


@pytest.mark.parametrize("hint", [str, float, bool, list, dict, list[str], dict[str, float], Literal["a"], Any])
def test_types_without_integers_change_nothing(hint: Any) -> None:
    assert whole_of(hint) is None


@given(
    st.recursive(st.none() | st.floats() | st.text(max_size=3), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_a_value_of_another_type_comes_through_as_it_is(value: Any) -> None:
    changed = whole_of(dict[str, list[int]] | list[int])(value)
    assert type(changed) is type(value)
