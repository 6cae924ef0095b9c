"""Files that people wrote -> text: UTF-8, with or without a byte-order mark; anything else is named."""

import codecs
from pathlib import Path

_MARKS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16",
          codecs.BOM_UTF16_BE: "UTF-16"}  # fmt: skip
_LOOKED_AT = 64  # bytes in which UTF-16 without a mark shows


class TextError(ValueError):
    """Bytes that are no UTF-8 text; the message says what they are and what to do."""


def read_text(path: str | Path) -> str:
    """The text of a file.

    Raises:
        OSError: It cannot be read.
        TextError: It is not UTF-8.
    """
    return decode_text(Path(path).read_bytes())


def decode_text(raw: bytes) -> str:
    """Bytes as text; a byte-order mark at the start is none of it.

    Raises:
        TextError: They are not UTF-8.
    """
    found = encoding_of(raw)
    if found:
        raise TextError(f"it is {found} text; save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TextError(f"byte {error.start} is not UTF-8; save it as UTF-8") from None


def encoding_of(raw: bytes) -> str:
    """UTF-16 or UTF-32 where bytes begin like it; "" for anything else."""
    marked = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), "")
    head = raw[:_LOOKED_AT]
    if marked or len(head) < 4:
        return marked
    nulls = (head[::2].count(0), head[1::2].count(0))
    return "UTF-16" if max(nulls) > len(head) // 4 and min(nulls) == 0 else ""
