"""Files on disk -> raw rows with file and line, streamed: one row is in memory at a time, however large the file.

JSON lines, JSON arrays, JSON objects (one document, lists that it wraps, or a mapping id -> row), CSV and TSV, Parquet
and Arrow, each also packed. A row that cannot be read is yielded with its problem, never raised, and reading goes on
behind it.
"""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from rayplay.data.columns import column_lines
from rayplay.data.documents import BROKEN, LARGE, Plan, is_conversation, may_be_row, plan_of, row_in, with_tools
from rayplay.data.file_kinds import is_columns
from rayplay.data.separated import ENDINGS as SEPARATED
from rayplay.data.separated import separated_rows
from rayplay.data.unpacking import UNPACKING_ERRORS, NotData, Part, damage, head_of, on_disk, parts_of

MAX_ROW_BYTES = 16 * 1024 * 1024
MAX_SKIPPED_BYTES = 256 << 20  # of a row that is too large; behind so much the rest of the file is given up
MAX_ROWS = 1_000_000  # of a file whose bytes are fewer: a row that takes less than a byte is packed to be a trap
MAX_BLANK_LINES = 1_000_000  # in a row
_CHUNK = 1 << 20
_BLOCK = 1 << 16
_BOM_AND_BLANKS = b"\xef\xbb\xbf \t\r\n"
_LINES = (".jsonl", ".ndjson")
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


def rows_of(file: Path, name: str = "") -> Iterator[RawRow]:
    """The rows of one file, those of all members of an archive. `name` is how addresses call it (default: its path)."""
    name = name or str(file)
    try:
        most = max(MAX_ROWS, file.stat().st_size)
        for count, row in enumerate(row for part in parts_of(file, name) for row in _rows_of_part(part)):
            if count >= most:
                yield RawRow(None, row.file, row.line, problem=("too_large", f"more rows than bytes; {_GIVEN_UP}"))
                return
            yield row
    except OSError as error:
        yield RawRow(None, name, 0, problem=damage(error))


def whole_files(file: Path, name: str = "") -> Iterator[RawRow]:
    """A file of JSON lines is one row here (of an archive, each member): the list of its lines' values."""
    name = name or str(file)
    lines: list[Any] = []
    member = name
    for row in rows_of(file, name):
        if row.problem:
            yield row
            return
        if row.file != member and lines:
            yield RawRow(lines, member, 1)
            lines = []
        member = row.file
        lines.append(row.value)
    yield RawRow(lines, member, 1) if lines else RawRow(None, name, 0, problem=("empty", "the file is empty"))


def _rows_of_part(part: Part) -> Iterator[RawRow]:
    if part.problem:
        yield RawRow(None, part.name, 0, problem=part.problem)
        return
    head = head_of(part.stream)
    if is_columns(head):
        yield from _column_rows(part, "parquet" if head.startswith(b"PAR1") else "arrow")
        return
    whole = _UpToItsEnd(part.stream)
    last: RawRow | None = None
    for row in _text_rows(replace(part, stream=io.BufferedReader(whole, _BLOCK)), head):
        if last is not None:
            yield last
        last = row
    if last is not None and not (whole.problem and last.problem):
        yield last
    if whole.problem:  # in place of the row that it cut
        yield RawRow(None, part.name, last.line if last else 0, problem=whole.problem)


class _UpToItsEnd(io.RawIOBase):
    """A stream that ends where it is damaged, and then has a problem: what comes before is read as ever."""

    def __init__(self, stream: io.BufferedReader) -> None:
        super().__init__()
        self._stream = stream
        self.problem: tuple[str, str] | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        try:
            data = b"" if self.problem else self._stream.read1(len(buffer))
        except NotData as trap:
            data, self.problem = b"", (trap.reason, trap.detail)
        except UNPACKING_ERRORS as error:
            data, self.problem = b"", damage(error)
        buffer[: len(data)] = data
        return len(data)


def _text_rows(part: Part, head: bytes) -> Iterator[RawRow]:
    if part.inner_name.lower().endswith(SEPARATED) and head.lstrip(_BOM_AND_BLANKS)[:1] not in (b"[", b"{"):
        for line, value, problem in separated_rows(part.stream, part.inner_name, head, MAX_ROW_BYTES):
            yield RawRow(value, part.name, line, problem=problem)
        return
    for row in _rows_by_shape(part, head):
        yield row if row.problem else replace(row, value=row_in(row.value))


