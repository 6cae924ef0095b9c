"""Rows come out of every container; what is no data says what it is; traps cost one row and bounded memory."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import random
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import datasets
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest

from rayplay.data import columns, reading, unpacking
from rayplay.data.folders import find
from rayplay.data.reading import rows_of
from rayplay.data.sources import open_source, read_opened
from rayplay.errors import DataError

TOOL = {"name": "dew_point", "parameters": {"type": "object", "properties": {"town": {"type": "string"}}}}


def conversation(n):
    return {
        "messages": [
            {"role": "user", "content": f'Dew point of town {n}; "now", please'},
            {"role": "assistant", "tool_calls": [{"name": "dew_point", "arguments": {"town": f"T{n}"}}]},
            {"role": "tool", "content": '{"celsius": 7.5}'},
            {"role": "assistant", "content": "7.5 °C"},
        ],
        "tools": [TOOL],
    }


ROWS = [conversation(n) for n in range(5)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
FLAT = [{key: json.dumps(value) for key, value in row.items()} for row in ROWS]


def tar_of(members, mode):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_of(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def parquet_of(rows, **how):
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out, **how)
    return out.getvalue()


def feather_of(rows, **how):
    out = io.BytesIO()
    pyarrow.feather.write_feather(pyarrow.Table.from_pylist(rows), out, **how)
    return out.getvalue()


def csv_of(rows, delimiter=",", written=json.dumps):
    quoted = [[f'"{written(row[key])}"'.replace('"', '""')[1:-1] for key in ("messages", "tools")] for row in rows]
    return "\n".join(delimiter.join(cells) for cells in (["messages", "tools"], *quoted)).encode()


ARRAY = json.dumps(ROWS, indent=1).encode()
PARTS = {
    "set/a.jsonl": LINES[: LINES.index(b"\n") + 1],
    "set/b.json": json.dumps(ROWS[1:]).encode(),
    "set/.hidden": b"x",
}
CONTAINERS = {
    "rows.jsonl": LINES,
    "marked.jsonl": b"\xef\xbb\xbf" + LINES,
    "windows.jsonl": LINES.replace(b"\n", b"\r\n"),
    "no_suffix": LINES,
    "array.json": ARRAY,
    "pretty.json": "\n".join(json.dumps(row, indent=2) for row in ROWS).encode(),
    "ids.json": json.dumps({f"row {n}": row for n, row in enumerate(ROWS)}).encode(),
    "gz.jsonl.gz": gzip.compress(LINES),
    "unnamed_gz.jsonl": gzip.compress(LINES),
    "named_gz.jsonl.gz": LINES,
    "twice.jsonl.gz.gz": gzip.compress(gzip.compress(LINES)),
    "two_members.jsonl.gz": gzip.compress(LINES[:100]) + gzip.compress(LINES[100:]),
    "bz2.json.bz2": bz2.compress(ARRAY),
    "xz.jsonl.xz": lzma.compress(LINES),
    "xz_twice.jsonl.xz": lzma.compress(LINES[:70]) + lzma.compress(LINES[70:]),
    "zst.jsonl.zst": pyarrow.compress(LINES, codec="zstd", asbytes=True),
    "lz4.json.lz4": pyarrow.compress(ARRAY, codec="lz4", asbytes=True),
    "zip.zip": zip_of({**PARTS, "__MACOSX/._a.jsonl": b"\x00\x05"}),
    "zip_of_gz.zip": zip_of({"a.jsonl.gz": gzip.compress(LINES)}),
    "zip_of_parquet.zip": zip_of({"a.parquet": parquet_of(FLAT)}),
    "tar.tar": tar_of(PARTS, "w"),
    "tar.tgz": tar_of(PARTS, "w:gz"),
    "tar.tar.xz": tar_of(PARTS, "w:xz"),
    "tar_of_parquet.tar.gz": tar_of({"a.parquet": parquet_of(FLAT)}, "w:gz"),
    "parquet.parquet": parquet_of(FLAT, row_group_size=2),
    "brotli.parquet": parquet_of(FLAT, compression="brotli"),
    "feather.feather": feather_of(FLAT),
    "feather_zstd.arrow": feather_of(FLAT, compression="zstd"),
    "comma.csv": csv_of(ROWS),
    "semicolon.csv": b"\xef\xbb\xbf" + csv_of(ROWS, ";"),
    "tabs.tsv": csv_of(ROWS, "\t"),
    "python.csv": csv_of(ROWS, written=repr),
    "csv.csv.gz": gzip.compress(csv_of(ROWS)),
    "data.json": json.dumps({"version": 2, "data": ROWS}).encode(),
    "splits.json": json.dumps({"train": ROWS[:3], "test": ROWS[3:], "note": "x"}, indent=1).encode(),
    "examples.jsonl": json.dumps({"examples": ROWS}).encode(),
    "conversations.json": json.dumps({"conversations": ROWS}).encode(),
    "shared_tools.json": json.dumps({"rows": [{"messages": r["messages"]} for r in ROWS], "tools": [TOOL]}).encode(),
    "hub_rows.json": json.dumps(
        {"features": [], "rows": [{"row_idx": n, "row": r, "truncated_cells": []} for n, r in enumerate(ROWS)]}
    ).encode(),
}  # fmt: skip


def written(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def problems_of(path):
    return [row.problem for row in rows_of(path) if row.problem]


@pytest.mark.parametrize("name", CONTAINERS)
def test_rows_come_out_of_every_container(tmp_path, name):
    opened = open_source(written(tmp_path, name, CONTAINERS[name]))
    usable = [outcome.usable for outcome in read_opened(opened)]
    assert opened.source.name == "openai-jsonl"
    calls = [u.demonstrations[0].messages[1].tool_calls[0].arguments if u else None for u in usable]
    assert calls == [{"town": f"T{n}"} for n in range(5)]


@pytest.mark.parametrize("splits", [False, True])
def test_a_folder_of_save_to_disk_is_read_without_what_lies_next_to_its_rows(tmp_path, splits):
    saved = datasets.Dataset.from_list(FLAT)
    saved = datasets.DatasetDict({"train": saved, "test": saved}) if splits else saved
    saved.save_to_disk(str(tmp_path / "saved"))
    written(tmp_path, "saved/cache-0a1b.arrow", b"a cache of map()")
    opened = open_source(tmp_path / "saved")
    outcomes = list(read_opened(opened))
    assert len(outcomes) == 5 * (1 + splits) and all(o.usable for o in outcomes)
    assert {Path(name).name for name in opened.left_out} >= {"dataset_info.json", "state.json", "cache-0a1b.arrow"}


def test_addresses_name_the_file_the_member_and_the_line(tmp_path):
    assert [r.where for r in rows_of(written(tmp_path, "a.zip", zip_of(PARTS)), "a.zip")][:2] == [
        "a.zip/set/a.jsonl:1",
        "a.zip/set/b.json:1",
    ]
    wrapped = written(tmp_path, "w.json", json.dumps({"data": ROWS}, indent=0).encode())
    assert len({row.line for row in rows_of(wrapped)}) == len(ROWS)


def test_a_large_document_is_read_row_by_row(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 2000)
    monkeypatch.setattr(reading, "_CHUNK", 64)
    rows = [*ROWS, {"messages": "x" * 3000}, *ROWS]
    path = written(tmp_path, "large.json", json.dumps({"about": {"a": 1}, "data": rows, "more": 2}).encode())
    found = list(rows_of(path))
    assert [row.value for row in found if not row.problem] == [*ROWS, *ROWS]
    assert [row.problem[0] for row in found if row.problem] == ["too_large"]


DOCUMENTS = {
    "one line of objects": {"request": {"a": 1, "b": 2}, "response": {"c": 3, "d": 4}},
    "an object under each side": {"input": {"x": 1, "y": 2}, "preferred": {"x": 2, "z": 1}},
    "a row with a list of items": {"query": "q", "items": [{"n": 1}], "answer": "a"},
    "a row with messages": {"id": 1, "messages": [{"role": "user", "content": "x"}]},
    "turns under data": {"data": [{"role": "user", "content": "x"}], "id": 3},
}


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_single_row_of_objects_is_no_mapping_and_no_wrapper(tmp_path, document, suffix):
    path = written(tmp_path, f"one.{suffix}", json.dumps(document).encode())
    assert [row.value for row in rows_of(path)] == [document]


def test_the_messages_of_one_conversation_are_one_row(tmp_path):
    messages = ROWS[0]["messages"]
    whole = written(tmp_path, "a.json", json.dumps(messages, indent=1).encode())
    lines = written(tmp_path, "b.jsonl", (json.dumps(messages) + "\n").encode() * 2)
    named = written(tmp_path, "c.json", json.dumps({"c1": messages, "c2": messages}).encode())
    assert [row.value for row in rows_of(whole)] == [{"messages": messages}]
    assert [row.value for row in rows_of(lines)] == [{"messages": messages}] * 2
    assert [(row.key, row.value) for row in rows_of(named)] == [(k, {"messages": messages}) for k in ("c1", "c2")]


def sqlite_file(folder):
    path = folder / "rows.db"
    with sqlite3.connect(path) as base:
        base.execute("create table rows (a)")
    return path.read_bytes()


NOISE = random.Random(5).randbytes(4000)
NO_DATA = {
    "pointer.jsonl": (b"version https://git-lfs.github.com/spec/v1\noid sha256:77\nsize 9\n", "git lfs pull"),
    "pointer.parquet": (b"version https://git-lfs.github.com/spec/v1\noid sha256:77\nsize 9\n", "git lfs pull"),
    "login.json": (b"\n<!doctype html>\n<html><body>Sign in</body></html>", "web page"),
    "error.jsonl": (b"<HTML><HEAD><TITLE>403", "logged in"),
    "feed.json": (b'<?xml version="1.0"?><rows><row/></rows>', "XML"),
    "book.xlsx": (zip_of({"[Content_Types].xml": b"x", "xl/workbook.xml": b"x"}), "Excel.*CSV"),
    "book.csv": (zip_of({"[Content_Types].xml": b"x", "xl/workbook.xml": b"x"}), "Excel.*CSV"),
    "rows.pkl": (pickle.dumps(ROWS), "pickle.*never loaded"),
    "rows.pt": (zip_of({"archive/data.pkl": pickle.dumps(ROWS)}), "pickle.*never loaded"),
    "wide.jsonl": (LINES.decode().encode("utf-16"), "UTF-16.*iconv"),
    "wide_le.json": (ARRAY.decode().encode("utf-16-le"), "UTF-16.*iconv"),
    "paper.pdf": (b"%PDF-1.7 ...", "PDF"),
    "picture.json": (b"\x89PNG\r\n\x1a\n....", "picture"),
    "noise.jsonl": (b"\x01\x02" + NOISE, "binary file"),
    "empty.jsonl": (b"", "empty"),
    "blank.jsonl": (b"\n \n\n", "empty"),
    "cut.jsonl.gz": (gzip.compress(NOISE.hex().encode())[:-900], "cut off.*again"),
    "cut.jsonl.xz": (lzma.compress(NOISE.hex().encode())[:-900], "cut off.*again"),
    "cut.jsonl.zst": (pyarrow.compress(NOISE, codec="zstd", asbytes=True)[:-900], "again"),
    "cut.parquet": (parquet_of(FLAT)[:-60], "again|corrupted|not a parquet"),
    "cut.zip": (zip_of(PARTS)[:-40], "again"),
    "secret.zip": (None, "encrypted"),
}


@pytest.mark.parametrize("name", NO_DATA)
def test_what_is_no_data_says_what_it_is_and_what_to_do(tmp_path, name):
    data, message = NO_DATA[name]
    if data is None:
        data = bytearray(zip_of({"a.jsonl": LINES}))
        data[6] |= 1  # the flag of encryption, in the member's header and in the directory
        data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(DataError, match=f"(?s)no known format.*{message}"):
        open_source(written(tmp_path, name, bytes(data)))


def test_an_sqlite_database_is_named(tmp_path):
    with pytest.raises(DataError, match="SQLite"):
        open_source(written(tmp_path, "rows.jsonl", sqlite_file(tmp_path)))


def test_rows_before_the_cut_are_kept_and_the_cut_is_told(tmp_path):
    rows = b"".join(json.dumps({"x": random.Random(n).randbytes(99).hex()}).encode() + b"\n" for n in range(300))
    array = b"[" + b",".join(rows.splitlines()) + b"]"
    for name, data in (("a.jsonl.gz", rows), ("b.json.gz", array), ("c.json.gz", b'{"data": ' + array + b"}")):
        found = list(rows_of(written(tmp_path, name, gzip.compress(data)[:-2000])))
        assert len(found) > 100 and [bool(row.problem) for row in found[-2:]] == [False, True], name
        assert "cut off" in found[-1].problem[1]


SHAPES = {
    '{"text": "<|im_start|>user\\nhi<|im_end|>"}': "rendered.*rendered from",
    '{"prompt": "[INST] hi [/INST] hello"}': "rendered",
    '{"messages": [{"role": "narrator", "content": "x"}]}': "unknown roles: 'narrator'",
    '{"dialogue": [{"speaker": "alice", "text": "x"}, {"speaker": "bob", "text": "y"}]}': "'alice', 'bob'",
    '{"input_ids": [1, 2], "labels": [1, 2]}': "token ids",
    '{"messages": {"0": [], "1": []}, "tools": {"0": 1, "1": 2}}': "orient",
    '{"problem": "1+1?", "solution": "2"}': "name them prompt and completion",
    '{"text": "Once upon a time"}': "plain text",
    '{"a": 1, "b": 2}': "keys a, b",
    "[1, 2]": "int|list",
}


@pytest.mark.parametrize("line", SHAPES)
def test_rows_of_no_known_format_are_described_with_an_example_of_the_right_one(tmp_path, line):
    with pytest.raises(DataError, match=SHAPES[line]) as raised:
        open_source(written(tmp_path, "rows.jsonl", f"{line}\n{line}\n".encode()))
    assert '{"messages": [{"role": "user"' in str(raised.value)


def test_a_table_without_usable_columns_names_its_columns(tmp_path):
    with pytest.raises(DataError, match="keys town, celsius"):
        open_source(written(tmp_path, "weather.csv", b"town,celsius\nCork,9\n"))


def test_a_broken_line_of_a_table_costs_only_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 3000)
    lines = csv_of(ROWS[:2]).split(b"\n")
    bad = [b"a,b,c", b"\xff\xfe,[]", b"x" * 4000, b'"' + b"y" * 2000 + b"," + b"z" * 2000]
    found = list(rows_of(written(tmp_path, "rows.csv", b"\n".join([*lines, *bad[:3], lines[1]]))))
    assert [row.problem[0] if row.problem else "" for row in found] == [
        "",
        "",
        "broken_csv",
        "not_utf8",
        "too_large",
        "",
    ]
    assert [row.line for row in found] == [2, 3, 4, 5, 6, 7]


# traps


def test_a_bomb_of_any_packing_ends_with_one_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "UNPACKED_BYTES", 1 << 20)
    monkeypatch.setattr(unpacking, "UNPACKED_TIMES", 10)
    flood = (LINES + b"\n" * 3000) * 2000
    for name, data in {
        "a.jsonl.gz": gzip.compress(flood),
        "b.jsonl.bz2": bz2.compress(flood),
        "c.jsonl.xz": lzma.compress(flood),
        "d.jsonl.zst": pyarrow.compress(flood, codec="zstd", asbytes=True),
        "e.jsonl.gz": gzip.compress(gzip.compress(flood)),
        "f.zip": zip_of({"a.jsonl": flood}),
        "g.zip": zip_of({f"{n}.jsonl": flood[: len(flood) // 8] for n in range(8)}),
        "h.tar.gz": tar_of({"a.jsonl": flood}, "w:gz"),
        "i.zip": zip_of({"a.parquet": flood}),
    }.items():
        found = list(rows_of(written(tmp_path, name, data)))
        told = [row.problem for row in found if row.problem]
        assert told and told[-1][0] == "too_large" and "unpacks to far more" in told[-1][1], name
        assert sum(len(json.dumps(row.value)) for row in found) < 3 << 20


def test_an_archive_of_too_many_files_or_of_archives_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_MEMBERS", 3)
    many = {f"{n}.jsonl": LINES for n in range(5)}
    assert problems_of(written(tmp_path, "a.zip", zip_of(many)))[-1][0] == "too_large"
    assert problems_of(written(tmp_path, "a.tar", tar_of(many, "w")))[-1][0] == "too_large"
    inner = zip_of({"a.jsonl": LINES})
    assert "unpack it first" in problems_of(written(tmp_path, "b.zip", zip_of({"inner.zip": inner})))[0][1]
    deep = LINES
    for _ in range(6):
        deep = gzip.compress(deep)
    assert "packed more than" in problems_of(written(tmp_path, "c.jsonl.gz", deep))[0][1]


@pytest.mark.parametrize("flood", [b'{"x": "' + b"a" * 90_000, b"\n" * 90_000, b"[" * 90_000])
def test_a_line_without_end_and_blank_lines_without_end_are_given_up(tmp_path, monkeypatch, flood):
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 4000)
    monkeypatch.setattr(reading, "MAX_SKIPPED_BYTES", 20_000)
    monkeypatch.setattr(reading, "MAX_BLANK_LINES", 500)
    monkeypatch.setattr(reading, "_CHUNK", 1000)
    found = list(rows_of(written(tmp_path, "a.jsonl", b'{"n": 1}\n{"n": 2}\n' + flood)))
    assert [row.value for row in found[:2]] == [{"n": 1}, {"n": 2}]
    assert {row.problem[0] for row in found[2:]} == {"too_large"} and len(found) <= 4


def test_a_value_without_end_in_a_document_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 4000)
    monkeypatch.setattr(reading, "MAX_SKIPPED_BYTES", 20_000)
    monkeypatch.setattr(reading, "_CHUNK", 1000)
    for n, flood in enumerate((b'{"n": "' + b"a" * 90_000, b"[" + b"[1]," * 30_000)):
        found = list(rows_of(written(tmp_path, f"{n}.json", b'[{"n": 1},\n' + flood + b'"}, {"n": 2}]')))
        assert found[0].value == {"n": 1}
        assert found[1].problem[0] == "too_large" and "left out" in found[1].problem[1] and len(found) == 2


def test_more_rows_than_bytes_are_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_ROWS", 300)
    packed = gzip.compress(b'{"n": 1}\n' + b"1\n" * 50_000)
    found = list(rows_of(written(tmp_path, "a.jsonl.gz", packed)))
    assert found[0].value == {"n": 1} and len(found) == max(300, len(packed)) + 1
    assert found[-1].problem[0] == "too_large" and "more rows than bytes" in found[-1].problem[1]


def dictionary_bomb(entries, size):
    indices = pyarrow.array([0] * entries, pyarrow.int32())
    return pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(["b" * size]))


def test_a_small_parquet_file_of_gigantic_rows_costs_rows_and_not_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 100_000)
    monkeypatch.setattr(columns, "MEMORY_BYTES", 512 << 20)
    table = pyarrow.table({"messages": pyarrow.chunked_array([dictionary_bomb(40, 24 << 20)]), "n": list(range(40))})
    path = tmp_path / "bomb.parquet"
    pyarrow.parquet.write_table(table, path, compression="zstd")
    assert path.stat().st_size < 20_000
    found = list(rows_of(path))
    assert found and {row.problem[0] for row in found} == {"too_large"}


def test_one_gigantic_cell_leaves_the_other_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 100_000)
    rows = [{"text": "x"}, {"text": "y" * 300_000}, {"text": "z"}]
    found = list(rows_of(written(tmp_path, "a.parquet", parquet_of(rows, row_group_size=1))))
    assert [row.value for row in found] == [{"text": "x"}, None, {"text": "z"}]
    assert found[1].problem[0] == "too_large" and found[1].line == 2


def test_a_decoder_that_dies_is_a_problem_of_the_file(tmp_path, monkeypatch):
    path = written(tmp_path, "a.parquet", parquet_of(FLAT))
    child = written(tmp_path, "child.py", b"import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(columns, "_CHILD", child)
    assert problems_of(path)[0][0] == "unreadable_file"
    monkeypatch.setattr(columns, "SECONDS_WITHOUT_A_ROW", 1)
    written(tmp_path, "child.py", b"import signal, sys, time; signal.alarm(int(sys.argv[5])); time.sleep(99)")
    assert problems_of(path)[0][0] == "too_large"


def test_values_of_columns_that_json_does_not_have_are_texts(tmp_path):
    table = pyarrow.table(
        {
            "raw": pyarrow.array([b'{"a": 1}']),
            "map": pyarrow.array([[("k", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
            "when": pyarrow.array([0], pyarrow.date32()),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert [r.value for r in rows_of(tmp_path / "a.parquet")] == [
        {"raw": '{"a": 1}', "map": {"k": 1}, "when": "1970-01-01"}
    ]


# folders


def test_links_that_lead_out_of_a_folder_are_refused_and_told(tmp_path):
    secret = written(tmp_path, "home/private.jsonl", LINES)
    written(tmp_path, "set/train.jsonl", LINES)
    written(tmp_path, "set/sub/more.jsonl", LINES)
    (tmp_path / "set/stolen.jsonl").symlink_to(secret)
    (tmp_path / "set/inside.jsonl").symlink_to("sub/more.jsonl")
    (tmp_path / "set/nowhere.jsonl").symlink_to("gone.jsonl")
    (tmp_path / "set/folder").symlink_to(tmp_path / "home")
    outcomes = list(read_opened(open_source(tmp_path / "set")))
    assert sum(bool(o.usable) for o in outcomes) == 15
    told = {Path(o.row.file).name: o.rejected.detail for o in outcomes if o.rejected}
    assert set(told) == {"stolen.jsonl", "nowhere.jsonl", "folder"}
    assert "leads out of the folder" in told["stolen.jsonl"] and "leads out" in told["folder"]


def test_links_of_the_hubs_cache_are_followed(tmp_path):
    blob = written(tmp_path, "datasets--a--b/blobs/0f", LINES)
    snapshot = tmp_path / "datasets--a--b/snapshots/rev"
    snapshot.mkdir(parents=True)
    (snapshot / "train.jsonl").symlink_to(blob)
    assert sum(bool(o.usable) for o in read_opened(open_source(snapshot))) == 5


def test_files_about_the_rows_are_no_rejected_rows(tmp_path):
    written(tmp_path, "data/train-00000-of-00001.parquet", parquet_of(FLAT))
    written(tmp_path, "README.md", b"---\nlicense: cc-by-4.0\ntags: [x]\n---\n# rows\n")
    written(tmp_path, "dataset_infos.json", b'{"default": {"features": {}}}')
    written(tmp_path, "notes.json", b'{"who": "me", "when": "then"}')
    written(tmp_path, ".git/config.json", b"{}")
    written(tmp_path, "picture.png", b"\x89PNG")
    opened = open_source(tmp_path)
    outcomes = list(read_opened(opened))
    assert len(outcomes) == 5 and all(o.usable for o in outcomes)
    assert set(opened.left_out) == {"README.md", "dataset_infos.json", "notes.json", "picture.png"}
    assert opened.context.licence == "CC-BY-4.0"


@pytest.mark.parametrize(
    "card", ["license: mit", "license: 'mit'", "license:\n- mit\n- apache-2.0", "pretty: x\nlicense: MIT"]
)
def test_the_licence_of_a_data_card_is_read(tmp_path, card):
    written(tmp_path, "README.md", f"---\n{card}\n---\ntext\nlicense: gpl-3.0\n".encode())
    written(tmp_path, "a.jsonl", LINES)
    assert open_source(tmp_path).context.licence == "MIT"


def test_rows_without_a_stated_licence_have_none(tmp_path):
    written(tmp_path, "README.md", b"# My rows\n\nlicense: mit, perhaps\n")
    assert open_source(written(tmp_path, "a.jsonl", LINES)).context.licence == ""


@pytest.mark.parametrize(
    "held",
    [
        [TOOL],
        {"tools": [TOOL]},
        [{"type": "function", "function": TOOL}],
        {"dew_point": {"parameters": TOOL["parameters"]}},
    ],
)
@pytest.mark.parametrize("as_file", [True, False])
def test_tools_in_a_file_of_their_own_serve_all_rows(tmp_path, held, as_file):
    bare = "".join(json.dumps({"messages": row["messages"]}) + "\n" for row in ROWS)
    path = written(tmp_path, "train.jsonl", bare.encode())
    written(tmp_path, "tools.json", json.dumps(held).encode())
    outcomes = list(read_opened(open_source(path if as_file else tmp_path)))
    assert len(outcomes) == 5
    assert all([tool.name for tool in o.usable.demonstrations[0].tools] == ["dew_point"] for o in outcomes)


def test_tools_can_be_named_and_own_tools_win(tmp_path):
    other = {"name": "dew_point", "description": "another", "parameters": TOOL["parameters"]}
    named = written(tmp_path, "defs/mine.json", json.dumps([other]).encode())
    bare = {"messages": ROWS[0]["messages"]}
    path = written(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, (bare, ROWS[1]))).encode())
    usable = [o.usable for o in read_opened(open_source(path, options={"tools": str(named)}))]
    assert [u.demonstrations[0].tools[0].description for u in usable] == ["another", ""]
    with pytest.raises(DataError, match="no such file"):
        open_source(path, options={"tools": str(tmp_path / "nowhere.json")})


def test_archives_are_read_where_a_folder_holds_nothing_else(tmp_path):
    written(tmp_path, "a.zip", zip_of(PARTS))
    assert [f.name for f in find(tmp_path).files] == ["a.zip"]
    written(tmp_path, "a.jsonl", LINES)
    found = find(tmp_path)
    assert [f.name for f in found.files] == ["a.jsonl"] and "archive" in found.left_out["a.zip"]


def test_what_a_folder_without_data_holds_is_told(tmp_path):
    written(tmp_path, "sheet.xlsx", b"PK")
    with pytest.raises(DataError, match=r"no data file in it.*sheet.xlsx \(a spreadsheet; save it as CSV"):
        find(tmp_path)
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match="neither a regular file nor a folder"):
        find(tmp_path / "pipe.jsonl")
