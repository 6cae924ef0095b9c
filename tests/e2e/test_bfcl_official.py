"""The whole BFCL path with known answers: official handler, official checker, their own environment."""

import importlib.metadata
import json
import subprocess
import sys
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from rayplay.actors.pool import GroupResult
from rayplay.bfcl_rounds import BfclRounds
from rayplay.console import Say
from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl import Contestant, choose_cases, official_run, read_cases, read_facts
from rayplay.evaluation.bfcl_baseline import choose_known, score_baseline
from rayplay.evaluation.bfcl_endpoint import Endpoint
from rayplay.evaluation.bfcl_environment import bfcl_python
from rayplay.evaluation.bfcl_scorer import OfficialScorer, bfcl_tasks
from rayplay.recipe import Evaluation, Model, Recipe
from rayplay.records import Message, StopReason, Task, ToolCall, Trajectory, Turn
from rayplay.store import RunFolder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CATEGORIES = ["simple_python", "parallel", "irrelevance"]


def installed():
    return sorted(f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions())


@pytest.fixture(scope="module", autouse=True)
def environment():
    try:
        bfcl_python()
    except EvaluationError as error:
        pytest.skip(f"BFCL's environment cannot be made here: {error}")


@pytest.fixture(scope="module")
def gold(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gold")
    before = installed()
    result = score_baseline(folder, choose_known(CATEGORIES, empty=False, limit=4, seed=0), empty=False)
    return folder, result, before


def test_gold_answers_are_all_right_and_the_data_is_pinned(gold):
    _, result, _ = gold
    assert {category: row["accuracy"] for category, row in result["bfcl"].items()} == dict.fromkeys(CATEGORIES, 1.0)
    assert all(row["n"] == 4 for row in result["bfcl"].values())
    assert len(result["data"]["data_sha256"]) == 64


def test_empty_answers_are_right_only_where_no_call_is(tmp_path):
    result = score_baseline(tmp_path, choose_known(CATEGORIES, empty=True, limit=4, seed=0), empty=True)
    found = {category: row["accuracy"] for category, row in result["bfcl"].items()}
    assert found == {"simple_python": 0.0, "parallel": 0.0, "irrelevance": 1.0}


def test_nothing_is_installed_into_our_own_environment(gold):
    _, _, before = gold
    assert installed() == before
    assert "bfcl" not in " ".join(before).lower()


def test_a_second_run_asks_only_for_what_is_missing(gold):
    folder, result, _ = gold
    path = next((folder / "result").rglob("*simple_python_result.json"))
    lines = path.read_text().splitlines()
    kept = [json.dumps(json.loads(line) | {"latency": -1.0}) for line in lines[:2]]
    path.write_text("\n".join(kept) + "\n" + lines[2][:40])  # one half-written, one missing
    again = score_baseline(folder, choose_known(CATEGORIES, empty=False, limit=4, seed=0), empty=False)
    assert again["bfcl"] == result["bfcl"]
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(entries) == 4
    assert [entry["latency"] == -1.0 for entry in sorted(entries, key=lambda e: e["latency"])] == [
        True,
        True,
        False,
        False,
    ]


def test_the_official_command_line_by_hand_gives_the_same_numbers(gold):
    folder, _, _ = gold
    scores = sorted((folder / "score").rglob("*_score.json"))
    headers = [path.read_text().splitlines()[0] for path in scores]
    for path in scores:
        path.unlink()
    command = ["--root", str(folder), "--", "evaluate", "--model", "rayplay-gold-FC"]
    command += ["--test-category", ",".join(CATEGORIES), "--partial-eval"]
    main = "from rayplay.cli import main; main()"
    subprocess.run([sys.executable, "-c", main, "bfcl", *command], check=True, capture_output=True, timeout=120)
    assert [path.read_text().splitlines()[0] for path in scores] == headers


def test_an_endpoint_that_fails_gives_an_error_and_no_verdicts(tmp_path):
    ids = {"irrelevance": list(read_facts().categories["irrelevance"][:1])}
    nobody = Endpoint("http://127.0.0.1:9/v1", "key")  # the discard port: nothing listens there
    with pytest.raises(EvaluationError, match="failed on 1 answers"):
        official_run(tmp_path, ids, [Contestant("gone", "gone")], nobody)
    assert not (tmp_path / "verdicts.jsonl").exists()


def test_the_checker_in_the_loop_agrees_with_the_official_run(tmp_path):
    facts = read_facts()
    cases = read_cases(choose_cases(facts, CATEGORIES, 4, 0))
    scorer = OfficialScorer(tmp_path)
    try:
        right = scorer.score([_said(case, case["gold"][0]) for case in cases], "gold")
        silent = scorer.score([_said(case, []) for case in cases], "empty")
    finally:
        scorer.close()
    assert all(verdict.valid for verdict in right)
    assert {verdict.category for verdict in silent if verdict.valid} == {"irrelevance"}


class GoldPool:
    """Plays every plan with the right calls, as rollout workers would hand them back."""

    def __init__(self, cases):
        self.gold = {case["id"]: case for case in cases}
        self.played = 0

    def play(self, plans):
        for plan in plans:
            self.played += 1
            case = self.gold[plan.task.task_id]
            yield GroupResult(plan, [_said(case, case["gold"][0])])


def test_rounds_are_scored_once_and_judged_again_without_sampling(tmp_path):
    cases = read_cases(choose_cases(read_facts(), CATEGORIES, 4, 0))
    recipe = Recipe(
        model=Model(name="m"), seed=0, evaluation=Evaluation(bfcl=("simple", "parallel", "irrelevance"), bfcl_limit=4)
    )
    pool = GoldPool(cases)
    say = Say(Console(file=StringIO()))
    asked = cases[0]["turns"][0][0]["content"]
    seen = Task.build("t", (Message(role="user", content=asked),), ())
    player = SimpleNamespace(pool=pool)
    run = SimpleNamespace(recipe=recipe, folder=RunFolder(tmp_path), train_tasks=[seen], say=say, player=player)
    rounds = BfclRounds(run)
    try:
        for _ in range(2):
            rounds.score(run.folder.stage("sft"))
    finally:
        rounds.close()
    table = json.loads((tmp_path / "sft" / "bfcl.json").read_text())
    assert {category: row["accuracy"] for category, row in table.items()} == dict.fromkeys(CATEGORIES, 1.0)
    assert pool.played == len(cases)
    assert "1 BFCL questions resemble training tasks" in say.console.file.getvalue()


def _said(case, calls):
    (task,) = bfcl_tasks([case])
    made = tuple(
        ToolCall(call_id=str(n), name=call["name"], arguments=call["arguments"]) for n, call in enumerate(calls)
    )
    return Trajectory(
        sample_id=case["id"],
        group=case["id"],
        task=task,
        policy="gold",
        seed=0,
        prompt_length=0,
        token_ids=(),
        sampled_mask=(),
        turns=(Turn(start=0, end=0, calls=made),),
        stop_reason=StopReason.ANSWERED,
    )
