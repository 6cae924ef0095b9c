"""Templates: labels come from executed calls, splits share nothing, the same seed gives the same tasks."""

import json
import re
from collections import Counter

import pytest

from rayplay.data.template_files import candidates, fill, read_templates, side_of
from rayplay.data.templates import KINDS, build_tasks
from rayplay.errors import DataError
from rayplay.matching import answer_found, match_calls
from rayplay.records import Demonstration, Expected, Status, Task, ToolCall, ToolResult
from rayplay.toolbox import check_arguments, find_tool, spec_of
from tools.calculator import calculator
from tools.search import search
from tools.weather import weather

FUNCTIONS = {"calculator": calculator, "weather": weather, "search": search}
SPECS = tuple(spec_of(function, module=f"tools.{name}") for name, function in FUNCTIONS.items())


def execute(name: str, arguments: dict) -> ToolResult:
    value = FUNCTIONS[name](**arguments)
    text = value if isinstance(value, str) else json.dumps(value)
    return ToolResult(call_id="", name=name, status=Status.OK, text=text)


def build(count: int, split: str, **rest: object) -> list[tuple[Task, Demonstration]]:
    return build_tasks(SPECS, execute, count=count, split=split, **{"seed": 7, **rest})


TRAIN = build(1000, "train")
HELD_OUT = build(300, "held_out")


def test_there_are_enough_wordings_of_every_kind() -> None:
    wordings = Counter((t.kind, t.split) for t in read_templates())
    assert sum(wordings.values()) >= 120
    assert all(wordings[kind, split] >= 8 for kind in KINDS for split in ("train", "held_out"))
    assert len({t.template_id for t in read_templates()}) == len(read_templates())


def test_counts_kinds_and_requests_are_as_asked() -> None:
    assert len(TRAIN) == 1000
    assert Counter(t.kind for t, _ in TRAIN) == {"one_call": 450, "two_calls": 200, "choice": 100, "no_tool": 250}
    assert len({t.messages[0].content for t, _ in TRAIN}) == 1000
    assert len({t.task_id for t, _ in TRAIN}) == 1000


def test_wordings_of_a_kind_are_used_evenly() -> None:
    used = Counter(t.origin for t, _ in TRAIN if t.kind == "one_call")
    assert max(used.values()) - min(used.values()) <= 1


def test_the_same_seed_gives_the_same_tasks_and_another_seed_others() -> None:
    assert build(50, "train") == build(50, "train")
    assert [t.task_id for t, _ in build(50, "train")] != [t.task_id for t, _ in build(50, "train", seed=8)]


def test_train_and_held_out_share_no_wording() -> None:
    said = {split: set() for split in ("train", "held_out")}
    for t in read_templates():
        said[t.split] |= {t.request, *(exchange.request for exchange in t.earlier)}
    assert not said["train"] & said["held_out"]
    assert not {t.messages[0].content for t, _ in TRAIN} & {t.messages[0].content for t, _ in HELD_OUT}


def test_train_and_held_out_share_no_slot_value() -> None:
    held_out_numbers = {str(n) for n in range(1000) if side_of(n) == "held_out"}
    for task, _ in TRAIN:
        constants = re.findall(r"\d+", re.sub(r"\{.*?\}", "", _wording(task.origin)))
        numbers = re.findall(r"(?<![\d.-])\d+(?![\d.-]*\d)", task.messages[0].content)
        assert not (set(numbers) - set(constants)) & held_out_numbers, task.messages[0].content
    for name in ("cities", "town", "names", "things", "novel"):
        train = {json.dumps(v) for v in candidates(json.dumps({"list": name}), "train")}
        held_out = {json.dumps(v) for v in candidates(json.dumps({"list": name}), "held_out")}
        assert train and held_out and not train & held_out


@pytest.mark.parametrize("tasks", [TRAIN, HELD_OUT])
def test_the_demonstration_of_a_task_is_right_by_the_rewards_own_rules(tasks: list[tuple[Task, Demonstration]]) -> None:
    for task, row in tasks:
        made = [call for message in row.messages for call in message.tool_calls]
        assert match_calls(task.expected, made, SPECS).exact
        assert answer_found(task.expected, row.messages[-1].content) == 1.0
        assert all(check_arguments(find_tool(SPECS, call.name), call.arguments) == "" for call in made)
        assert (task.kind == "no_tool") == (not made)
        assert row.row_id == task.task_id and row.messages[: len(task.messages)] == task.messages


