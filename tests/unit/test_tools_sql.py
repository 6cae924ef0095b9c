"""The sample database answers SELECTs and nothing else."""

import pytest

from rayplay.toolbox import ToolError
from tools.sql import MAX_ROWS, sql


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("SELECT count(*) FROM customers", "20"),
        ("SELECT price FROM products WHERE name = 'lamp'", "24.5"),
        ("SELECT name, price FROM products ORDER BY price LIMIT 2", "name | price\ncandle | 4.5\nmug | 6.5"),
        ("SELECT NULL", "NULL"),
        ("WITH t(x) AS (SELECT 3) SELECT x FROM t", "3"),
        ("SELECT upper(name) FROM products WHERE id = 1", "LAMP"),
        ("SELECT name FROM products WHERE price > 9999", "no rows"),
        ("SELECT 1 WHERE 0", "no rows"),
    ],
)
def test_answers(query: str, text: str) -> None:
    assert sql(query) == text


def test_long_answers_are_cut_and_say_so() -> None:
    lines = sql("SELECT id FROM orders").splitlines()
    assert len(lines) == MAX_ROWS + 2
    assert lines[-1] == "... only the first 50 rows are shown"


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM orders",
        "INSERT INTO orders VALUES (999, 1, 1, 1, 'x')",
        "DROP TABLE orders",
        "CREATE TABLE t (x)",
        "CREATE TEMP TABLE t (x)",
        "ATTACH '/tmp/x.db' AS y",
        "PRAGMA query_only = OFF",
        "SELECT 1; SELECT 2",
        "SELECT * FROM nowhere",
        "SELECT load_extension('x')",
        "SELECT zeroblob(1000000000)",
        "VACUUM INTO '/tmp/x.db'",
        "BEGIN",
        "EXPLAIN",
        "",
        "SELECT 'a\0b",
    ],
)
def test_everything_else_is_refused(query: str) -> None:
    with pytest.raises(ToolError):
        sql(query)
    assert sql("SELECT count(*) FROM orders") == "80"
