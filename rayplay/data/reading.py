"""Files on disk -> raw rows with file and line, streamed: one row is in memory at a time, however large the file.

JSON lines, JSON arrays, JSON objects (one document, or a mapping id -> row), gzip of these, and Parquet. A row that
cannot be read is yielded with its problem, never raised, and reading goes on behind it.
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow
import pyarrow.parquet

from rayplay.errors import DataError

MAX_ROW_BYTES = 16 * 1024 * 1024
_CHUNK = 1 << 20
_BOM_AND_BLANKS = b"\xef\xbb\xbf \t\r\n"
_ENDINGS = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".parquet")
# a string (to the end of the buffer, where it does not close) or a bracket
_STRUCTURE = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_STRING_REST = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
_BLANK = re.compile(r"\s*")
_GOES_ON = re.compile(r"\s*(?:[,\]}]|\Z)")
_LONGEST_TOKEN = 12  # `-Infinity` or an escaped surrogate pair, cut before its end
_DECODER = json.JSONDecoder(parse_constant=lambda word: _refuse(word))


@dataclass(frozen=True)
class RawRow:
    """One row as it stands in a file. `problem` is (reason, detail) where it could not be read.

    Attributes:
        key: The row's name, where the file is a mapping of names to rows.
    """

    value: Any
    file: str
    line: int
    key: str = ""
    problem: tuple[str, str] | None = None

    @property
    def where(self) -> str:
        """`file:line`, the address that people look up."""
        return f"{self.file}:{self.line}"


def is_data_name(name: str) -> bool:
    """Whether a file of that name may hold rows."""
    return name.lower().endswith(_ENDINGS)


def data_files(path: Path) -> list[Path]:
    """All files of a folder (at any depth) that may hold rows, in a fixed order; the file itself for a file.

    Raises:
        DataError: There is no such path, or nothing readable in it.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder; give a path, or a hub id like 'owner/name'")
    found = sorted(f for f in path.rglob("*") if f.is_file() and is_data_name(f.name))
    if not found:
        raise DataError(f"{path}: no data file in it; looked for {', '.join(_ENDINGS)}")
    return found


def rows_of(file: Path, name: str = "") -> Iterator[RawRow]:
    """The rows of one file. `name` is how addresses call it (default: its path)."""
    name = name or str(file)
    try:
        if file.name.lower().endswith(".parquet"):
            yield from _parquet_rows(file, name)
            return
        opener = gzip.open if file.name.lower().endswith(".gz") else open
        with opener(file, "rb") as stream:
            yield from _rows_by_shape(stream, name)
    except (OSError, EOFError, zlib.error, pyarrow.ArrowException) as error:
        yield RawRow(None, name, 0, problem=("unreadable_file", f"{type(error).__name__}: {error}"))


def whole_file(file: Path, name: str = "") -> RawRow:
    """A file of JSON lines that is one row: its value is the list of its lines' values."""
    name = name or str(file)
    lines: list[Any] = []
    for row in rows_of(file, name):
        if row.problem:
            return row
        lines.append(row.value)
    return RawRow(lines, name, 1) if lines else RawRow(None, name, 0, problem=("empty", "the file is empty"))


def _rows_by_shape(stream: BinaryIO, name: str) -> Iterator[RawRow]:
    head = stream.read(64).lstrip(_BOM_AND_BLANKS)
    stream.seek(0)
    if head[:1] not in (b"[", b"{") or _is_lines(stream):
        yield from _lines(stream, name)
    elif head.startswith(b"["):
        yield from _elements(stream, name)
    else:
        yield from _members(stream, name)


def _is_lines(stream: BinaryIO) -> bool:
    """Whether a text that begins with a bracket is JSON lines: its first line is a whole value, and more follows."""
    first = b""
    while not first.strip():
        first = stream.readline(MAX_ROW_BYTES + 1)
    follows = stream.read(4096).lstrip()
    stream.seek(0)
    if len(first) > MAX_ROW_BYTES or not follows:
        return False
    try:
        _DECODER.decode(first.decode("utf-8-sig", "replace").strip())
    except (ValueError, RecursionError):
        # a broken first line of objects; a document goes on with `"` or a bracket, an array with any value
        return first.lstrip(_BOM_AND_BLANKS).startswith(b"{") and follows.startswith(b"{")
    return True


