"""Shapes of files: how rows are packed. The rows are OpenAI chat lines."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import pyarrow
import pyarrow.parquet

from tests.unit.data_shapes.greenhouse import OPENAI, TALKED
from tests.unit.data_shapes.shape import Shape, lines

_ROWS = [OPENAI, TALKED]
_FLAT = [{key: json.dumps(value) for key, value in row.items()} for row in _ROWS]


def _zip(rows):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("set/train.jsonl", lines(rows))
    return out.getvalue()


def _tar(rows):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        about = tarfile.TarInfo("set/train.jsonl")
        about.size = len(lines(rows))
        archive.addfile(about, io.BytesIO(lines(rows)))
    return out.getvalue()


def _parquet(rows):
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), out)
    return out.getvalue()


def _stream(rows):
    table, out = pyarrow.Table.from_pylist(list(rows)), io.BytesIO()
    with pyarrow.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _csv(rows, delimiter=","):
    cells = [[json.dumps(row[key]).replace('"', '""') for key in ("messages", "tools")] for row in rows]
    body = [delimiter.join(f'"{cell}"' for cell in row) for row in cells]
    return "\n".join([delimiter.join(("messages", "tools")), *body]).encode()


def _document(key):
    return lambda rows: json.dumps({"version": 1, key: list(rows)}, indent=1).encode()


SHAPES = (
    Shape("JSON array", _ROWS, "rows.json", lambda rows: json.dumps(rows).encode()),
    Shape(
        "objects written over several lines",
        _ROWS,
        "rows.json",
        lambda rows: "\n".join(json.dumps(r, indent=2) for r in rows).encode(),
    ),
    Shape(
        "mapping id to row",
        _ROWS,
        "rows.json",
        lambda rows: json.dumps({f"row-{n}": r for n, r in enumerate(rows)}).encode(),
    ),
    Shape('{"data": [...]}', _ROWS, "rows.json", _document("data")),
    Shape('{"train": [...]}', _ROWS, "rows.json", _document("train")),
    Shape(
        "answer of the hub's rows API",
        _ROWS,
        "rows.json",
        lambda rows: json.dumps(
            {"features": [], "rows": [{"row_idx": n, "row": r} for n, r in enumerate(rows)]}
        ).encode(),
    ),
    Shape(
        "one conversation as a file",
        [OPENAI["messages"][1:2] + OPENAI["messages"][-1:]],
        "chat.json",
        lambda rows: json.dumps(rows[0], indent=1).encode(),
    ),
    Shape("JSON lines with a byte order mark", _ROWS, pack=lambda rows: b"\xef\xbb\xbf" + lines(rows)),
    Shape("gzip", _ROWS, "rows.jsonl.gz", lambda rows: gzip.compress(lines(rows))),
    Shape("bzip2", _ROWS, "rows.jsonl.bz2", lambda rows: bz2.compress(lines(rows))),
    Shape("xz", _ROWS, "rows.jsonl.xz", lambda rows: lzma.compress(lines(rows))),
    Shape("zstd", _ROWS, "rows.jsonl.zst", lambda rows: pyarrow.compress(lines(rows), codec="zstd", asbytes=True)),
    Shape("zip archive", _ROWS, "rows.zip", _zip),
    Shape("tar archive", _ROWS, "rows.tar.gz", _tar),
    Shape(
        "Parquet in the hub's layout",
        _FLAT,
        "data/train-00000-of-00001.parquet",
        _parquet,
        {"README.md": b"---\nlicense: mit\n---\n"},
    ),
    Shape(
        "Arrow stream (save_to_disk)",
        _FLAT,
        "data-00000-of-00001.arrow",
        _stream,
        {"state.json": b"{}", "dataset_info.json": b"{}"},
    ),
    Shape("CSV with columns of JSON", _ROWS, "rows.csv", _csv),
    Shape("CSV with semicolons", _ROWS, "rows.csv", lambda rows: _csv(rows, ";")),
    Shape("TSV", _ROWS, "rows.tsv", lambda rows: _csv(rows, "\t")),
    Shape("file that is cut off", _ROWS, "rows.jsonl.gz", lambda rows: gzip.compress(lines(rows))[:-30]),
    Shape("Git LFS pointer", file="rows.jsonl", pack=lambda rows: b"version https://git-lfs.github.com/spec/v1\n"),
    Shape("web page saved in place of data", file="rows.jsonl", pack=lambda rows: b"<!doctype html><html></html>"),
    Shape("text that a template has rendered", [{"text": "<|im_start|>user\nHi<|im_end|>"}]),
)
