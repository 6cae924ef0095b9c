"""Rows or pairs -> a new Adapter, by TRL trainers inside Ray Train workers.

Weights travel as bytes through the object store, metrics through a small mailbox actor: trainer and driver need no
common file system unless checkpoints are asked for. A worker that dies is replaced, and the phase goes on at the last
checkpoint with the same steps; so does a phase whose driver was killed, when it is started again.
"""

import functools
import importlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.data
import ray.train
from ray.actor import ActorHandle
from ray.exceptions import RayActorError
from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError
from torch.utils.tensorboard import SummaryWriter

from rayplay.actors.mailbox import MailboxActor
from rayplay.errors import ResourceError
from rayplay.models.device import QUIET_ENV, allocator_env, usable_cores
from rayplay.records import Adapter, Json, Pair, Record, Row, digest
from rayplay.training.settings import TrainSettings

POLL_S = 0.5
SHARED_CPU = 0.1  # what a worker reserves where no number is given: phases take turns, so the cores are free
QUIET_TRAIN_ENV = {
    "RAY_TRAIN_ENABLE_STATE_ACTOR_RECONCILIATION": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "180",
}


class InterruptibleTrainer(TorchTrainer):
    """Leaves SIGINT to the driver: Ray Train's own handler ends it with exit code 0, as if the run were done."""

    def _register_sigint_handler(self, controller: ActorHandle) -> None:
        return None


class TrainOutcome(Record):
    """What a training phase gave."""

    adapter: Adapter
    steps: tuple[Json, ...]  # metrics of each optimizer step
    seconds: float
    raw_tokens: int
    unique_tokens: int
    left_out: dict[str, str]  # row or pair id -> why it was not trained on


def train_policy(
    *,
    model_dir: str,
    rows: Sequence[Row] | Sequence[Pair],
    method: str,
    settings: TrainSettings,
    start: Adapter | None,
    version: str,
    storage_dir: str,
    num_workers: int = 1,
    cpus_per_worker: float | None = None,
    gpus_per_worker: float = 0,
    max_failures: int = 1,
    on_step: Callable[[Json], None] | None = None,
) -> TrainOutcome:
    """Train once over `rows` and return the new policy.

    Args:
        model_dir: Folder of the base model, on every node that trains.
        rows: Rows for sft and teacher_mode, Pairs for dpo.
        method: A row of rayplay.training.objectives.
        settings: The phase's settings.
        start: The policy before this phase (None = base model): training goes on from it, and it is the reference.
        version: Name of the new policy.
        storage_dir: Folder for metrics.jsonl, TensorBoard events and checkpoints.
        num_workers: Ray Train workers; results do not depend on their number.
        cpus_per_worker: Cores that each one reserves and uses; None = reserve next to nothing and share all cores.
        gpus_per_worker: GPUs of each worker; 0 trains on the CPU with gloo.
        max_failures: Times that a dead worker is replaced.
        on_step: Called with each optimizer step's metrics ("step", "steps", "loss", ...), from another thread.

    Raises:
        RayplayError: What the worker reported, or why training could not run.
    """
    storage = Path(storage_dir).resolve()
    storage.mkdir(parents=True, exist_ok=True)
    mailbox = MailboxActor.options(num_cpus=0).remote()
    inputs = [{"index": i, "row": row.model_dump_json()} for i, row in enumerate(rows)]
    address = [version, method, settings.model_dump(mode="json"), digest(inputs), start.version if start else None]
    name = f"{version}-{digest(address)}"
    trainer = _torch_trainer(
        _Workers(num_workers, cpus_per_worker, gpus_per_worker),
        functools.partial(_train_worker, mailbox=mailbox, start=ray.put(start)),
        {
            "model_dir": model_dir,
            "method": method,
            "settings": settings.model_dump_json(),
            "kind": "pair" if inputs and isinstance(rows[0], Pair) else "row",
        },
        inputs,
        # The name is an address: the same phase of the same run finds its checkpoints again.
        {"name": name, "storage_path": str(storage), "failure_config": FailureConfig(max_failures=max_failures)},
    )
    try:
        with _watch(mailbox, on_step):
            error = _fit(trainer)
        result, mistake = ray.get(mailbox.outcome.remote())
        steps = ray.get(mailbox.steps.remote())
    finally:
        ray.kill(mailbox)
    if mistake is not None:
        raise mistake
    if error or result is None:
        raise ResourceError(f"training {version!r} failed: {error or 'it ended without a result'}")
    shutil.rmtree(storage / name, ignore_errors=True)  # its checkpoints have served
    _write_metrics(storage, version, steps)
    return TrainOutcome(
        adapter=Adapter(version=version, files=result["files"]),
        steps=tuple(steps),
        seconds=result["seconds"],
        raw_tokens=sum(step["raw_tokens"] for step in steps),
        unique_tokens=sum(step["unique_tokens"] for step in steps),
        left_out=result["left_out"],
    )


