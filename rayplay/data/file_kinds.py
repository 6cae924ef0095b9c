"""First bytes of a file -> what it is; for what holds no rows, what to do with it."""

import codecs
import re

PACKED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
}
COLUMNS = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow"}
_ZIP, _TAR_MARK, _TAR_AT = b"PK\x03\x04", b"ustar", 257
HEAD_BYTES = 4096

_AS_LINES = "export its rows as JSON lines (one object a line, with messages and tools)"
_NO_ROWS: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the data: run `git lfs pull` in the repository, or download it",
    ),
    (b"PK\x05\x06", "an empty zip archive: download or pack it again"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Office file: save the sheet as CSV in UTF-8"),
    (b"SQLite format 3\x00", f"an SQLite database: {_AS_LINES}"),
    (b"%PDF", f"a PDF document, which has no rows: {_AS_LINES}"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it and give the folder"),
    (b"Rar!", "a RAR archive: unpack it and give the folder"),
    (b"\x93NUMPY", f"a NumPy array: {_AS_LINES}"),
    (b"\x89HDF", f"an HDF5 file: {_AS_LINES}"),
    (b"Obj\x01", f"an Avro file: {_AS_LINES}, or write Parquet"),
    (b"ORC", f"an ORC file: {_AS_LINES}, or write Parquet"),
    (b"FEA1", "a Feather file of version 1: write it again as Parquet, or as Feather version 2"),
    (b"GGUF", "a GGUF model, not a data set: give the rows it was trained on"),
    (b"\x89PNG", f"a picture, which has no rows: {_AS_LINES}"),
    (b"\xff\xd8\xff", f"a picture, which has no rows: {_AS_LINES}"),
    (b"\x7fELF", f"a program, which has no rows: {_AS_LINES}"),
)
_PICKLE = "a Python pickle, which is never loaded (it can run code): write its rows as JSON lines or Parquet"
_OFFICE = (
    ("/xl/", "an Excel workbook: save the sheet as CSV in UTF-8, with a header"),
    ("/word/", "a Word document: save the rows as JSON lines"),
    ("/data.pkl", "a PyTorch file with a pickle, which is never loaded: write its rows as JSON lines"),
)
_UTF16 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_ENCODED = "text in UTF-16 or UTF-32, not UTF-8: convert it, e.g. `iconv -f UTF-16 -t UTF-8 FILE > NEW`"
_MARKUP = re.compile(rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype|html|head|body|\?xml|svg|rss)\b", re.IGNORECASE | re.DOTALL)
_PAGE = (
    "a web page (often a login or error page that was saved in place of the data): download the file again, logged in"
)
_XML = f"XML, not JSON: {_AS_LINES}"
_SAFETENSORS = re.compile(rb'.{8}\{"(?:__metadata__|[\w.]+":\{"dtype)', re.DOTALL)


def packing_of(head: bytes) -> str:
    """`gzip`, `zstd`, `bz2`, `xz`, `lz4`, `zip` or `tar`; "" where the bytes are not packed."""
    if head.startswith(_ZIP):
        return "zip"
    if head[_TAR_AT : _TAR_AT + len(_TAR_MARK)] == _TAR_MARK:
        return "tar"
    return next((kind for mark, kind in PACKED.items() if head.startswith(mark)), "")


def is_columns(head: bytes) -> bool:
    """Whether it is Parquet or Arrow."""
    return any(head.startswith(mark) for mark in COLUMNS)


def no_rows(head: bytes) -> str:
    """What a file that cannot hold rows is, and what to do; "" where it may hold some."""
    known = next((told for mark, told in _NO_ROWS if head.startswith(mark)), "")
    if known:
        return known
    if head.startswith(_UTF16) or _is_wide(head):
        return _ENCODED
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return _PICKLE
    if _MARKUP.match(head):
        return _XML if head.lstrip().lower().startswith(b"<?xml") and b"<html" not in head.lower() else _PAGE
    if _SAFETENSORS.match(head):
        return "a safetensors file (weights), not a data set: give the rows"
    if b"\x00" in head:
        return f"a binary file of an unknown kind: {_AS_LINES}, or write Parquet"
    return ""


def archive_of(members: list[str]) -> str:
    """What a zip archive with these files is, where that is a document and no archive of rows; else ""."""
    return next((told for mark, told in _OFFICE if any(mark in f"/{member}" for member in members)), "")


def _is_wide(head: bytes) -> bool:
    """UTF-16 without a mark: every second byte of ASCII text is zero."""
    even, odd = head[:200:2], head[1:200:2]
    return len(head) > 8 and (even.count(0) > 0.9 * len(even) or odd.count(0) > 0.9 * len(odd))