def _rows_by_shape(part: Part, head: bytes) -> Iterator[RawRow]:
    """Lines, the elements of an array, or a document; read once and forward only."""
    name, stream = part.name, part.stream
    begins = head.lstrip(_BOM_AND_BLANKS)[:1]
    if begins not in (b"[", b"{"):
        yield from _lines(stream, name)
        return
    before = b""
    while not (first := stream.readline(MAX_ROW_BYTES + 1)).strip(_BOM_AND_BLANKS) and first:
        before += first[:_CHUNK]
    of_lines = part.inner_name.lower().endswith(_LINES)
    text = _whole_line(first)
    if _is_lines(first, text, stream):
        yield from _lines(_Joined(before + first, stream), name)
    elif begins == b"[":
        yield from _array(_Joined(before + first, stream), name)
    else:
        yield from _document(_Joined(before + first, stream), name, one_line=of_lines and text is not None)


def _whole_line(first: bytes) -> Any:
    """The value that a first line holds, to its end; None where it holds none."""
    if len(first) > MAX_ROW_BYTES:
        return None
    try:
        return _DECODER.decode(first.decode("utf-8-sig", "replace").strip())
    except (ValueError, RecursionError):
        return None


def _is_lines(first: bytes, value: Any, stream: io.BufferedReader) -> bool:
    """Whether a text that begins with a bracket is JSON lines: its first line is a whole value, and more follows."""
    follows = head_of(stream).lstrip()
    if len(first) > MAX_ROW_BYTES or not follows:
        return False
    # else a broken first line of objects; a document goes on with `"` or a bracket, an array with any value
    return value is not None or (first.lstrip(_BOM_AND_BLANKS).startswith(b"{") and follows.startswith(b"{"))


class _Joined(io.RawIOBase):
    """Bytes that were read already, and the stream behind them."""

    def __init__(self, before: bytes, stream: BinaryIO) -> None:
        super().__init__()
        self._before, self._stream = io.BytesIO(before), stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._before.read(len(buffer)) or self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _lines(stream: BinaryIO, name: str) -> Iterator[RawRow]:
    stream = io.BufferedReader(stream, _CHUNK) if isinstance(stream, _Joined) else stream
    number = blanks = 0
    while raw := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(raw) > MAX_ROW_BYTES:
            yield RawRow(None, name, number, problem=("too_large", f"more than {MAX_ROW_BYTES} bytes in one line"))
            skipped = len(raw)
            while not raw.endswith(b"\n") and (raw := stream.readline(_CHUNK)):
                skipped += len(raw)
                if skipped > MAX_SKIPPED_BYTES:
                    yield RawRow(None, name, number, problem=("too_large", f"{_GIVEN_UP}; the line does not end"))
                    return
            continue
        if not raw.strip():
            blanks += 1
            if blanks > MAX_BLANK_LINES:
                yield RawRow(None, name, number, problem=("too_large", f"{_GIVEN_UP}; it goes on with blank lines"))
                return
            continue
        blanks = 0
        try:
            value = _DECODER.decode(raw.decode("utf-8-sig" if number == 1 else "utf-8").strip())
        except UnicodeDecodeError as error:
            yield RawRow(None, name, number, problem=("not_utf8", str(error)))
        except (ValueError, RecursionError) as error:
            yield RawRow(None, name, number, problem=("broken_json", f"{type(error).__name__}: {error}"))
        else:
            yield RawRow(value, name, number)


_GIVEN_UP = "the rest of the file is left out"


def _document(stream: _Joined, name: str, one_line: bool) -> Iterator[RawRow]:
    """One JSON object; several, where they are written over lines one after another."""
    text = _read_up_to(stream, MAX_ROW_BYTES)
    plan = LARGE
    if len(text) <= MAX_ROW_BYTES:
        try:
            value, end = _DECODER.raw_decode(text.decode("utf-8-sig").strip())
            plan = plan_of(value, one_line=one_line) if end == len(text.decode("utf-8-sig").strip()) else Plan()
        except (ValueError, RecursionError):
            plan = BROKEN
    yield from _members(_Joined(text, stream), name, plan)


def _array(stream: _Joined, name: str) -> Iterator[RawRow]:
    """The elements of an array; one row, where they are the messages of one conversation."""
    text = _read_up_to(stream, MAX_ROW_BYTES)
    if len(text) <= MAX_ROW_BYTES:
        try:
            value = _DECODER.decode(text.decode("utf-8-sig").strip())
        except (ValueError, RecursionError):
            value = None
        if is_conversation(value):
            yield RawRow(value, name, 1)
            return
    yield from _elements(_Joined(text, stream), name)