def _lines(stream: BinaryIO, name: str) -> Iterator[RawRow]:
    number = 0
    while raw := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(raw) > MAX_ROW_BYTES:
            while not raw.endswith(b"\n") and (raw := stream.readline(_CHUNK)):
                pass
            yield RawRow(None, name, number, problem=("too_large", f"more than {MAX_ROW_BYTES} bytes in one line"))
            continue
        if not raw.strip():
            continue
        try:
            value = _DECODER.decode(raw.decode("utf-8-sig" if number == 1 else "utf-8").strip())
        except UnicodeDecodeError as error:
            yield RawRow(None, name, number, problem=("not_utf8", str(error)))
        except (ValueError, RecursionError) as error:
            yield RawRow(None, name, number, problem=("broken_json", f"{type(error).__name__}: {error}"))
        else:
            yield RawRow(value, name, number)


def _members(stream: BinaryIO, name: str) -> Iterator[RawRow]:
    """One JSON object: a mapping id -> row where every value is an object with several fields, else itself a row."""
    window = _Window(stream, is_mapping=True)
    window.skip("{")
    members: dict[str, Any] = {}
    rows_only = True
    first_line = window.line
    while window.goes_on("}", ',"'):
        line = window.line
        key = window.element()
        window.skip(":")
        value = key if key.problem else window.element()
        window.skip(",")
        if value.problem:
            yield RawRow(None, name, line, problem=value.problem)
            rows_only = rows_only and not members
            continue
        rows_only = rows_only and isinstance(value.value, dict) and len(value.value) > 1
        if rows_only and str(key.value).lower() not in _DOCUMENT_KEYS:
            yield RawRow(value.value, name, line, key=str(key.value))
        else:
            rows_only = False
            members[str(key.value)] = value.value
    if members:
        yield RawRow(members, name, first_line)
    yield from _rest(window, name)


# Keys whose object values are parts of one document, not rows of a mapping.
_DOCUMENT_KEYS = ("tree", "answer_generation", "forward_args", "function", "documentation", "metadata", "prompt", "win")


def _elements(stream: BinaryIO, name: str) -> Iterator[RawRow]:
    window = _Window(stream)
    window.skip("[")
    while window.goes_on("]", ","):
        line = window.line
        element = window.element()
        window.skip(",")
        yield RawRow(element.value, name, line, problem=element.problem)
    yield from _rest(window, name)


def _rest(window: "_Window", name: str) -> Iterator[RawRow]:
    """Values behind the end of a document: they should not be there, but they are not lost."""
    while window.peek():
        line = window.line
        element = window.element()
        yield RawRow(element.value, name, line, problem=element.problem)


@dataclass(frozen=True)
class _Element:
    value: Any = None
    problem: tuple[str, str] | None = None


