"""Parquet or Arrow -> JSON lines on stdout, in a process of its own that the kernel ends where a file is a trap.

1,500 bytes of Parquet can unpack to gigabytes, and a broken file can crash the decoder: memory and the seconds without
one readable row are limits of this process. A line begins with `r` (a row) or `p` (a problem: row number, reason,
detail). Runs by its path and imports nothing of the package.
"""

import json
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

_ROWS = 256
_BATCH_BYTES = 32 << 20
_MEMORY = (MemoryError, pyarrow.ArrowMemoryError)


def main(path: str, kind: str, max_row: int, memory: int, seconds: int) -> None:
    """Write all rows of the file."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pyarrow.set_cpu_count(1)
    out = sys.stdout
    number = 0
    signal.alarm(seconds)
    for batch in _parquet(path) if kind == "parquet" else _arrow(path):
        if isinstance(batch, tuple):
            number += batch[0]
            out.write(_problem(number, *batch[1:]))
            continue
        readable = False
        for row in _rows(batch, max_row):
            number += 1
            line = _line(row, number, max_row)
            out.write(line)
            readable = readable or line[0] == "r"
        if readable:
            signal.alarm(seconds)
    out.flush()


def _rows(batch: pyarrow.RecordBatch, max_row: int) -> Iterator[Any]:
    """The rows of a batch; None for one that is too large (entries of a dictionary may come a million times)."""
    if batch.nbytes <= 4 * _BATCH_BYTES:
        try:
            yield from batch.to_pylist(maps_as_pydicts="lossy")
            return
        except _MEMORY:
            pass  # some row of it; each alone, then
    for n in range(batch.num_rows):
        one = batch.slice(n, 1)
        try:
            yield one.to_pylist(maps_as_pydicts="lossy")[0] if one.nbytes <= 8 * max_row else None
        except _MEMORY:
            yield None


def _line(row: Any, number: int, max_row: int) -> str:
    try:
        text = "" if row is None else json.dumps(_without_nulls(row), default=_text)
    except (ValueError, RecursionError) as error:
        return _problem(number, "broken_json", str(error))
    except _MEMORY:
        text = ""
    if not text or len(text) > max_row:
        return _problem(number, "too_large", f"more than {max_row} bytes in one row")
    return f"r{text}\n"


def _problem(number: int, reason: str, detail: str) -> str:
    return f"p{json.dumps([number, reason, detail])}\n"


def _parquet(path: str) -> Iterator[Any]:
    """Batches; (rows passed over, reason, detail) where rows cannot be decoded within the limits."""
    file = pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
    for group in range(file.metadata.num_row_groups):
        about = file.metadata.row_group(group)
        size = max(1, min(_ROWS, _BATCH_BYTES * max(about.num_rows, 1) // max(about.total_byte_size, 1)))
        done = 0
        while done < about.num_rows:
            try:
                for batch in _batches(file, group, size, done):
                    yield batch
                    done += batch.num_rows
                break
            except _MEMORY:
                if size == 1:
                    yield 1, "too_large", "decoding this row takes more memory than a row may"
                    left = about.num_rows - done - 1
                    if left:
                        yield left, "too_large", f"{left} rows behind a row that cannot be decoded are left out"
                    break
                size = 1


def _batches(file: pyarrow.parquet.ParquetFile, group: int, size: int, skip: int) -> Iterator[pyarrow.RecordBatch]:
    for batch in file.iter_batches(batch_size=size, row_groups=[group], use_threads=False):
        passed = min(skip, batch.num_rows)
        skip -= passed
        if passed < batch.num_rows:
            yield batch.slice(passed)


def _arrow(path: str) -> Iterator[Any]:
    """Batches of an Arrow file (Feather) or an Arrow stream (what `datasets` saves), mapped, not read."""
    with pyarrow.memory_map(path) as source:
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        if not is_file:
            for batch in pyarrow.ipc.open_stream(source):
                yield from _slices(batch)
            return
        reader = pyarrow.ipc.open_file(source)
        for n in range(reader.num_record_batches):
            yield from _slices(reader.get_batch(n))


def _slices(batch: pyarrow.RecordBatch) -> Iterator[pyarrow.RecordBatch]:
    size = max(1, min(_ROWS, _BATCH_BYTES * max(batch.num_rows, 1) // max(batch.nbytes, 1)))
    for start in range(0, batch.num_rows, size):
        yield batch.slice(start, size)


def _without_nulls(value: Any) -> Any:
    """Arrow gives every struct of a column the keys of all others, with nulls: a null key was not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]))
    except (OSError, pyarrow.ArrowException, *_MEMORY) as error:
        memory = isinstance(error, _MEMORY)
        detail = "decoding it takes more memory than a file may" if memory else f"{type(error).__name__}: {error}"
        sys.stdout.write(_problem(0, "too_large" if memory else "unreadable_file", detail[:300]))
