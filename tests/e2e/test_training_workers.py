"""Ray Train on this machine: two workers train like one, and a worker that is killed changes nothing."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest
import ray

from rayplay.actors.training import train_policy
from rayplay.errors import AlarmError
from rayplay.training.settings import TrainSettings
from tests.micro import save_micro_model
from tests.unit.test_training_objectives import make_pairs, rows_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]
STEPS = 200


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """A micro model, and a local Ray for all tests of this file."""
    options = {"num_cpus": 2, "object_store_memory": 200 * 2**20, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(address="local", dashboard_host="127.0.0.1", **options)
    yield save_micro_model(tmp_path_factory.mktemp("model"))
    ray.shutdown()


def train(model_dir, folder, method="dpo", workers=2, on_step=None, **changes):
    defaults = {
        "batch_size": 6,
        "max_steps": STEPS,
        "learning_rate": 1e-3,
        "loss_type": ("sigmoid", "sft"),
        "dtype": "float32",
        "checkpoint_every": 40,
    }
    return train_policy(
        model_dir=model_dir,
        rows=make_pairs(10) if method == "dpo" else rows_for(method),
        method=method,
        settings=TrainSettings(**(defaults | changes)),
        start=None,
        version="round-001",
        storage_dir=str(folder),
        num_workers=workers,
        on_step=on_step,
    )


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


def test_two_workers_train_like_one_and_a_killed_worker_changes_nothing(model_dir, tmp_path):
    whole = train(model_dir, tmp_path / "one", workers=1)
    assert len(whole.steps) == STEPS
    assert whole.steps[-1]["loss"] < whole.steps[0]["loss"]
    killed = threading.Event()

    def kill_one(entry):
        if entry["step"] > 50 and not killed.is_set():
            os.kill(training_processes()[0], signal.SIGKILL)
            killed.set()

    broken = train(model_dir, tmp_path / "two", workers=2, on_step=kill_one)
    assert killed.is_set()
    losses = [[entry["loss"] for entry in outcome.steps] for outcome in (whole, broken)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert (
        broken.adapter.files.keys()
        == whole.adapter.files.keys()
        == {"adapter_config.json", "adapter_model.safetensors"}
    )
    lines = [json.loads(line) for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert list((tmp_path / "two" / "tensorboard" / "round-001").glob("events.*"))
    assert not list((tmp_path / "two").glob("round-001-*"))


def test_a_users_mistake_in_a_worker_arrives_as_that_error_and_is_not_tried_again(model_dir, tmp_path):
    with pytest.raises(AlarmError, match=r"lower training\.learning_rate"):
        train(model_dir, tmp_path, "sft", workers=1, learning_rate=1e30, max_grad_norm=1e30, max_steps=4)
