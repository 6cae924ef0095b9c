"""Scores inside the loop: cases become tasks, first messages become answers; and questions that training has seen."""

import pytest

from rayplay.data.contamination import overlaps
from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl_scorer import answer_of, bfcl_tasks
from rayplay.records import Status, StopReason, ToolCall, Trajectory, Turn

CASE = {
    "id": "simple_python_0",
    "category": "simple_python",
    "turns": [[{"role": "user", "content": "Area of a triangle?"}]],
    "tools": [
        {"type": "function", "function": {"name": "area", "description": "Area.", "parameters": {"type": "object"}}}
    ],
    "gold": [[]],
}


def said(*calls, content=""):
    (task,) = bfcl_tasks([CASE])
    return Trajectory(
        sample_id="g/0",
        group="g",
        task=task,
        policy="base",
        seed=0,
        prompt_length=0,
        token_ids=(),
        sampled_mask=(),
        turns=(Turn(start=0, end=0, content=content, calls=calls),),
        stop_reason=StopReason.ANSWERED,
    )


def test_a_case_keeps_its_id_its_category_and_its_tools():
    (task,) = bfcl_tasks([CASE])
    assert (task.task_id, task.kind) == ("simple_python_0", "simple_python")
    assert [tool.name for tool in task.tools] == ["area"]


def test_cases_of_several_turns_are_refused():
    with pytest.raises(EvaluationError, match="several turns"):
        bfcl_tasks([CASE | {"turns": [[], []]}])


def test_calls_are_answers_and_so_are_words():
    call = ToolCall(call_id="0", name="area", arguments={"base": 3})
    assert answer_of(said(call))["result"] == [{"area": '{"base": 3}'}]
    assert answer_of(said(content="I do not know"))["result"] == "I do not know"


def test_a_call_that_cannot_be_read_is_text():
    broken = ToolCall(call_id="0", raw='{"name": area', problem=Status.INVALID_JSON)
    assert answer_of(said(broken))["result"] == '{"name": area'


def test_an_episode_without_a_message_is_an_empty_answer():
    assert answer_of(said().model_copy(update={"turns": ()}))["result"] == ""


QUESTION = "Find the area of a triangle with a base of 10 units and height of 5 units."


def seen(training: str, **questions: str) -> list[str]:
    return [overlap.train_id for overlap in overlaps(questions.items(), [("row", training)])]


def test_copies_are_found_whatever_their_case_and_marks():
    assert seen("find the AREA of a triangle, with a base of 10 units and height of 5 units", q=QUESTION) == ["q"]


def test_a_long_shared_run_of_words_is_found_and_a_short_one_is_not():
    assert seen("Please find the area of a triangle with a base of 10 units and no height.", q=QUESTION) == ["q"]
    assert seen("Find the area of a circle with a base.", q=QUESTION) == []


def test_short_questions_match_only_as_a_whole():
    assert seen("What is 2 plus 2?", a="what is 2 plus 2", b="What is 2 plus 3?") == ["a"]
