"""A file -> the streams in it: compression removed, archives opened member by member, traps refused.

What a file is, its first bytes say, not its name. Nothing is written to disk but a Parquet file out of an archive.
"""

import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pyarrow

from rayplay.data.file_kinds import HEAD_BYTES, archive_of, is_columns, no_rows, packing_of

MAX_LAYERS = 4
MAX_MEMBERS = 10_000
UNPACKED_BYTES = 1 << 30  # a file may always unpack to so much,
UNPACKED_TIMES = 400  # or to so many times its own size
_XZ_MEMORY = 256 << 20
_BLOCK = 1 << 16
_SUFFIXES = (".gz", ".gzip", ".bz2", ".xz", ".lzma", ".zst", ".zstd", ".lz4")
UNPACKING_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, pyarrow.ArrowException, zipfile.BadZipFile)


class NotData(Exception):
    """A stream that gives no rows: (reason, what it is and what to do)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Part:
    """One stream of rows: the file itself, or a member of an archive.

    Attributes:
        name: How addresses call it: `rows.jsonl`, `all.zip/rows.jsonl`.
        stream: Stands at its beginning; may hold no more once the next part is asked for.
        path: Where the bytes lie as they are, where they are a plain file on disk.
        problem: Set in place of a stream that gives no rows.
    """

    name: str
    stream: io.BufferedReader | None = None
    path: Path | None = None
    problem: tuple[str, str] | None = None

    @property
    def inner_name(self) -> str:
        """The name without the suffixes of compression."""
        return bare_name(PurePosixPath(self.name).name)


@dataclass
class _Budget:
    """How much one file may unpack to, all layers and members together."""

    left: int
    packed: int = field(default=0)

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise NotData(
                "too_large",
                f"unpacks to far more than its {self.packed} bytes (a decompression bomb?); reading stops here: "
                "unpack it yourself if you trust it, and give the result",
            )


def bare_name(name: str) -> str:
    """`rows.jsonl.gz` -> `rows.jsonl`."""
    while name.lower().endswith(_SUFFIXES):
        name = name.rpartition(".")[0]
    return name


def parts_of(file: Path, name: str) -> Iterator[Part]:
    """The streams of a file, one after another; each is closed when the next one is asked for."""
    size = file.stat().st_size
    budget = _Budget(max(UNPACKED_BYTES, UNPACKED_TIMES * size), size)
    with file.open("rb") as raw:
        for part in _opened(raw, name, budget, 0):
            yield Part(name, part.stream, file) if part.stream is raw else part


@contextmanager
def on_disk(part: Part) -> Iterator[Path]:
    """Where a part lies as a plain file; one out of an archive is copied to a temporary file."""
    if part.path is not None:
        yield part.path
        return
    with tempfile.NamedTemporaryFile(prefix="rayplay-", suffix=".columns") as copy:
        shutil.copyfileobj(part.stream, copy, _BLOCK)
        copy.flush()
        yield Path(copy.name)


def head_of(stream: io.BufferedReader) -> bytes:
    """The first bytes of a stream, which stays where it is."""
    return stream.peek(HEAD_BYTES)[:HEAD_BYTES]


def _opened(stream: io.BufferedReader, name: str, budget: _Budget, layers: int) -> Iterator[Part]:
    """The streams within a stream."""
    try:
        head = head_of(stream)
        packing = packing_of(head)
        told = "" if packing or is_columns(head) else no_rows(head)
        if told:
            yield Part(name, problem=("unreadable_file", told))
        elif not packing:
            yield Part(name, stream)
        elif layers >= MAX_LAYERS:
            yield Part(name, problem=("too_large", f"packed more than {MAX_LAYERS} times; unpack it first"))
        elif packing == "zip":
            yield from _zip_members(stream, name, budget, layers)
        elif packing == "tar":
            yield from _tar_members(stream, name, budget, layers)
        else:
            with closing(_metered(_UNPACK[packing](stream), budget)) as inner:
                yield from _opened(inner, name, budget, layers + 1)
    except NotData as trap:
        yield Part(name, problem=(trap.reason, trap.detail))
    except UNPACKING_ERRORS as error:
        yield Part(name, problem=damage(error))


def damage(error: Exception) -> tuple[str, str]:
    """(reason, detail) of a file that cannot be unpacked to its end."""
    told = f"{type(error).__name__}: {error}"
    if isinstance(error, EOFError) or "truncat" in told.lower():
        return "unreadable_file", f"the file is cut off ({told}): download or copy it again"
    if isinstance(error, PermissionError):
        return "unreadable_file", f"{told}: it may not be read by this user"
    return "unreadable_file", f"{told}: the file is damaged; download or copy it again"


def _zip_members(stream: BinaryIO, name: str, budget: _Budget, layers: int) -> Iterator[Part]:
    if layers:
        raise NotData("unreadable_file", "an archive inside an archive; unpack it first")
    with zipfile.ZipFile(stream) as archive:
        members = [m for m in archive.infolist() if not m.is_dir() and is_visible(m.filename)]
        _bound(len(members))
        if office := archive_of([m.filename for m in members]):
            raise NotData("unreadable_file", office)
        for member in sorted(members, key=lambda m: m.filename):
            address = f"{name}/{member.filename}"
            if member.flag_bits & 1:
                yield Part(address, problem=("unreadable_file", "it is encrypted; unpack the archive first"))
                continue
            try:
                with closing(_metered(archive.open(member), budget)) as inner:
                    yield from _opened(inner, address, budget, layers + 1)
            except NotImplementedError as error:
                yield Part(address, problem=("unreadable_file", f"{error}; unpack the archive first"))


def _tar_members(stream: BinaryIO, name: str, budget: _Budget, layers: int) -> Iterator[Part]:
    count = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                count += 1
                _bound(count)
                if not member.isfile() or not is_visible(member.name):
                    continue
                inner = io.BufferedReader(_Metered(archive.extractfile(member), budget), _BLOCK)
                yield from _opened(inner, f"{name}/{member.name}", budget, max(layers, 1) + 1)
    except tarfile.TarError as error:
        raise NotData(*damage(error)) from None


def _bound(members: int) -> None:
    if members > MAX_MEMBERS:
        raise NotData("too_large", f"more than {MAX_MEMBERS} files in the archive; unpack it first")


def is_visible(path: str) -> bool:
    """Whether no part of a relative path is hidden, or what systems leave behind."""
    return not any(p.startswith(".") or p in ("__MACOSX", "__pycache__") for p in PurePosixPath(path).parts if p != ".")


class _Metered(io.RawIOBase):
    """Unpacked bytes, counted against the budget."""

    def __init__(self, inner: BinaryIO, budget: _Budget) -> None:
        super().__init__()
        self._inner, self._budget = inner, budget
        # one read at a time: what comes before a cut is not lost with it
        self._read = getattr(inner, "read1", inner.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._read(len(buffer))
        self._budget.spend(len(data))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._inner.close()
        super().close()


class _Xz(io.RawIOBase):
    """Unpacks xz with a limit to its dictionary, which `lzma.open` does not offer."""

    def __init__(self, inner: BinaryIO) -> None:
        super().__init__()
        self._inner, self._decoder = inner, self._fresh()

    @staticmethod
    def _fresh() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=_XZ_MEMORY)

    def read(self, size: int = -1) -> bytes:
        while True:
            if self._decoder.eof:
                rest = self._decoder.unused_data or self._inner.read(_BLOCK)
                if not rest.strip(b"\x00"):
                    return b""
                self._decoder = self._fresh()
                data = self._decoder.decompress(rest, size)
            elif self._decoder.needs_input:
                packed = self._inner.read(_BLOCK)
                if not packed:
                    raise EOFError("compressed file ended before the end-of-stream marker was reached")
                data = self._decoder.decompress(packed, size)
            else:
                data = self._decoder.decompress(b"", size)
            if data:
                return data


def _metered(inner: BinaryIO, budget: _Budget) -> io.BufferedReader:
    return io.BufferedReader(_Metered(inner, budget), _BLOCK)


def _by_arrow(codec: str, stream: BinaryIO) -> pyarrow.NativeFile:
    return pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, mode="r"), codec)


_UNPACK = {
    "gzip": lambda stream: gzip.GzipFile(fileobj=stream),
    "bz2": lambda stream: bz2.BZ2File(stream),
    "xz": _Xz,
    "zstd": lambda stream: _by_arrow("zstd", stream),
    "lz4": lambda stream: _by_arrow("lz4", stream),
}