def _read_up_to(stream: _Joined, size: int) -> bytes:
    """The first bytes, one more than `size` where there are more."""
    read: list[bytes] = []
    left = size + 1
    while left and (data := stream.read(min(left, _CHUNK))):
        read.append(data)
        left -= len(data)
    return b"".join(read)


def _members(stream: _Joined, name: str, plan: Plan) -> Iterator[RawRow]:
    """The members of one JSON object, read as planned: lists of rows, rows under their ids, or one row together."""
    window = _Window(stream, is_mapping=plan.mapping)
    window.skip("{")
    members: dict[str, Any] = {}
    rows = 0
    first_line = window.line
    while window.goes_on("}", ',"'):
        line = window.line
        key = window.element()
        window.skip(":")
        written = str(key.value)
        if written in plan.wrapped and not key.problem and window.peek() == "[":
            for row in _listed(window, name):
                rows += 1
                yield replace(row, value=with_tools(row_in(row.value), plan.tools))
            window.skip(",")
            continue
        value = key if key.problem else window.element()
        window.skip(",")
        if value.problem:
            yield RawRow(None, name, line, problem=value.problem)
        elif plan.mapping and not members and may_be_row(written, value.value):
            rows += 1
            yield RawRow(value.value, name, line, key=written)
        else:
            members[written] = value.value
    if members and not (plan.wrapped and rows):
        yield RawRow(members, name, first_line)
    yield from _rest(window, name)


def _listed(window: "_Window", name: str) -> Iterator[RawRow]:
    """The elements of a list inside a document."""
    window.skip("[")
    while window.peek() not in ("]", ""):
        line = window.line
        element = window.element()
        window.skip(",")
        yield RawRow(element.value, name, line, problem=element.problem)
    window.skip("]")


def _elements(stream: _Joined, name: str) -> Iterator[RawRow]:
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

    def __init__(self, stream: _Joined, is_mapping: bool = False) -> None:
        self._is_mapping = is_mapping
        self._next_row: re.Pattern[str] | None = None
        # bytes that are no text stay half surrogates, which no record may hold
        self._text = io.TextIOWrapper(
            io.BufferedReader(stream, _CHUNK), encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        self._buffer = ""
        self._at = 0
        self._step = _CHUNK
        self._passed = 0  # characters read
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
        depth, begun = 0, self._passed
        while True:
            for match in _STRUCTURE.finditer(self._buffer, self._at):
                if match[0][0] == '"' and match.end() == len(self._buffer):
                    self._advance(match.end())
                    self._skip_string(begun)
                    break
                depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(match[0], 0)
                if depth <= 0:
                    self._advance(max(match.end() if depth == 0 else match.start(), self._at + 1))
                    return _Element(problem=problem)
            else:
                self._advance(len(self._buffer))
            if self._at == len(self._buffer) and not self._more():
                return _Element(problem=problem)
            if self._passed - begun > MAX_SKIPPED_BYTES:
                self._text, self._buffer, self._at = io.StringIO(), "", 0
                return _Element(problem=("too_large", f"a value that does not end; {_GIVEN_UP}"))

    def _skip_string(self, begun: int) -> None:
        """Go behind the end of a string that the buffer does not hold to its end."""
        while self._passed - begun <= MAX_SKIPPED_BYTES and self._more():
            end = _STRING_REST.match(self._buffer, self._at).end()
            self._advance(end)  # a lone backslash at the end stays for the next chunk
            if self._buffer[end : end + 1] == '"':
                self._advance(end + 1)
                return

    def _more(self) -> bool:
        """Read on. The step doubles while one value does not end, so that decoding it again stays linear."""
        self._step = min(self._step * 2, MAX_ROW_BYTES) if self._at == 0 and self._buffer else _CHUNK
        chunk = self._text.read(self._step)
        self._passed += len(chunk)
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


def _column_rows(part: Part, kind: str) -> Iterator[RawRow]:
    try:
        yield from _decoded(part, kind)
    except NotData as trap:
        yield RawRow(None, part.name, 0, problem=(trap.reason, trap.detail))
    except UNPACKING_ERRORS as error:
        yield RawRow(None, part.name, 0, problem=damage(error))


def _decoded(part: Part, kind: str) -> Iterator[RawRow]:
    with on_disk(part) as path:
        for number, text, problem in column_lines(path, kind, MAX_ROW_BYTES):
            if problem:
                yield RawRow(None, part.name, number, problem=problem)
                continue
            try:
                row = _DECODER.decode(text)
            except (ValueError, RecursionError) as error:
                yield RawRow(None, part.name, number, problem=("broken_json", str(error)))
            else:
                yield RawRow(row, part.name, number)


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")
