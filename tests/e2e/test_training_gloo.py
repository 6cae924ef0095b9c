"""Two gloo workers train like one, for every objective: from scratch, and from an adapter with a frozen reference."""

import json
import os
import socket

import pytest
import torch
from torch import multiprocessing

from rayplay.records import Row
from rayplay.training.phase import run_phase
from rayplay.training.settings import TrainSettings
from tests.micro import save_micro_model
from tests.unit.test_training_objectives import rows_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]
METHODS = ("sft", "dpo", "kto", "grpo")


def train_all(model_dir, folder):
    """Each objective twice, the second time from the first's adapter; losses of all steps by objective."""
    torch.set_num_threads(1)
    losses = {}
    for method in METHODS:
        rows = rows_for(method)
        if method == "sft":  # rows of unequal length: token means must not depend on who forwards which row
            rows = [
                Row(row_id=r.row_id, token_ids=r.token_ids[: 16 + i], mask=r.mask[: 16 + i]) for i, r in enumerate(rows)
            ]
        settings = {"batch_size": 3, "max_steps": 4, "learning_rate": 1e-2, "warmup_ratio": 0.0, "dtype": "float32"}
        start, losses[method] = None, []
        for phase in ("first", "second"):
            result = run_phase(
                model_dir=model_dir,
                rows=rows,
                method=method,
                settings=TrainSettings(**settings, loss_type=("sigmoid", "sft")),
                work_dir=folder / method / phase,
                start_dir=start,
            )
            if torch.distributed.is_initialized():
                torch.distributed.barrier()  # the first worker writes the weights that both go on from
            start = result.folder
            losses[method] += [entry["loss"] for entry in result.steps]
    return losses


def worker(rank, port, model_dir, folder):
    """One of two processes."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    losses = train_all(model_dir, folder)
    (folder / f"losses-{rank}.json").write_text(json.dumps(losses))
    torch.distributed.destroy_process_group()


def test_two_workers_have_the_loss_curves_of_one(tmp_path):
    model_dir = save_micro_model(tmp_path / "model")
    alone = train_all(model_dir, tmp_path / "alone")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "both").mkdir()
    multiprocessing.spawn(worker, args=(port, model_dir, tmp_path / "both"), nprocs=2)
    for rank in range(2):
        both = json.loads((tmp_path / "both" / f"losses-{rank}.json").read_text())
        for method in METHODS:
            assert both[method] == pytest.approx(alone[method], abs=1e-4), method
