"""One shape that data comes in: a few rows of it, as a file or a folder."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def lines(rows: Sequence[Any]) -> bytes:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


@dataclass(frozen=True)
class Shape:
    """A shape, with rows of our own.

    Attributes:
        name: What people call it, as the table in the docs says it.
        rows: Its rows.
        file: Where they stand in the folder of the shape.
        pack: Rows -> the bytes of that file.
        beside: Further files of the folder: name -> bytes.
        is_folder: The folder is given, not the file.
    """

    name: str
    rows: Sequence[Any] = ()
    file: str = "rows.jsonl"
    pack: Callable[[Sequence[Any]], bytes] = lines
    beside: dict[str, bytes] = field(default_factory=dict)
    is_folder: bool = False

    def write(self, folder: Path) -> Path:
        """Write the shape and return the path to inspect."""
        for name, data in {self.file: self.pack(self.rows), **self.beside}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder if self.is_folder or self.beside else folder / self.file
