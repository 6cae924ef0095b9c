"""Files -> judged lines as a Ray Data pipeline: reading streams, judging is spread over the cluster, memory stays flat.

Rows travel through Arrow as JSON text: as columns, rows with different argument keys would be filled with nulls. The
driver only counts, checks ids and hands lines on, in the order of the files.
"""

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import ray

from rayplay.data.census import Census, Tally, holds_calls
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Kind
from rayplay.data.sources import SOURCES, Opened, judge, number_of_row, read_rows
from rayplay.data.writing import line_of
from rayplay.records import Json, digest

BATCH_ROWS = 256


class Judge:
    """Batches of raw rows -> batches of verdicts; made once in each worker, with what the format needs beside rows."""

    def __init__(self, context: Context, kind: Kind) -> None:
        self.opened = Opened(SOURCES[context.source], (), context)
        self.kind = kind

    def __call__(self, batch: dict[str, list[str]]) -> dict[str, list[str]]:
        return {"verdict": [json.dumps(self._verdict(json.loads(text))) for text in batch["row"]]}

    def _verdict(self, raw: Json) -> Json:
        problem = raw.pop("problem")
        row = RawRow(**raw, problem=tuple(problem) if problem else None)
        outcome = judge(row, self.opened)
        verdict: Json = {"where": row.where, "file": row.file}
        if outcome.rejected is not None:
            rejected = outcome.rejected
            return verdict | {"reason": rejected.reason, "detail": rejected.detail, "had_calls": holds_calls(row.value)}
        lines = [json.dumps(line_of(record), ensure_ascii=False) for record in getattr(outcome.usable, self.kind)]
        tally = Tally.of(outcome.usable)
        name = self.opened.source.identity(row)
        content = digest(row.value) if name else ""
        return verdict | {"id": name, "content": content, "lines": lines, "tally": vars(tally)}


def judged_lines(opened: Opened, kind: Kind, census: Census, max_rows: int | None = None) -> Iterator[str]:
    """The lines of all usable records of a kind; the census is filled as they stream by.

    Args:
        opened: An opened source; its files must be readable from all nodes.
        kind: What to write of each row.
        census: Counts every row.
        max_rows: Stop behind this many rows, usable or not.
    """
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    ray.data.DataContext.get_current().enable_progress_bars = False
    for row in opened.refused:
        census.count_rejected(*row.problem, row.where)
    files = [{"path": str(Path(file).absolute())} for file in opened.files]
    if not files:
        return
    verdicts = (
        ray.data.from_items(files, override_num_blocks=len(files))
        .map_batches(_read, batch_size=1, fn_kwargs={"name": opened.source.name})
        .map_batches(
            Judge,
            batch_size=BATCH_ROWS,
            fn_constructor_args=(opened.context, kind),
            concurrency=max(1, (os.cpu_count() or 2) - 1),
            num_cpus=1,
        )
    )
    seen: set[int] = set()
    for row in islice(verdicts.iter_rows(), max_rows):
        yield from _count(json.loads(row["verdict"]), census, seen)


def _count(verdict: Json, census: Census, seen: set[int]) -> list[str]:
    """The lines of one verdict, none where it is a rejection or comes twice."""
    if "reason" in verdict:
        census.count_rejected(verdict["reason"], verdict["detail"], verdict["where"], verdict["had_calls"])
        return []
    name = verdict["id"]
    number = number_of_row(seen, verdict["file"], name, verdict["content"]) if name else 1
    if not number:
        census.count_rejected("duplicate_id", name, verdict["where"])
        return []
    tally = verdict["tally"]
    census.count_usable(Tally(**{**tally, "tools": tuple(tally["tools"]), "repairs": tuple(tally["repairs"])}))
    return verdict["lines"] if number == 1 else [_renamed(line, name, number) for line in verdict["lines"]]


def _renamed(line: str, name: str, number: int) -> str:
    """A record's line under the id of a row that is not the first of its id."""
    record = json.loads(line)
    key = next(k for k in ("id", "task_id", "row_id") if k in record)
    return json.dumps({**record, key: record[key].replace(name, f"{name}#{number}", 1)}, ensure_ascii=False)


def _read(batch: dict[str, list[str]], name: str) -> Iterator[dict[str, list[str]]]:
    """One file -> batches of its raw rows as JSON text, never more than one batch in memory."""
    source = SOURCES[name]
    rows: list[str] = []
    for path in batch["path"]:
        for row in read_rows(Opened(source, (Path(path),), Context(name))):
            rows.append(json.dumps(vars(row)))
            if len(rows) >= BATCH_ROWS:
                yield {"row": rows}
                rows = []
    if rows:
        yield {"row": rows}