def test_every_alternative_gives_the_same_answer_as_the_canonical_call() -> None:
    for task, row in TRAIN:
        results = [m.content for m in row.messages if m.role == "tool"]
        for want, text in zip(task.expected.calls, results, strict=True):
            for key, values in want.alternatives.items():
                for value in values:
                    arguments = {k: v for k, v in (want.arguments | {key: value}).items() if v is not None}
                    assert execute(want.name, arguments).text == text, (task.messages[0].content, arguments)
            for key in want.optional:
                arguments = {k: v for k, v in want.arguments.items() if k != key}
                assert execute(want.name, arguments).text == text, (task.messages[0].content, arguments)
    assert any(call.optional for task, _ in TRAIN for call in task.expected.calls)


def test_what_a_task_leaves_open_may_be_said_or_left_out() -> None:
    wants = [call for task, _ in TRAIN + HELD_OUT for call in task.expected.calls if call.optional]
    assert wants
    for want in wants:
        assert not any(None in values for values in want.alternatives.values())
        (key,) = want.optional
        for given in ({}, {key: want.alternatives[key][0]}):
            call = ToolCall(call_id="c", name=want.name, arguments=want.arguments | given)
            assert match_calls(Expected(calls=(want,)), [call], SPECS).exact


def test_replies_are_short_and_conversations_well_formed() -> None:
    for _, row in TRAIN + HELD_OUT:
        assert len(row.messages[-1].content.split()) <= 25
        roles = [m.role for m in row.messages]
        assert roles[0] == "user" and roles[-1] == "assistant" and "system" not in roles
        open_calls = [c.call_id for m in row.messages for c in m.tool_calls]
        assert open_calls == [m.tool_call_id for m in row.messages if m.role == "tool"]


def test_only_templates_of_the_tools_on_offer_are_used() -> None:
    only = SPECS[:1]
    tasks = build_tasks(only, execute, count=60, split="train", seed=1)
    assert {c.name for t, _ in tasks for c in t.expected.calls} == {"calculator"}
    assert all(t.tools == only for t, _ in tasks)


def test_too_much_or_unknown_is_an_error_that_says_so() -> None:
    with pytest.raises(DataError, match="distinct held_out requests of kind 'no_tool'"):
        build(5000, "held_out", kinds={"no_tool": 1.0})
    with pytest.raises(DataError, match="unknown kind 'no_tol'"):
        build(10, "train", kinds={"no_tol": 1.0})


def test_a_failed_call_or_a_result_without_the_answer_is_an_error() -> None:
    def fails(name: str, arguments: dict) -> ToolResult:
        return ToolResult(call_id="", name=name, status=Status.UNAVAILABLE, text="no sandbox")

    def lies(name: str, arguments: dict) -> ToolResult:
        return ToolResult(call_id="", name=name, status=Status.OK, text="No results.")

    with pytest.raises(DataError, match="unavailable: no sandbox"):
        build_tasks(SPECS, fails, count=5, split="train", seed=1, kinds={"one_call": 1})
    with pytest.raises(DataError, match="is not in the results"):
        build_tasks(SPECS[2:], lies, count=5, split="train", seed=1, kinds={"one_call": 1})


def test_places_keep_types_alone_and_become_text_among_others() -> None:
    values = {"a": 3, "e": {"name": "Oslo", "height": 5}}
    assert fill("{a}", values) == 3
    assert fill("{a} at {e.height} in {e}", values) == "3 at 5 in Oslo"


def test_expected_calls_are_found_in_any_order_of_a_turn() -> None:
    task = next(t for t, _ in TRAIN if t.origin.startswith("two-cities/"))
    made = [ToolCall(call_id=str(n), name=w.name, arguments=w.arguments) for n, w in enumerate(task.expected.calls)]
    assert match_calls(task.expected, reversed(made), SPECS).exact


def _wording(template_id: str) -> str:
    return next(t.request for t in read_templates() if t.template_id == template_id)
