"""Ray Train on this machine: two workers train like one, and a worker that is killed changes nothing."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest
import ray
import torch

from rayplay.actors.training import train_policy
from rayplay.errors import AlarmError
from rayplay.training.phase import run_phase
from rayplay.training.settings import TrainSettings
from tests.micro import save_micro_model
from tests.unit.test_training_objectives import make_pairs, rows_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
STEPS = 100
SETTINGS = {
    "batch_size": 6,
    "max_steps": STEPS,
    "learning_rate": 1e-3,
    "loss_type": ("sigmoid", "sft"),
    "dtype": "float32",
    "checkpoint_every": 30,
}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A micro model, and a local Ray for all tests of this file."""
    options = {"num_cpus": 2, "object_store_memory": 200 * 2**20, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(address="local", dashboard_host="127.0.0.1", **options)
    yield save_micro_model(tmp_path_factory.mktemp("model"))
    ray.shutdown()


def training_processes():
    """Process ids of the Ray Train workers of this test's own Ray (others may run on the machine)."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            names[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue  # it ended while we looked

    def ours(pid):
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return sorted(pid for pid, name in names.items() if name.startswith("ray::RayTrainWorker") and ours(pid))


def test_two_workers_one_of_them_killed_train_like_one(model_dir, tmp_path):
    torch.set_num_threads(1)
    settings = TrainSettings(**SETTINGS)
    whole = run_phase(
        model_dir=model_dir, rows=make_pairs(10), method="dpo", settings=settings, work_dir=tmp_path / "one"
    )
    assert len(whole.steps) == STEPS
    assert whole.steps[-1]["loss"] < whole.steps[0]["loss"]
    killed = threading.Event()

    def kill_one(entry):
        if entry["step"] > 30 and not killed.is_set():
            os.kill(training_processes()[0], signal.SIGKILL)
            killed.set()

    broken = train_policy(
        model_dir=model_dir,
        rows=make_pairs(10),
        method="dpo",
        settings=settings,
        start=None,
        version="round-001",
        storage_dir=str(tmp_path / "two"),
        num_workers=2,
        on_step=kill_one,
    )
    assert killed.is_set()
    assert [e["loss"] for e in broken.steps] == pytest.approx([e["loss"] for e in whole.steps], abs=1e-4)
    assert set(broken.adapter.files) == {"adapter_config.json", "adapter_model.safetensors"}
    lines = [json.loads(line) for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert list((tmp_path / "two" / "tensorboard" / "round-001").glob("events.*"))
    assert not list((tmp_path / "two").glob("round-001-*"))


def test_a_users_mistake_in_a_worker_arrives_as_that_error_and_is_not_tried_again(model_dir, tmp_path):
    changes = {"learning_rate": 1e30, "max_grad_norm": 1e30, "max_steps": 4}
    with pytest.raises(AlarmError, match=r"lower training\.learning_rate"):
        train_policy(
            model_dir=model_dir,
            rows=rows_for("sft"),
            method="sft",
            settings=TrainSettings(**SETTINGS | changes),
            start=None,
            version="sft",
            storage_dir=str(tmp_path),
        )
