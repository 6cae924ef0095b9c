"""One SELECT -> its rows, on a read-only sample database of a small shop.

The data (`sql_sample.sql`) is invented. An authorizer, not a reading of the text, decides what a statement may do, so
nothing can be written, attached or loaded whatever it is called.
"""

import sqlite3
from functools import lru_cache
from pathlib import Path

from rayplay.toolbox import ToolError, tool

SAMPLE = Path(__file__).with_name("sql_sample.sql")
MAX_ROWS = 50
MAX_CELL_CHARACTERS = 200

_ALLOWED = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE))
_HEAVY_FUNCTIONS = frozenset(("load_extension", "randomblob", "zeroblob", "readfile", "writefile"))


@tool(deadline_s=3.0, memory_mb=256)
def sql(query: str) -> str:
    """Query the tables customers(id, name, city, joined), products(id, name, price, stock) and
    orders(id, customer_id, product_id, quantity, day).

    Args:
        query: one SELECT
    """
    try:
        cursor = database().execute(query)
        rows = cursor.fetchmany(MAX_ROWS + 1)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        hint = "; only reading is allowed: write one SELECT" if "authoriz" in str(error) else ""
        raise ToolError(f"{error}{hint}") from None
    if cursor.description is None:
        raise ToolError("write one SELECT")
    if not rows:
        return "no rows"
    if len(rows) == 1 and len(rows[0]) == 1:
        return cell(rows[0][0])
    lines = [" | ".join(column[0] for column in cursor.description)]
    lines += [" | ".join(cell(value) for value in row) for row in rows[:MAX_ROWS]]
    if len(rows) > MAX_ROWS:
        lines.append(f"... only the first {MAX_ROWS} rows are shown")
    return "\n".join(lines)


def cell(value: object) -> str:
    """A value of a row as short text."""
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.10g}"
    return (f"{len(value)} bytes" if isinstance(value, bytes) else str(value))[:MAX_CELL_CHARACTERS]


@lru_cache(maxsize=1)
def database() -> sqlite3.Connection:
    """The sample database in memory, closed to everything but reading."""
    connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    connection.executescript(SAMPLE.read_text(encoding="utf-8"))
    connection.execute("PRAGMA query_only = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 10_000)
    connection.set_authorizer(authorize)
    return connection


def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Allow reading and harmless functions; deny everything else."""
    if action == sqlite3.SQLITE_FUNCTION and second in _HEAVY_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


database()  # while the process is being prepared: the confined child opens no files
