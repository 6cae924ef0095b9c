"""The shipped cases: enough of them, labelled by the tools themselves, and never seen in training."""

import importlib
import json
import re
from itertools import chain
from pathlib import Path

import pytest

from rayplay.errors import EvaluationError
from rayplay.evaluation.task_file import read_case_file, read_task_file
from rayplay.toolbox import spec_of

ROOT = Path(__file__).parents[2]
CASES = ROOT / "configs" / "test_cases.json"
TEMPLATES = ROOT / "rayplay" / "data" / "templates"
BUILT_IN = ("calculator", "weather", "search")


def built_in(name):
    return getattr(importlib.import_module(f"tools.{name}"), name)


def specs():
    return [spec_of(built_in(name), module=f"tools.{name}") for name in BUILT_IN]


def template_wordings():
    wordings = []
    for path in sorted(TEMPLATES.glob("*.json")):
        content = json.loads(path.read_text())
        for intent in content["intents"] if isinstance(content, dict) and "intents" in content else ():
            for entry in chain.from_iterable(intent.get("requests", {}).values()):
                wordings += [entry] if isinstance(entry, str) else entry  # a conversation is a list of requests
    return wordings


def test_there_are_at_least_a_hundred_cases_of_every_kind():
    cases = read_case_file(CASES).cases
    assert len(cases) >= 100
    assert {case.kind for case in cases} == {
        "arithmetic",
        "weather",
        "lookup",
        "no_tool",
        "two_calls",
        "chained",
        "choice",
    }


def test_no_case_is_worded_as_a_template_is():
    wordings = template_wordings()
    assert len(wordings) > 100
    patterns = [re.compile(".+".join(map(re.escape, re.split(r"\{[^}]*\}", text))), re.IGNORECASE) for text in wordings]
    for case in read_case_file(CASES).cases:
        assert not [p.pattern for p in patterns if p.fullmatch(case.prompt)], case.id


def test_expected_calls_run_and_give_the_expected_answer():
    for task in read_task_file(CASES, specs()):
        said = " ".join(str(built_in(call.name)(**call.arguments)) for call in task.expected.calls)
        if task.expected.calls and task.kind != "chained":
            assert all(answer in said for answer in task.expected.answer), task.origin
        for call in task.expected.calls:
            for key, others in call.alternatives.items():
                for other in others:
                    given = {k: v for k, v in {**call.arguments, key: other}.items() if v is not None}
                    assert built_in(call.name)(**given) == built_in(call.name)(**call.arguments), task.origin
            for key in call.optional:
                given = {**call.arguments, **{k: v[0] for k, v in call.alternatives.items() if k in call.optional}}
                left_out = {k: v for k, v in given.items() if k != key}
                assert built_in(call.name)(**left_out) == built_in(call.name)(**given), task.origin


def test_a_case_offers_the_tools_that_it_names():
    tasks = {task.origin.split(":")[1]: task for task in read_task_file(CASES, specs())}
    assert [tool.name for tool in tasks["choice-01"].tools] == ["calculator", "search"]
    assert len(tasks["arithmetic-01"].tools) == 3
    assert len({task.task_id for task in tasks.values()}) == len(tasks)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "cases"),
        ('{"cases": [{"id": "a", "kind": "k"}]}', "prompt"),
        ('{"cases": [{"id": "a", "kind": "k", "prompt": "x"}, {"id": "a", "kind": "k", "prompt": "y"}]}', "two cases"),
        ('{"cases": [{"id": "a", "kind": "k", "prompt": "x", "tools": ["telescope"]}]}', "telescope"),
    ],
)
def test_a_bad_case_file_names_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "cases.json"
    path.write_text(text)
    with pytest.raises(EvaluationError, match=message):
        read_task_file(path, specs())


def test_a_missing_case_file_is_a_user_error(tmp_path):
    with pytest.raises(EvaluationError, match="No such file"):
        read_case_file(tmp_path / "none.json")
