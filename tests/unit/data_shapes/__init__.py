"""Shapes that people's data comes in, a few rows each: what the table of docs/data-formats.md is made from.

`python -m tests.unit.data_shapes` prints the table. A new shape is an entry of a family's SHAPES.
"""

import tempfile
from pathlib import Path

from rayplay.data.census import Census
from rayplay.data.overview import HEADER, markdown_table
from rayplay.data.sources import open_source, read_opened
from rayplay.errors import DataError
from rayplay.records import Json
from tests.unit.data_shapes import calls_as_text, chat, containers, logs, published, tools
from tests.unit.data_shapes.shape import Shape

FAMILIES = {
    "Chat messages": chat.SHAPES,
    "Calls in text": calls_as_text.SHAPES,
    "Tool definitions": tools.SHAPES,
    "API logs": logs.SHAPES,
    "Files and archives": containers.SHAPES,
    "Published sets and other formats": published.SHAPES,
}
SHAPES = tuple(shape for shapes in FAMILIES.values() for shape in shapes)


def report(shape: Shape) -> Json:
    """What `rayplay data inspect` reports of a shape, under its name."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            opened = open_source(shape.write(Path(folder)))
        except DataError as error:
            told = str(error).partition("no known format: ")[2].replace(folder, "").partition("; name a format")[0]
            return {"path": shape.name, "error": told}
        census = Census.of(opened)
        for outcome in read_opened(opened):
            census.count(outcome)
        return census.summary() | {"path": shape.name}


def tables() -> str:
    """The tables of all families, as the docs hold them."""
    parts = []
    for family, shapes in FAMILIES.items():
        parts += [f"### {family}", markdown_table(map(report, shapes))]
    return "\n\n".join(parts)


__all__ = ["FAMILIES", "HEADER", "SHAPES", "Shape", "report", "tables"]
