"""Parquet and Arrow files -> rows as JSON text, decoded by a child that memory and time limits can end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

MEMORY_BYTES = 1536 << 20
SECONDS_WITHOUT_A_ROW = 30
_CHILD = Path(__file__).with_name("columns_child.py")
_LAST_WORDS = 2000


class Line(NamedTuple):
    """One row: its number and its JSON text, or the problem with it (reason, detail)."""

    number: int
    text: str = ""
    problem: tuple[str, str] | None = None


def column_lines(path: Path, kind: Literal["parquet", "arrow"], max_row: int) -> Iterator[Line]:
    """All rows of a file. A child that dies over one (a trap, a damaged file) is a problem of the row it died at."""
    limits = (str(max_row), str(MEMORY_BYTES), str(SECONDS_WITHOUT_A_ROW))
    child = subprocess.Popen(
        [sys.executable, "-P", str(_CHILD), str(path.absolute()), kind, *limits],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "PYTHONIOENCODING": "utf-8"},
    )
    number = 0
    try:
        while raw := child.stdout.readline(max_row + 1024):
            line = raw.decode("utf-8", "replace")
            if line.startswith("r"):
                number += 1
                yield Line(number, line[1:])
            else:
                number, reason, detail = json.loads(line[1:])
                yield Line(number, problem=(reason, detail))
        if code := child.wait():
            yield Line(number + 1, problem=_end(code, child.stderr.read(_LAST_WORDS)))
    finally:
        child.kill()
        child.communicate()


def _end(code: int, said: bytes) -> tuple[str, str]:
    if code == -signal.SIGALRM:
        return (
            "too_large",
            f"no readable row for {SECONDS_WITHOUT_A_ROW} s of decoding; the rest of the file is left out",
        )
    if code == -signal.SIGKILL or b"MemoryError" in said or b"bad_alloc" in said:
        return "too_large", "decoding it takes more memory than a file may; the rest of the file is left out"
    last = (said.decode("utf-8", "replace").strip().splitlines() or [f"exit code {code}"])[-1]
    return "unreadable_file", f"the decoder ended ({last[:200]}); the rest of the file is left out: download it again"
