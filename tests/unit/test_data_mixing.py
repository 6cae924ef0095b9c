"""Mixing, splitting, repeats, contamination, and a recipe's data section as a whole."""

import json
from pathlib import Path

import pytest

from rayplay.data.contamination import overlaps
from rayplay.data.mixing import Entry, mix, request_of, split, token_lengths, without_repeats
from rayplay.data.prepare import prepare, read_preferences
from rayplay.data.zoo import zoo_rows
from rayplay.errors import DataError
from rayplay.recipe import Data, DataSource
from rayplay.records import Demonstration, Expected, ExpectedCall, Message, Task, ToolSpec

FIXTURES = Path(__file__).with_name("data_fixtures")


def entry(n, *called, offered=(), origin=""):
    tools = tuple(ToolSpec(name=name) for name in dict.fromkeys((*called, *offered)))
    task = Task(
        task_id=f"t{n}", source="s", messages=(Message(role="user", content=f"question {n}"),), tools=tools,
        expected=Expected(calls=tuple(ExpectedCall(name=name) for name in called)), origin=origin,
    )  # fmt: skip
    return Entry(task, Demonstration(row_id=f"t{n}", source="s", messages=task.messages, tools=tools))


def test_weights_decide_the_shares_and_an_empty_source_leaves_its_share_to_the_others():
    mixed = mix([["a"] * 2000, ["b"] * 2000], [3, 1], 1000, seed=1)
    assert 700 < mixed.count("a") < 800
    assert len(mix([["a"] * 3, ["b"] * 100], [1, 1], 50, seed=1)) == 50
    assert mix([[], ["b"]], [1, 1], 5, seed=1) == ["b"]
    assert mix([["a", "b"], ["c", "d"]], [1, 1], 4, seed=2) == mix([["a", "b"], ["c", "d"]], [1, 1], 4, seed=2)


def test_no_tool_of_a_held_out_task_is_seen_in_training():
    entries = [entry(n, f"tool{n % 20}", offered=(f"tool{(n * 7) % 20}",)) for n in range(200)]
    train, held_out = split(entries, "tool", 0.2, seed=3)
    secret = {call.name for e in held_out for call in e.task.expected.calls}
    assert secret and train
    for e in train:
        assert not secret & {t.name for t in e.task.tools}
        assert not secret & {t.name for t in e.demonstration.tools}


def test_an_entry_that_calls_tools_of_both_sides_is_on_neither():
    entries = [entry(n, f"tool{n}", f"tool{n + 1}") for n in range(60)]
    train, held_out = split(entries, "tool", 0.3, seed=1)
    secret = {c.name for e in held_out for c in e.task.expected.calls}
    assert not secret & {c.name for e in train for c in e.task.expected.calls}
    assert len(train) + len(held_out) < 60


def test_a_split_by_row_does_not_depend_on_the_order():
    entries = [entry(n, "a") for n in range(100)]
    train, held_out = split(entries, "row", 0.25, seed=1)
    again, apart = split(entries[::-1], "row", 0.25, seed=1)
    assert {e.task.task_id for e in held_out} == {e.task.task_id for e in apart}
    assert 10 < len(held_out) < 40 and len(train) + len(held_out) == 100 and len(again) == len(train)


def test_a_split_by_template_keeps_an_origin_together():
    entries = [entry(n, "a", origin=f"template{n % 10}#{n}") for n in range(100)]
    train, held_out = split(entries, "template", 0.4, seed=1)
    sides = [{e.task.origin.partition("#")[0] for e in side} for side in (train, held_out)]
    assert not sides[0] & sides[1]


def test_the_same_question_with_the_same_tools_is_kept_once():
    twice = [entry(1, "a"), entry(1, "a"), entry(1, "b")]
    assert len(list(without_repeats(twice))) == 2


def test_length_statistics():
    found = token_lengths(list(zoo_rows(1, 50)), lambda text: len(text.split()))
    assert found["rows"] == 50
    assert found["min"] <= found["median"] <= found["p90"] <= found["max"] <= found["total"]
    assert token_lengths([], len) == {"rows": 0, "total": 0}


def test_contamination_names_both_ids_and_how_they_overlap():
    test = [("q1", "What is the height of the old harbor crane in meters today?"), ("q2", "Book a table.")]
    train = [
        ("t1", "what is the height of the old HARBOR crane, in meters today"),
        ("t2", "Please say what is the height of the old harbor crane now"),
        ("t3", "book a table"),
        ("t4", "Book a table for four people at noon"),
    ]
    found = overlaps(train, test)
    assert [(o.train_id, o.test_id) for o in found] == [("t1", "q1"), ("t2", "q1"), ("t3", "q2")]
    assert found[0].how == "same text"
    assert found[1].how == "what is the height of the old harbor"


def data(*sources, **rest):
    return Data(sources=tuple(sources), **{"train_tasks": 40, "held_out_tasks": 10, **rest})


def test_generated_sources_give_disjoint_training_and_held_out_tasks():
    prepared = prepare(
        data(DataSource(source="zoo", weight=3), DataSource(source="toolbench_synthetic")), (), None, seed=1,
        demonstrations=0,
    )  # fmt: skip
    assert 35 <= len(prepared.train) <= 40 and 9 <= len(prepared.held_out) <= 11
    assert len(prepared.demonstrations) == len(prepared.train)
    asked = {request_of(task) for task in prepared.held_out}
    assert not asked & {request_of(task) for task in prepared.train}


def test_a_small_trial_is_measured_on_few_tasks_too():
    prepared = prepare(data(DataSource(source="zoo"), max_rows=4), (), None, seed=1, demonstrations=0)
    assert len(prepared.train) <= 4 and len(prepared.held_out) <= 4


def test_lines_of_ones_own_are_split_and_bounded(tmp_path):
    path = tmp_path / "own.jsonl"
    rows = [
        {"messages": [{"role": "user", "content": f"hello {n}"}, {"role": "assistant", "content": "hi"}]}
        for n in range(80)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    source = DataSource(source="auto", path=str(path))
    prepared = prepare(data(source, max_rows=60), (), None, seed=1, demonstrations=0)
    assert 0 < len(prepared.held_out) <= 10 and 30 <= len(prepared.train) <= 40
    assert prepare(data(source, max_rows=60), (), None, seed=1, demonstrations=0) == prepared


def test_a_handful_of_rows_still_leaves_one_to_measure_on():
    source = DataSource(source="auto", path=str(FIXTURES / "openai-jsonl"))
    prepared = prepare(data(source), (), None, seed=1, demonstrations=0)
    assert len(prepared.held_out) >= 1 and len(prepared.train) >= 1


def test_preferences_of_a_recipe_are_read():
    source = DataSource(source="toolbench-answers", path=str(FIXTURES / "toolbench-answers"))
    assert len(read_preferences(data(source), 0)) == 3
    with pytest.raises(DataError, match="give no preferences"):
        read_preferences(data(DataSource(source="auto", path=str(FIXTURES / "xlam"))), 0)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (DataSource(source="xlam"), "needs a path"),
        (DataSource(source="nonsense", path="x"), "'nonsense' is unknown"),
        (DataSource(source="auto", path="/no/such/file.jsonl"), "no such file"),
    ],
)
def test_a_source_that_cannot_be_read_is_an_error(source, message):
    with pytest.raises(DataError, match=message):
        prepare(data(source), (), None, seed=1, demonstrations=0)