class _Window:
    """A moving window over a JSON text: reads one value at a time, and finds the end of a broken or gigantic one."""

    def __init__(self, stream: BinaryIO, is_mapping: bool = False) -> None:
        self._is_mapping = is_mapping
        self._next_row: re.Pattern[str] | None = None
        # bytes that are no text stay half surrogates, which no record may hold
        self._text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
        self._buffer = ""
        self._at = 0
        self._step = _CHUNK
        self.line = 1

    def peek(self) -> str:
        """The next character that is not blank; "" at the end."""
        while True:
            end = _BLANK.match(self._buffer, self._at).end()
            self._advance(end)
            if self._at < len(self._buffer) or not self._more():
                return self._buffer[self._at : self._at + 1]

    def skip(self, mark: str) -> None:
        """Go over `mark` if it comes next."""
        if self.peek() == mark:
            self._advance(self._at + 1)

    def goes_on(self, end: str, further: str) -> bool:
        """Whether there is another element; goes over the end, and over one with any of `further` behind it."""
        while self.peek() == end:
            self.skip(end)
            if not self.peek() or self.peek() not in further:
                return False
            self.skip(",")
        return bool(self.peek())

    def element(self) -> _Element:
        """The next value, or why there is none; the window then stands behind it."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._buffer, self._at)
            except RecursionError:
                return self._jump(("broken_json", "nested too deeply"))
            except ValueError as error:
                if len(self._buffer) - self._at > MAX_ROW_BYTES:
                    return self._jump(("too_large", f"more than {MAX_ROW_BYTES} bytes in one row"))
                is_cut = _is_cut(error, len(self._buffer))
                if is_cut and self._more():
                    continue
                return self._recover(("broken_json", str(error)))
            if end == len(self._buffer) and self._more():
                continue  # a number may go on in the next chunk
            if end - self._at > MAX_ROW_BYTES:
                self._advance(end)
                return _Element(problem=("too_large", f"more than {MAX_ROW_BYTES} bytes in one row"))
            self._advance(end)
            if self._next_row is None and isinstance(value, dict) and value:
                self._next_row = _row_beginning(next(iter(value)), self._is_mapping)
            return _Element(value)

    def _recover(self, problem: tuple[str, str]) -> _Element:
        """Go behind a broken value: to where its brackets close, or to what looks like the next row before that."""
        while True:
            end = self._end_of_value()
            following = self._next_row.search(self._buffer, self._at + 1) if self._next_row else None
            if following and (end is None or following.start() < end - 1 or not _GOES_ON.match(self._buffer, end)):
                self._advance(following.end())
                return _Element(problem=problem)
            if end is not None or len(self._buffer) - self._at > MAX_ROW_BYTES or not self._more():
                return self._jump(problem)

    def _end_of_value(self) -> int | None:
        """Where the brackets of the value at hand close; None where they do not within the buffer."""
        depth = 0
        for match in _STRUCTURE.finditer(self._buffer, self._at):
            if match[0][0] == '"' and match.end() == len(self._buffer):
                return None  # the string may go on in the next chunk
            depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(match[0], 0)
            if depth <= 0:
                return match.end() if depth == 0 else match.start()
        return None

    def _jump(self, problem: tuple[str, str]) -> _Element:
        """Go behind the value at hand by its brackets, dropping what has been passed."""
        depth = 0
        while True:
            for match in _STRUCTURE.finditer(self._buffer, self._at):
                if match[0][0] == '"' and match.end() == len(self._buffer):
                    self._advance(match.end())
                    self._skip_string()
                    break
                depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(match[0], 0)
                if depth <= 0:
                    self._advance(max(match.end() if depth == 0 else match.start(), self._at + 1))
                    return _Element(problem=problem)
            else:
                self._advance(len(self._buffer))
            if self._at == len(self._buffer) and not self._more():
                return _Element(problem=problem)

    def _skip_string(self) -> None:
        """Go behind the end of a string that the buffer does not hold to its end."""
        while self._more():
            end = _STRING_REST.match(self._buffer, self._at).end()
            self._advance(end)  # a lone backslash at the end stays for the next chunk
            if self._buffer[end : end + 1] == '"':
                self._advance(end + 1)
                return

    def _more(self) -> bool:
        """Read on. The step doubles while one value does not end, so that decoding it again stays linear."""
        self._step = min(self._step * 2, MAX_ROW_BYTES) if self._at == 0 and self._buffer else _CHUNK
        chunk = self._text.read(self._step)
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        return bool(chunk)

    def _advance(self, end: int) -> None:
        self.line += self._buffer.count("\n", self._at, end)
        self._at = end


def _is_cut(error: ValueError, size: int) -> bool:
    """Whether a value may only be broken because the buffer ends within it."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.pos > size - _LONGEST_TOKEN or error.msg.startswith("Unterminated string")


def _row_beginning(key: str, in_mapping: bool) -> re.Pattern[str]:
    """What stands between two rows that begin with the same key, up to where the second one begins."""
    name = r'"(?:[^"\\]|\\.)*"\s*:\s*' if in_mapping else ""
    return re.compile(rf"[,}}\]]\s*(?={name}\{{\s*{re.escape(json.dumps(key, ensure_ascii=False))}\s*:)")


def _parquet_rows(file: Path, name: str) -> Iterator[RawRow]:
    number = 0
    for batch in pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=256):
        for value in batch.to_pylist():
            number += 1
            try:
                row = _DECODER.decode(json.dumps(_without_nulls(value), default=str))
            except (ValueError, RecursionError) as error:
                yield RawRow(None, name, number, problem=("broken_json", str(error)))
            else:
                yield RawRow(row, name, number)


def _without_nulls(value: Any) -> Any:
    """Arrow gives every struct of a column the keys of all others, with nulls: a null key was not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")
