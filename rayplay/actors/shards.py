"""Sealed shards -> records, a shard at a time on all cores of the cluster: Ray Data reads, works and keeps the order.

A shard holds whole groups, so scoring and pairing need nothing beside it. Nodes must see the run folder.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import ray
from pydantic import BaseModel

R = TypeVar("R", bound=BaseModel)


def over_shards(work: Callable[[Path], Iterable[R]], shards: Iterable[Path], kind: type[R]) -> Iterator[R]:
    """`work` of every shard, in order.

    Args:
        work: Picklable; gives records of `kind`.
        shards: Files.
        kind: Records travel as JSON text.
    """
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order, context.enable_progress_bars = True, False
    files = [{"path": str(path.absolute())} for path in shards]
    if not files:
        return

    def lines(row: dict[str, str]) -> list[dict[str, str]]:
        return [{"line": record.model_dump_json()} for record in work(Path(row["path"]))]

    for row in ray.data.from_items(files, override_num_blocks=len(files)).flat_map(lines).iter_rows():
        yield kind.model_validate_json(row["line"])
