"""The zoo: exact calls over valid schemas, the same for the same seed, nothing shared between its sides."""

import json
import random
from collections import Counter
from itertools import islice, product

import jsonschema
import pytest

from rayplay.data.simulator import simulate
from rayplay.data.toolbench_synthetic import CATEGORIES, HELD_OUT, synthetic_rows
from rayplay.data.zoo import zoo_rows, zoo_tasks
from rayplay.data.zoo_functions import blueprints
from rayplay.data.zoo_values import shorten_units, words
from rayplay.records import Status, ToolSpec
from rayplay.toolbox import check_arguments, find_tool


@pytest.fixture(scope="module")
def rows():
    return list(zoo_rows(5, 1200))


def test_every_call_names_an_offered_tool_and_fits_its_schema(rows):
    for row in rows:
        for call in row.messages[1].tool_calls:
            assert check_arguments(find_tool(row.tools, call.name), call.arguments) == "", row.messages[0].content


def test_every_schema_is_valid(rows):
    for row in rows[:400:4]:
        for tool in row.tools:
            jsonschema.Draft202012Validator.check_schema(tool.parameters)
            assert len({t.name for t in row.tools}) == len(row.tools)


def test_same_seed_gives_the_same_rows_and_another_seed_others():
    assert list(zoo_rows(1, 40)) == list(zoo_rows(1, 40))
    assert list(zoo_rows(1, 40)) != list(zoo_rows(2, 40))


def test_a_longer_stream_begins_like_a_shorter_one():
    assert list(zoo_rows(1, 10)) == list(islice(zoo_rows(1), 10))


def test_rows_of_a_group_share_their_tools(rows):
    for start in range(0, 100, 4):
        assert all(row.tools == rows[start].tools for row in rows[start : start + 4])


def test_schemas_hardly_repeat(rows):
    schemas = [json.dumps(rows[i].tools[0].as_function(), sort_keys=True) for i in range(0, len(rows), 4)]
    assert len(set(schemas)) > 0.95 * len(schemas)


def test_all_kinds_of_requests_and_of_parameters_occur(rows):
    kinds = Counter(row.origin for row in rows)
    assert all(kinds[f"zoo {kind}"] > 20 for kind in ("call", "parallel", "irrelevant", "missing"))
    schemas = [p for row in rows for tool in row.tools for p in tool.parameters["properties"].values()]
    assert {s["type"] for s in schemas} == {"string", "integer", "number", "boolean", "array", "object"}
    assert any("enum" in s for s in schemas) and any("default" in s for s in schemas)
    names = {tool.name for row in rows for tool in row.tools}
    assert any("." in n for n in names) and any("_" in n for n in names)
    assert any(n != n.lower() and "_" not in n for n in names)
    assert {len(tool.parameters["properties"]) for row in rows for tool in row.tools} >= {1, 2, 3, 4, 5}


def test_plain_numbers_and_words_of_a_call_stand_in_the_request(rows):
    seen = 0
    for row in rows:
        if row.origin != "zoo call":
            continue
        text = row.messages[0].content.replace(",", "").lower()
        for value in row.messages[1].tool_calls[0].arguments.values():
            if isinstance(value, int) and not isinstance(value, bool) and value > 10:
                said = (str(value), f"{value / 1e6:g} million", f"${value / 1e6:g}m")
                assert any(form in text for form in said), (value, row.messages[0].content)
                seen += 1
    assert seen > 200


def test_names_and_words_are_mostly_new_and_stand_in_the_request(rows):
    texts = [
        (value, row.messages[0].content)
        for row in rows
        if row.origin == "zoo call"
        for name, value in row.messages[1].tool_calls[0].arguments.items()
        if isinstance(value, str) and " " in value and "enum" not in schema_of(row, name)
        if value not in words()["us_city"]  # often said without the state
    ]
    assert len(texts) > 100 and all(value in request for value, request in texts)
    known = {text for entries in words().values() for text in entries}
    assert 0.4 < sum(value not in known for value, _ in texts) / len(texts) < 0.8


