"""Our matcher under the rule `official` beside BFCL's own checker, over a few thousand answers.

All that differs is listed here, and meant.
"""

import itertools
import json
import random
import subprocess
from collections import Counter
from typing import Any

import pytest

from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl_environment import bfcl_python, environment_folder, official_environment
from rayplay.matching import match_calls
from tests.official_answers import make_question, mutate
from tests.official_cases import Answer, Json, calls_of, expectation, read_questions, right_answer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ANSWERS_EACH = 2  # of BFCL's 2,351 questions
QUESTIONS_OF_OUR_OWN = 500
LEAST_AGREEMENT = 0.99

ORDER = "it pairs calls greedily, in the order of the expected ones; ours finds a pairing where there is one"
ANY_ITEMS = "in an argument that may be left out it does not look at the types of a list's items"
LATER_NULL = "it takes null only where null is the first value listed"


class OfficialJudge:
    """BFCL's checker in a process of its environment."""

    def __init__(self, folder) -> None:
        command = [str(bfcl_python()), "tests/official_judge.py"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, env=official_environment(folder), **pipes)

    def accepts(self, case: Json, calls: list[Json]) -> bool:
        """Whether it calls the answer valid."""
        self._process.stdin.write(json.dumps({**case, "calls": calls}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    try:
        made = OfficialJudge(tmp_path_factory.mktemp("bfcl"))
    except EvaluationError as error:
        pytest.skip(f"BFCL's environment cannot be made here: {error}")
    yield made
    made.close()


def ours(case: Json, answer: Answer) -> bool:
    expected, tools = expectation(case)
    return match_calls(expected, calls_of(answer), tools).exact


def given_with(case: Json, calls: list[Json]) -> list[tuple[Any, list[Any]]]:
    """(value, listed values) of every argument given, for every expected call of that name."""
    return [
        (value, listed[key])
        for entry in case["truth"]
        for name, listed in entry.items()
        for call in calls
        if call["name"] == name.replace(".", "_")
        for key, value in call["arguments"].items()
        if key in listed
    ]


def meaning(judge: OfficialJudge, case: Json, answer: Answer, accepted: bool) -> str | None:
    """Which of the listed differences explains that the verdicts differ."""
    given = given_with(case, answer.calls)
    if accepted:
        return ANY_ITEMS if any(isinstance(value, list) and "" in listed for value, listed in given) else None
    if any(value is None and None in listed for value, listed in given):
        return LATER_NULL
    orders = itertools.islice(itertools.permutations(answer.calls), 24)
    return ORDER if any(judge.accepts(case, list(order)) for order in orders) else None


def compare(judge: OfficialJudge, answers: list[tuple[Json, Answer]]) -> Counter[str]:
    """How often the verdicts agree, and why they differ where they do."""
    found: Counter[str] = Counter()
    for case, answer in answers:
        accepted = judge.accepts(case, answer.calls)
        if accepted == ours(case, answer):
            found["agree"] += 1
            continue
        why = meaning(judge, case, answer, accepted)
        assert why, f"official {accepted}, {answer.mutation}: {json.dumps(case)} {json.dumps(answer.calls)}"
        found[why] += 1
    assert found["agree"] >= LEAST_AGREEMENT * found.total(), found
    return found


def test_answers_to_bfcls_questions_are_judged_as_officially(judge):
    rng = random.Random(20310401)
    data = next(environment_folder().glob("lib/python*/site-packages/bfcl_eval/data"))
    cases = list(read_questions(data))
    right = [(case, right_answer(case, rng)) for case in cases]
    wrong = [(case, mutate(answer, rng)) for case, answer in right * (ANSWERS_EACH - 1)]
    found = compare(judge, right + wrong)
    assert found.total() == ANSWERS_EACH * len(cases) > 4000


def test_answers_to_questions_of_our_own_are_judged_as_officially(judge):
    rng = random.Random(20310402)
    right = [(case, right_answer(case, rng)) for case in (make_question(rng) for _ in range(QUESTIONS_OF_OUR_OWN))]
    compare(judge, right + [(case, mutate(answer, rng)) for case, answer in right * 3])


def one_function(properties: Json, required: list[str] = ()) -> list[Json]:
    parameters = {"type": "dict", "properties": properties, "required": list(required)}
    return [{"name": "set", "parameters": parameters}]


NUMBER, NUMBERS = {"type": "integer"}, {"type": "array", "items": {"type": "integer"}}
DIFFERENCES = [
    (ORDER, "parallel", {"n": NUMBER}, [{"n": [4, 6]}, {"n": [4]}], [{"n": 4}, {"n": 6}], False),
    (ANY_ITEMS, "simple", {"ns": NUMBERS}, [{"ns": [[1, 2], ""]}], [{"ns": [1.0, 2]}], True),
    (LATER_NULL, "simple", {"n": {**NUMBER, "nullable": True}}, [{"n": [4, None]}], [{"n": None}], False),
]


@pytest.mark.parametrize(("why", "category", "properties", "listed", "given", "official"), DIFFERENCES)
def test_what_differs_is_listed_and_meant(judge, why, category, properties, listed, given, official):
    truth = [{"set": values} for values in listed]
    case = {"functions": one_function(properties), "truth": truth, "category": category}
    answer = Answer([{"name": "set", "arguments": arguments} for arguments in given], "by hand")
    assert judge.accepts(case, answer.calls) is official
    assert ours(case, answer) is not official
    assert meaning(judge, case, answer, official) == why
