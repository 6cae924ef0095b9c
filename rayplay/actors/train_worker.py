"""What every Ray Train worker runs. A module of its own: only these processes need TRL's trainers."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
import ray.data
import ray.train
import torch
from ray.actor import ActorHandle
from ray.train import Checkpoint
from transformers import TrainerCallback

from rayplay.errors import RayplayError
from rayplay.models.device import usable_cores
from rayplay.records import Adapter, Json, Pair, Row
from rayplay.training.phase import run_phase
from rayplay.training.settings import TrainSettings


def train(config: Json, mailbox: ActorHandle, start: ray.ObjectRef) -> None:
    """One worker's part of a phase; the first worker tells the mailbox what came of it.

    Args:
        config: "model_dir", "method", "settings" (JSON), "kind" of the rows, "threads" to use, whether to "pin" them.
        mailbox: Takes steps, result and the user's mistake.
        start: The Adapter to go on from, or None.
    """
    first = ray.train.get_context().get_world_rank() == 0
    _use_threads(config["threads"], config["pin"])
    record = Pair if config["kind"] == "pair" else Row
    with tempfile.TemporaryDirectory(prefix="rayplay-train-") as folder:
        checkpoint = ray.train.get_checkpoint()
        try:
            result = run_phase(
                model_dir=config["model_dir"],
                rows=list(_read_rows(record)),
                method=config["method"],
                settings=TrainSettings.model_validate_json(config["settings"]),
                work_dir=Path(folder),
                start_dir=_unpack(ray.get(start), Path(folder) / "start"),
                resume_from=Path(checkpoint.to_directory()) if checkpoint else None,
                callbacks=[ReportCheckpoints()],
                on_step=(lambda entry: ray.get(mailbox.post.remote(entry))) if first else None,
            )
        except RayplayError as error:  # the user's to mend: trying again would not help, so the worker ends well
            ray.get(mailbox.fail.remote(error))
            return
        if first:
            files = {p.relative_to(result.folder).as_posix(): p.read_bytes() for p in _files(result.folder)}
            ray.get(mailbox.deliver.remote({"files": files, "seconds": result.seconds, "left_out": result.left_out}))


class ReportCheckpoints(TrainerCallback):
    """Hands each checkpoint to Ray Train; every worker reports, since each has a random state of its own."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Persist the folder that was just written; Ray registers it once all workers have done so."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        ray.train.report({"step": state.global_step}, checkpoint=Checkpoint.from_directory(folder))


def _read_rows(record: type[Row] | type[Pair]) -> Iterator[Row | Pair]:
    ray.data.DataContext.get_current().enable_progress_bars = False
    items = ray.train.get_dataset_shard("train").iter_rows()
    for item in sorted(items, key=lambda item: item["index"]):
        yield record.model_validate_json(item["row"])


def _unpack(adapter: Adapter | None, folder: Path) -> Path | None:
    if adapter is None:
        return None
    for name, content in adapter.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in (".safetensors", ".json"))


def _use_threads(threads: int, pin: bool) -> None:
    """Give this worker its cores: two trainers whose OpenMP threads spin on the same cores starve each other."""
    if pin:
        first = ray.train.get_context().get_local_rank() * threads
        os.sched_setaffinity(0, usable_cores()[first : first + threads])
    torch.set_num_threads(threads)
