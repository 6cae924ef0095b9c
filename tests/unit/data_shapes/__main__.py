"""Print the tables of all shapes, or put them into a page: `python -m tests.unit.data_shapes docs/data-formats.md`."""

import sys
from pathlib import Path

from tests.unit.data_shapes import tables

if len(sys.argv) < 2:
    print(tables())
else:
    page = Path(sys.argv[1])
    before, begin, rest = page.read_text(encoding="utf-8").partition("<!-- shapes -->\n")
    _, end, after = rest.partition("<!-- end of shapes -->")
    page.write_text(f"{before}{begin}\n{tables()}\n\n{end}{after}", encoding="utf-8")