@dataclass(frozen=True)
class _Workers:
    """How many, and what each one reserves."""

    count: int
    cpus: float | None
    gpus: float

    @property
    def threads(self) -> int:
        """Of one worker."""
        return max(1, int(self.cpus or len(usable_cores()) // self.count))


def _torch_trainer(
    workers: _Workers, work: Callable[[Json], None], config: Json, inputs: list[Json], run: dict[str, Any]
) -> InterruptibleTrainer:
    pin = workers.count > 1 and workers.gpus == 0 and workers.count * workers.threads <= len(usable_cores())
    return InterruptibleTrainer(
        work,
        train_loop_config={**config, "threads": workers.threads, "pin": pin},
        datasets={"train": ray.data.from_items(inputs)} if inputs else None,
        # Every worker reads all rows: the forward pass itself shares out each batch (training/tree.py).
        dataset_config=ray.train.DataConfig(datasets_to_split=[]),
        torch_config=TorchConfig(backend="nccl" if workers.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers.count,
            use_gpu=workers.gpus > 0,
            resources_per_worker={"CPU": workers.cpus or SHARED_CPU} | ({"GPU": workers.gpus} if workers.gpus else {}),
        ),
        run_config=RunConfig(
            **run,
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            worker_runtime_env={"env_vars": _worker_env(workers.threads)},
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )


def _train_worker(config: Json, *, mailbox: ActorHandle, start: ray.ObjectRef) -> None:
    """What every Ray Train worker runs."""
    # by name: else Ray Train's controller, which unpickles this function too, would load transformers, TRL and PEFT
    importlib.import_module("rayplay.actors.train_worker").train(config, mailbox, start)


def _worker_env(threads: int) -> dict[str, str]:
    return {**QUIET_ENV, **allocator_env(), "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}


def _fit(trainer: InterruptibleTrainer) -> str:
    """Run to the end; what went wrong in one line, "" where nothing did."""
    os.environ.update({key: os.environ.get(key, value) for key, value in QUIET_TRAIN_ENV.items()})
    try:
        trainer.fit()
    except TrainingFailedError as error:
        failures = getattr(error, "worker_failures", None) or {0: error}
        return f"worker {min(failures)}: {str(failures[min(failures)]).strip().splitlines()[-1][:500]}"
    return ""


@contextmanager
def _watch(mailbox: ActorHandle, on_step: Callable[[Json], None] | None) -> Iterator[None]:
    """Pass new steps on while training runs, and the last ones at its end."""
    done = threading.Event()

    def watch() -> None:
        seen = 0
        while on_step:
            ending = done.wait(POLL_S)
            try:
                steps = ray.get(mailbox.steps.remote(), timeout=10)
            except (RayActorError, TimeoutError):
                steps = []
            for step in steps[seen:]:
                on_step(step)
            seen = max(seen, len(steps))
            if ending:
                return

    thread = threading.Thread(target=watch, name="training-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=15)


def _write_metrics(storage: Path, version: str, steps: list[Json]) -> None:
    """metrics.jsonl, and the same numbers as TensorBoard events."""
    with (storage / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({"phase": version, "time": time.time(), **step}) + "\n" for step in steps)
    with SummaryWriter(str(storage / "tensorboard" / version)) as writer:
        for step in steps:
            for key, value in step.items():
                if isinstance(value, int | float) and key not in ("step", "steps"):
                    writer.add_scalar(key, value, step["step"])
