"""Whatever dies, running the same command again ends with the same pairs and every planned group exactly once.

Real drivers and workers over a local Ray; test_resume.py has every crash point and every file.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from rayplay.actors.rollout import GroupPlan
from rayplay.models.micro import save_chat_model
from rayplay.records import Row, Trajectory
from rayplay.store import FAULT, Stage, read_lines

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    save_chat_model(folder / "model")
    recipe = {
        "about": "A scripted policy over a micro model: everything is real but the choice of words.",
        "seed": 5,
        "model": {"name": str(folder / "model"), "max_length": 4096},
        "data": {
            "sources": [{"source": "templates", "kinds": {"one_call": 1.0}}],
            "train_tasks": 16,
            "held_out_tasks": 4,
        },
        "tools": ["tools.calculator", "tools.weather"],
        "rollout": {
            "engine": "tests.scripted:make_sampler",
            "tasks_per_round": 16,
            "samples_per_task": 4,
            "max_in_flight": 8,
            "max_new_tokens": 400,
            "episode_deadline_s": 5,
            "attempts": 6,
        },
        "pairs": {"min_margin": 0.05},
        "training": {"method": "dpo", "max_steps": 1, "batch_size": 2, "max_unique_tokens": 20000},
        "sandbox": {"require": "L1"},
    }
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return folder


def start(workspace: Path, name: str, recipe: str = "recipe.json", **env: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "rayplay.cli", "train", recipe, "--output-dir", name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    # as a shell starts a background job: with Ctrl-C ignored
    return subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command],
        cwd=workspace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen, seconds: float = 400) -> tuple[int, str]:
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        pytest.fail(f"not done after {seconds} s: {output[-2000:]}")
    return process.returncode, output


def pairs_hash(run: Path) -> str:
    return hashlib.sha256((run / "round-001" / "pairs.jsonl").read_bytes()).hexdigest()


def assert_every_group_once(run: Path) -> None:
    planned = {
        f"{p.group}/{k}" for p in read_lines(run / "round-001/plan.jsonl", GroupPlan) for k in range(len(p.seeds))
    }
    sealed = Counter(t.sample_id for t in Stage(run / "round-001").sealed(Trajectory))
    assert set(sealed) == planned
    assert set(sealed.values()) == {1}


@pytest.fixture(scope="module")
def unbroken(workspace) -> Path:
    code, output = finish(start(workspace, "unbroken"))
    assert code == 0, output[-3000:]
    assert_every_group_once(workspace / "unbroken")
    return workspace / "unbroken"


def test_an_unbroken_run_pairs_trains_and_reports(unbroken):
    report = json.loads((unbroken / "report.json").read_text())
    assert [stage["name"] for stage in report["stages"]] == ["base", "round-001"]
    assert report["pairs"]["total"] >= 10 and len(report["pairs"]["by_reason"]) >= 3
    assert (unbroken / "round-001/adapter/adapter_model.safetensors").is_file()
    assert "<svg" in (unbroken / "report.html").read_text()


def test_the_same_log_teaches_by_other_objectives(workspace, unbroken):
    """The sealed trajectories of a round are kept; only what is learned from them differs."""
    other = json.loads((workspace / "recipe.json").read_text())
    other["training"] = {k: v for k, v in other["training"].items() if k != "method"}
    other["training"]["compare"] = {"kto": {}, "grpo": {}}
    (workspace / "others.json").write_text(json.dumps(other))
    code, output = finish(start(workspace, "others", recipe="others.json"))
    assert code == 0, output[-3000:]
    assert_every_group_once(workspace / "others")
    for method, mark in (("kto", "label"), ("grpo", "advantage")):
        stage = workspace / "others" / f"round-001-{method}"
        rows = read_lines(stage / "rows.jsonl", Row)
        assert rows and (stage / "adapter/adapter_model.safetensors").is_file()
        assert all(getattr(row, mark) is not None for row in rows)


def test_the_same_command_again_says_that_it_is_complete(workspace, unbroken):
    code, output = finish(start(workspace, "unbroken"))
    assert code == 0 and "complete" in output


def test_after_a_kill_dying_actors_and_ctrl_c_the_run_ends_with_the_same_pairs(workspace, unbroken):
    """The driver is killed while it samples; then actors die or freeze; then Ctrl-C ends it while it trains."""
    code, output = finish(start(workspace, "stopped", **{FAULT: "round-001:shard_1_without_hash"}))
    assert code == -signal.SIGKILL, output[-2000:]  # the fault really fired
    trigger, kinds = workspace / "now", "tools kill engine stop"
    trigger.write_text(kinds)
    interrupt(workspace, "stopped", "training/*", RAYPLAY_TEST_FAULT=str(trigger))
    assert Path(f"{trigger}.fired").read_text().split() == kinds.split()
    code, output = finish(start(workspace, "stopped"))
    assert code == 0, output[-3000:]
    assert_every_group_once(workspace / "stopped")
    assert pairs_hash(workspace / "stopped") == pairs_hash(unbroken)


def interrupt(workspace: Path, name: str, file: str, **env: str) -> None:
    """Start a run and press Ctrl-C once a file of its round is there."""
    process = start(workspace, name, **env)
    deadline = time.monotonic() + 240
    while not any((workspace / name / "round-001").glob(file)) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    code, output = finish(process, 60)  # seconds on a quiet machine; other tests run beside this one
    assert code == 130 and "goes on" in output, (code, output[-2000:])
