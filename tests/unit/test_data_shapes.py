"""The table of shapes in the docs is what inspecting them gives; none is lost without a reason."""

from pathlib import Path

import pytest

from tests.unit.data_shapes import FAMILIES, SHAPES, published, report, tables

PAGE = Path(__file__).parents[2] / "docs" / "data-formats.md"
# shapes with rows that must not be usable, as their names say
LOSSES = ("label", "reward", "picture", "lacks", "good row", "cut", "pointer", "web page", "rendered")


def test_the_docs_hold_the_table_of_all_shapes():
    held = PAGE.read_text(encoding="utf-8").partition("<!-- shapes -->\n")[2].partition("<!-- end of shapes -->")[0]
    assert held.strip() == tables().strip(), "run: python -m tests.unit.data_shapes docs/data-formats.md"


def test_there_are_a_hundred_shapes_with_names_of_their_own():
    assert len({shape.name for shape in SHAPES}) == len(SHAPES) >= 100
    assert all(FAMILIES.values())


@pytest.mark.parametrize(
    "shape",
    [s for s in SHAPES if s not in published.SHAPES and not any(word in s.name for word in LOSSES)],
    ids=lambda s: s.name,
)
def test_every_row_of_a_shape_is_usable(shape):
    found = report(shape)
    assert found.get("rows") == found.get("usable") == max(len(shape.rows), 1), found
    assert found["licence"] in ("unstated", "MIT")
