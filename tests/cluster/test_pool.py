"""Rollout workers that join and leave while groups are being sampled: every group comes exactly once."""

import threading
import time

import pytest

from rayplay.actors.cluster import open_cluster
from rayplay.actors.pool import PoolSettings, RolloutPool
from rayplay.actors.rollout import EngineSettings, plan_group
from rayplay.episode import EpisodeLimits
from rayplay.errors import RunFolderError
from rayplay.models.micro import save_chat_model
from rayplay.records import Adapter, Message, Task
from rayplay.store import RunFolder

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
LIMITS = EpisodeLimits(max_length=4096, max_new_tokens=400, deadline_s=200)


def until(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_workers_join_and_leave_while_groups_are_sampled(tmp_path, monkeypatch):
    model, folder = save_chat_model(tmp_path / "model"), RunFolder(tmp_path / "run")
    folder.claim()
    monkeypatch.setenv("RAYPLAY_TEST_GATE", str(tmp_path / "open"))
    tasks = [Task.build("t", (Message(role="user", content=f"{n} or {n}?"),), ()) for n in range(6)]
    plans = [plan_group(1, f"r001/{t.task_id}", t, samples=2, temperature=1.0, policy="sft") for t in tasks]
    engine = EngineSettings(model_dir=str(model), sampler="tests.scripted:make_gated_sampler")
    settings = PoolSettings(group_deadline_s=200, groups_per_worker=2, start_deadline_s=120)
    with open_cluster(num_cpus=2):
        pool = RolloutPool(settings, engine, LIMITS, [], asked=folder.workers_asked_for)
        pool.start()
        pool.load(Adapter(version="sft", files={"adapter_model.safetensors": b"x"}))
        results = []
        playing = threading.Thread(target=lambda: results.extend(pool.play(plans)))
        playing.start()
        RunFolder(folder.path).ask_for_workers(3)
        until(lambda: sum(bool(w.running) for w in pool._workers) == 3)
        folder.ask_for_workers(1)
        until(lambda: len(pool._workers) == 1)
        (tmp_path / "open").touch()
        playing.join(120)
        pool.close()
    assert sorted(r.plan.group for r in results) == sorted(plan.group for plan in plans)
    assert all(len(r.trajectories) == 2 and not r.quarantined for r in results) and pool.replaced == 0
    assert {t.policy for r in results for t in r.trajectories} == {"sft"}  # joiners have the newest weights


def test_only_a_run_that_is_going_can_be_asked_for_workers(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.claim()
    RunFolder(folder.path).ask_for_workers(2)
    assert folder.workers_asked_for() == 2
    folder._lock.close()
    with pytest.raises(RunFolderError, match=r"no run is going there; start it with --set rollout\.num_workers=3"):
        RunFolder(folder.path).ask_for_workers(3)
