"""A recipe's data section -> training tasks, held-out tasks and demonstrations, the same for the same seed."""

from collections.abc import Callable
from typing import NamedTuple

from rayplay.data.templates import build_tasks
from rayplay.errors import DataError
from rayplay.recipe import Data, DataSource
from rayplay.records import Demonstration, Task, ToolResult, ToolSpec, digest

Execute = Callable[[str, dict], ToolResult]


class Prepared(NamedTuple):
    """What a run learns from and is measured on; no held-out task shares its request with a training task."""

    train: list[Task]
    held_out: list[Task]
    demonstrations: list[Demonstration]  # of the training tasks, in their order where a task has one


def prepare(data: Data, specs: tuple[ToolSpec, ...], execute: Execute, *, seed: int, demonstrations: int) -> Prepared:
    """Read or generate all sources by weight.

    Args:
        data: The recipe's section.
        specs: The tools on offer.
        execute: (tool name, arguments) -> result, by the real tools: labels are what they return.
        seed: The run's seed.
        demonstrations: How many demonstrations training will want.

    Raises:
        DataError: A source gives nothing.
    """
    total = sum(source.weight for source in data.sources)
    train: list[tuple[Task, Demonstration | None]] = []
    held_out: list[tuple[Task, Demonstration | None]] = []
    for source in data.sources:
        share = source.weight / total
        wanted = {
            "train": max(1, round(max(data.train_tasks, demonstrations) * share)),
            "held_out": max(1, round(data.held_out_tasks * share)),
        }
        for split, into in (("train", train), ("held_out", held_out)):
            into += _read(source, specs, execute, wanted[split], split, seed)
    asked = {_request(task) for task, _ in held_out}
    train = [entry for entry in train if _request(entry[0]) not in asked]
    if not train or not held_out:
        raise DataError(
            f"the data sources give {len(train)} training and {len(held_out)} held-out tasks; both are needed"
        )
    train.sort(key=lambda entry: digest([seed, entry[0].task_id]))
    return Prepared(
        [task for task, _ in train],
        [task for task, _ in held_out][: data.held_out_tasks],
        [demonstration for _, demonstration in train if demonstration is not None],
    )


def _read(
    source: DataSource, specs: tuple[ToolSpec, ...], execute: Execute, count: int, split: str, seed: int
) -> list[tuple[Task, Demonstration | None]]:
    if source.source != "templates":
        raise DataError(f"data source {source.source!r} is unknown; known: templates")
    return list(build_tasks(specs, execute, count=count, split=split, seed=seed, kinds=source.kinds))


def _request(task: Task) -> str:
    return " ".join(message.content for message in task.messages if message.role == "user").casefold()