def schema_of(row, name):
    call = row.messages[1].tool_calls[0]
    return find_tool(row.tools, call.name).parameters["properties"][name]


def test_what_strict_readers_want():
    """Numbers in lists are written as such, some values are below zero, and nobody asks for the same call twice."""
    rows = list(zoo_rows(5, 1600))
    calls = [[(c.name, json.dumps(c.arguments)) for c in row.messages[1].tool_calls] for row in rows]
    assert all(len(set(made)) == len(made) for made in calls)
    negative = 0
    for row in rows:
        for call in row.messages[1].tool_calls:
            for name, value in call.arguments.items():
                schema = find_tool(row.tools, call.name).parameters["properties"][name]
                if schema["type"] == "array" and schema["items"]["type"] == "number":
                    assert all(isinstance(v, float) for v in value)
                negative += isinstance(value, int | float) and value < 0
    assert negative > 10


def test_a_missing_or_irrelevant_request_has_words_and_no_call(rows):
    for row in rows:
        expects_call = row.origin in ("zoo call", "zoo parallel")
        assert bool(row.messages[1].tool_calls) == expects_call
        assert bool(row.messages[1].content) != expects_call


def test_held_out_blueprints_are_apart():
    train, held_out = blueprints("train"), blueprints("held_out")
    assert len(held_out) > 10
    assert not {b.key for b in train} & {b.key for b in held_out}
    assert len(train) + len(held_out) == len(blueprints("all"))


def test_tasks_expect_the_calls_of_the_demonstrations():
    for row, task in zip(zoo_rows(4, 50), zoo_tasks(4, 50), strict=True):
        assert [(c.name, c.arguments) for c in task.expected.calls] == [
            (c.name, c.arguments) for c in row.messages[1].tool_calls
        ]


SPEC = ToolSpec(
    name="find",
    parameters={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    returns={"type": "object", "properties": {"id": {"type": "string"}, "size": {"type": "number"}}},
)


def test_simulator_is_deterministic_in_tool_arguments_and_seed():
    first = simulate(SPEC, {"n": 1}, seed=3)
    assert first == simulate(SPEC, {"n": 1}, seed=3)
    assert first.text != simulate(SPEC, {"n": 2}, seed=3).text
    assert first.text != simulate(SPEC, {"n": 1}, seed=4).text
    assert first.simulated and first.status is Status.OK
    jsonschema.validate(json.loads(first.text), SPEC.returns)


def test_simulator_refuses_what_the_schema_refuses():
    result = simulate(SPEC, {"n": "one"})
    assert (result.status, result.simulated) == (Status.BAD_ARGUMENTS, True)


@pytest.mark.parametrize("finish", ["answer", "call"])
def test_synthetic_toolbench_answers_come_from_its_simulators(finish):
    kinds = Counter()
    for row in synthetic_rows(2, 60, finish=finish):
        kinds[row.origin[:2]] += 1
        assert row.simulated
        calls = [c for m in row.messages for c in m.tool_calls]
        results = [m for m in row.messages if m.role == "tool"]
        for call, result in zip(calls, results, strict=False):
            assert simulate(find_tool(row.tools, call.name), call.arguments).text == result.content
        assert (calls[-1].name == "Finish") == (finish == "call")
        assert row.messages[-1].role == "assistant"
    assert set(kinds) == {"G1", "G2", "G3"}


def test_synthetic_toolbench_sides_share_no_family():
    families = {name for names in CATEGORIES.values() for name in names}
    for side, expected in (("train", families - set(HELD_OUT)), ("held_out", set(HELD_OUT))):
        used = {tool.name.partition("_for_")[2] for row in synthetic_rows(1, 80, side) for tool in row.tools}
        assert used <= expected


def test_short_units_stand_right_behind_their_numbers():
    said = {shorten_units("2 m/s^2 for 12 kilowatts, 3 months at 40 percent", random.Random(n)) for n in range(40)}
    assert said == {
        f"2{a} for 12{b}, 3 months at 40{c}"
        for a, b, c in product((" m/s^2", "m/s^2"), (" kilowatts", "kW"), (" percent", "%"))
    }
