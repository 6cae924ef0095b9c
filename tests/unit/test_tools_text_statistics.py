"""Counts of a text."""

from tools.text_statistics import text_statistics


def test_counts() -> None:
    found = text_statistics("The cat sat. The dog ran!\nWho's there?")
    assert found == {
        "characters": 38,
        "words": 8,
        "sentences": 3,
        "lines": 2,
        "distinct_words": 7,
        "longest_word": "Who's",
        "frequent": ["the", "cat", "dog"],
    }


def test_empty_and_wordless_texts_have_no_words() -> None:
    assert text_statistics("")["words"] == 0
    assert text_statistics("... !?")["sentences"] == 0


def test_words_of_other_alphabets_count() -> None:
    assert text_statistics("Привет, мир! Ça va?")["words"] == 4
    assert text_statistics("At 9:30 it cost 3.14, or 1,000.")["words"] == 7
