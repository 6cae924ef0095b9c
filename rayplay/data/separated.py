"""CSV and TSV with a header -> rows; cells that hold JSON or Python literals are read as such."""

import csv
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

from rayplay.data.schemas import literal

ENDINGS = (".csv", ".tsv")
_DELIMITERS = ",;\t|"
# columns whose cells are numbers or truth values, not texts
_SCALARS = ("label", "kto_tag", "reward", "score", "weight", "loss", "loss_weight", "rating", "simulated")

Problem = tuple[str, str]


def separated_rows(stream: BinaryIO, name: str, head: bytes, max_row: int) -> Iterator[tuple[int, Any, Problem | None]]:
    """(line, row, problem) of each row; cells that are empty or under no name are left out of a row.

    Args:
        head: The first bytes of the stream, from which the delimiter is read (a tab, where the name says .tsv).
    """
    csv.field_size_limit(max_row)
    first = head.partition(b"\n")[0].decode("utf-8", "replace")
    lines = _Lines(stream, max_row)
    reader = csv.reader(lines, delimiter="\t" if name.lower().endswith(".tsv") else _delimiter(first))
    header: list[str] | None = None
    while True:
        line = lines.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield line, None, ("broken_csv", f"{error}; a quote that is not closed, or not a CSV in UTF-8")
        except UnicodeDecodeError as error:
            yield line, None, ("not_utf8", f"{error}: save the file in UTF-8")
        except OverflowError:
            yield line, None, ("too_large", f"more than {max_row} bytes in one line")
        else:
            if cells is None:
                return
            if header is None:
                header = [cell.strip() for cell in cells]
            elif any(cell.strip() for cell in cells):
                yield line, *_row(header, cells)


def _row(header: list[str], cells: list[str]) -> tuple[Any, Problem | None]:
    if any(cells[len(header) :]):
        return None, ("broken_csv", f"{len(cells)} cells under {len(header)} columns: {', '.join(header)}")
    pairs = zip(header, cells, strict=False)
    return {key: _value(key, cell) for key, cell in pairs if key and cell.strip()}, None


class _Lines:
    """Lines of text of a bounded length, counted; one that is too long is passed over."""

    def __init__(self, stream: BinaryIO, max_row: int) -> None:
        self._stream, self._max_row = stream, max_row
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        raw = self._stream.readline(self._max_row + 1)
        if not raw:
            raise StopIteration
        self.number += 1
        if len(raw) > self._max_row:
            while not raw.endswith(b"\n") and (raw := self._stream.readline(self._max_row)):
                pass
            raise OverflowError
        return raw.decode("utf-8-sig" if self.number == 1 else "utf-8")


def _delimiter(header: str) -> str:
    """The mark that the header holds most often outside of quotes; a comma where it holds none."""
    outside = "".join(part for n, part in enumerate(header.split('"')) if n % 2 == 0)
    counts = Counter(mark for mark in outside if mark in _DELIMITERS)
    return counts.most_common(1)[0][0] if counts else ","


def _value(key: str, cell: str) -> Any:
    text = cell.strip()
    if text[0] not in "[{" and key.lower() not in _SCALARS:
        return cell
    read = literal(text.lower() if text.lower() in ("true", "false") else text)
    return cell if read is None else read
