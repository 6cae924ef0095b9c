"""BFCL's possible answers become right calls, in the language that the official checker wants."""

import pytest

from rayplay.evaluation.bfcl_scripts.gold import gold_calls, gold_turn, java_source, javascript_source

AREA = {
    "name": "geometry.area",
    "parameters": {
        "properties": {"base": {"type": "integer"}, "unit": {"type": "string"}, "style": {"type": "dict"}},
        "required": ["base"],
    },
}


def test_gold_takes_the_first_accepted_value_and_replaces_dots():
    calls = gold_calls([{"geometry.area": {"base": [10, 11], "unit": ["units", ""]}}], [AREA], "python")
    assert calls == [{"name": "geometry_area", "arguments": {"base": 10, "unit": "units"}}]


def test_gold_leaves_out_an_optional_argument_whose_first_accepted_value_is_absence():
    assert gold_calls([{"geometry.area": {"base": [10], "unit": ["", "cm"]}}], [AREA], "python")[0]["arguments"] == {
        "base": 10
    }


def test_gold_picks_inside_objects_and_drops_what_may_be_absent():
    truth = [{"geometry.area": {"base": [1], "style": [{"colour": ["red", "blue"], "width": [""], "tags": [["a"]]}]}}]
    assert gold_calls(truth, [AREA], "python")[0]["arguments"]["style"] == {"colour": "red", "tags": ["a"]}


@pytest.mark.parametrize(
    ("value", "kind", "inner", "source"),
    [
        (5, "long", "any", "5L"),
        (2.5, "float", "any", "2.5f"),
        (True, "boolean", "any", "true"),
        ("name", "any", "any", "name"),
        ([1, 2], "ArrayList", "long", "new ArrayList<>(Arrays.asList(1L, 2L))"),
        (["a"], "ArrayList", "String", 'new ArrayList<>(Arrays.asList("a"))'),
        ([1, 2], "Array", "integer", "new integer[]{1, 2}"),
        ({"k": "v", "n": 1}, "HashMap", "any", 'new HashMap<String, Object>() {{ put("k", "v"); put("n", 1); }}'),
    ],
)
def test_java_values_are_source_text(value, kind, inner, source):
    assert java_source(value, kind, inner) == source


@pytest.mark.parametrize(
    ("value", "kind", "source"),
    [(5, "Bigint", "5n"), ("f", "any", "f"), (True, "Boolean", "true"), (["a", 1], "array", '["a", 1]')],
)
def test_javascript_values_are_source_text(value, kind, source):
    assert javascript_source(value, kind) == source


def test_multi_turn_calls_get_names_for_their_positional_arguments():
    functions = [{"name": "sort", "parameters": {"properties": {"file_name": {}, "reverse": {}}}}]
    assert gold_turn(["sort('a.txt', reverse=True)"], functions) == [
        {"name": "sort", "arguments": {"file_name": "a.txt", "reverse": True}}
    ]


def test_multi_turn_ground_truth_that_is_no_plain_call_is_refused():
    with pytest.raises(ValueError, match="no plain call"):
        gold_turn(["a.b.c"], [])


def test_gold_leaves_out_what_the_function_does_not_have():
    truth = [{"geometry.area": {"base": [7], "precision": [2, ""]}}]
    assert gold_calls(truth, [AREA], "python")[0]["arguments"] == {"base": 7}
    truth = [{"geometry.area": {"base": [7], "unit": ["cm", ""], "precision": [2]}}]
    assert gold_calls(truth, [AREA], "python")[0]["arguments"] == {"base": 7, "unit": "cm", "precision": 2}
