"""Words -> the best passage of a small corpus, by SQLite FTS5 and BM25.

The corpus (`search_corpus.jsonl`, one {"topic", "text"} a line) is invented, so that no model can know its facts
without searching. It is indexed in memory once per process. Not covered: stemming of names, spelling correction.
"""

import json
import re
import sqlite3
from functools import lru_cache
from pathlib import Path

from rayplay.toolbox import tool

CORPUS = Path(__file__).with_name("search_corpus.jsonl")
MAX_RESULT_CHARACTERS = 300
MAX_QUERY_WORDS = 24

_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about all an and are at by did do does find for from give has have how i in information is it its look me "
        "much many of on or please s search tell that the there this to up was were what when where which who "
        "why with you",
    )
)


@tool(pure=True, deadline_s=2.0, memory_mb=256)
def search(query: str) -> str:
    """Look up facts.

    Args:
        query: topic
    """
    words = [word for word in re.findall(r"\w+", query.lower()) if word not in _STOP_WORDS][:MAX_QUERY_WORDS]
    if not words:
        return "No results."
    # Quoted, so that FTS5 reads no operators out of the query; a hit in the topic counts four times one in the text.
    match = " OR ".join(f'"{word}"' for word in words)
    row = index().execute(
        "SELECT text FROM passages WHERE passages MATCH ? ORDER BY bm25(passages, 4.0, 1.0), rowid LIMIT 1",
        (match,),
    )
    best = row.fetchone()
    return best[0][:MAX_RESULT_CHARACTERS] if best else "No results."


@lru_cache(maxsize=1)
def index() -> sqlite3.Connection:
    """The corpus as an FTS5 table in memory."""
    passages = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute("CREATE VIRTUAL TABLE passages USING fts5(topic, text, tokenize='porter unicode61')")
    database.executemany("INSERT INTO passages VALUES (?, ?)", [(p["topic"], p["text"]) for p in passages])
    return database


index()  # while the process is being prepared, so that no call pays for it
