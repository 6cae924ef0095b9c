"""Faults strike only what is there, for a spell only, and what they cost is counted."""

import random
import resource
import sys
import time
from collections import Counter

import psutil
import pytest

from rayplay.actors.rollout import GroupPlan, plan_group
from rayplay.chaos.faults import FAULTS, freeze_one, kill_one, lowered
from rayplay.chaos.lane import Harm, lost_and_doubled, pairs_of_run
from rayplay.playing import Quarantined
from rayplay.records import Message, StopReason, Task, Trajectory
from rayplay.store import RunFolder, write_lines

CHILD = "import time; time.sleep(120)  # marked-as-a-victim"


@pytest.fixture
def driver():
    """A process with one child whose title holds a mark."""
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    process = psutil.Popen([sys.executable, "-c", code])
    try:
        while not any("marked" in " ".join(child.cmdline()) for child in process.children()):
            assert process.poll() is None
        yield process
    finally:
        for child in process.children():
            child.kill()
        process.kill()
        process.wait(10)


def test_a_fault_finds_the_process_whose_title_is_marked(driver):
    rng = random.Random(0)
    assert not kill_one("no such title")(driver, rng)
    victim = driver.children()[0]
    assert freeze_one("marked", "victim")(driver, rng)
    assert kill_one("marked-as-a-victim")(driver, rng)
    assert victim.wait(10) != 0 or not victim.is_running()


def test_a_lowered_limit_is_raised_again(driver):
    before = driver.rlimit(resource.RLIMIT_NOFILE)
    with lowered(driver, resource.RLIMIT_NOFILE, 5):
        assert driver.rlimit(resource.RLIMIT_NOFILE) == (5, before[1])
    assert driver.rlimit(resource.RLIMIT_NOFILE) == before


def test_faults_are_drawn_until_enough_found_their_victims(driver, monkeypatch):
    struck = Counter()

    def strike_of(kind):
        def strike(process, rng):
            struck[kind] += 1
            return True

        return strike

    monkeypatch.setattr("rayplay.chaos.lane.DRIVER_LIVES_S", 1e-9)
    monkeypatch.setattr(
        "rayplay.chaos.lane.FAULTS", {kind: (weight, strike_of(kind)) for kind, (weight, _) in FAULTS.items()}
    )
    harm = Harm(50, random.Random(3), 1e-9)
    harm.plan()
    while not harm.done:
        harm.strike(driver)
    assert harm.kinds == struck and harm.kinds.total() == 50 and len(harm.kinds) >= 6
    harm.strike(driver)
    assert harm.kinds.total() == 50


def test_no_fault_comes_after_the_time_for_faults():
    assert Harm(50, random.Random(3), until=time.monotonic() - 1).done
    assert not Harm(50, random.Random(3), until=time.monotonic() + 60).done


def test_what_a_run_lost_or_has_twice_is_counted(tmp_path):
    stage = RunFolder(tmp_path / "run").stage("round-001")
    task = Task.build("t", (Message(role="user", content="Hello?"),), ())
    plans = [plan_group(0, f"r1/{n}", task, samples=2, temperature=1.0, policy="base") for n in range(3)]
    write_lines(stage.path / "plan.jsonl", plans)
    write_lines(stage.path / "pairs.jsonl", [])

    def sample(plan: GroupPlan, k: int) -> Trajectory:
        return Trajectory(
            sample_id=f"{plan.group}/{k}", group=plan.group, task=task, policy="base", seed=plan.seeds[k],
            token_ids=(1,), sampled_mask=(0,), prompt_length=1, turns=(), stop_reason=StopReason.PROMPT_TOO_LONG,
        )  # fmt: skip

    stage.seal([sample(plans[0], 0), sample(plans[0], 1), sample(plans[1], 0), sample(plans[1], 0)])
    stage.seal([Quarantined(group=plans[2].group, reason="worker died")], "trajectories-quarantined")
    stage.commit()
    assert lost_and_doubled(tmp_path / "run") == {"groups": 3, "quarantined": 1, "lost": 1, "doubled": 1}
    assert len(pairs_of_run(tmp_path / "run")) == 1
