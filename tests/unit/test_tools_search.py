"""Search finds the passage of a topic, however it is asked for, and survives any text."""

import json

import pytest

from tools.search import CORPUS, MAX_RESULT_CHARACTERS, search

PASSAGES = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]


def test_the_corpus_is_large_enough_and_its_topics_are_distinct() -> None:
    assert len(PASSAGES) >= 120
    assert len({p["topic"] for p in PASSAGES}) == len(PASSAGES)
    assert all(len(p["text"]) <= MAX_RESULT_CHARACTERS for p in PASSAGES)


@pytest.mark.parametrize(
    "query", ["{}", "the {}", "Tell me about {}, please", "{} who founded designed wrote", "when was {} opened"]
)
def test_every_topic_is_found_by_its_name(query: str) -> None:
    missed = [p["topic"] for p in PASSAGES if search(query.format(p["topic"])) != p["text"]]
    assert missed == []


@pytest.mark.parametrize("query", ["", "?!", "the of and", 'a" OR "b', "NEAR(", "topic:*", "zzzqqq", "x " * 5000])
def test_any_text_is_a_query(query: str) -> None:
    assert isinstance(search(query), str)
    assert search("zzzqqq") == "No results."
    assert search("Tolvane's mayor") == search("Tolvane")
