"""A run whose recipe names BFCL categories: the workers answer, the official checker judges, the report shows it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl_environment import bfcl_python
from rayplay.models.micro import save_chat_model

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    try:
        bfcl_python()
    except EvaluationError as error:
        pytest.skip(f"BFCL's environment cannot be made here: {error}")
    folder = tmp_path_factory.mktemp("rounds")
    save_chat_model(folder / "model")
    content = {
        "model": {"name": str(folder / "model"), "max_length": 8192},
        "data": {
            "sources": [{"source": "templates", "kinds": {"one_call": 1.0}}],
            "train_tasks": 8,
            "held_out_tasks": 2,
        },
        "tools": ["tools.calculator", "tools.weather"],
        "rollout": {
            "engine": "tests.scripted:make_sampler",
            "tasks_per_round": 8,
            "samples_per_task": 4,
            "max_new_tokens": 400,
        },
        "pairs": {"min_margin": 0.05},
        "training": {"method": "dpo", "max_steps": 1, "batch_size": 2, "max_unique_tokens": 20000},
        "evaluation": {"bfcl": ["simple", "irrelevance"], "bfcl_limit": 3},
        "sandbox": {"require": "L1"},
    }
    (folder / "recipe.json").write_text(json.dumps(content))
    return folder


def train(folder: Path, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "rayplay.cli", "train", "recipe.json", "--output-dir", "run", *more]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=240)


def test_categories_that_do_not_fit_are_refused_before_anything_is_written(recipe):
    done = train(recipe, "--set", 'evaluation.bfcl=["multi_turn_base"]')
    assert done.returncode == 2 and "several turns" in done.stderr
    assert not (recipe / "run").exists()


def test_every_stage_is_judged_by_the_official_checker(recipe):
    done = train(recipe)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((recipe / "run/report.json").read_text())
    for stage in report["stages"]:
        assert stage["metrics"]["bfcl_simple_python"]["n"] == 3
        assert stage["metrics"]["bfcl_irrelevance"]["n"] == 3
    assert "bfcl simple python" in done.stderr
