"""Training questions against test questions -> which overlap, by id.

Two questions overlap where their normalised texts are equal, or where they share a run of N words (the measure of
Brown et al. 2020, appendix C; N = 8 here, since questions are short; shorter ones must be equal). It finds copies and
near copies, not paraphrases. To learn which test rows training may have seen, pass the two the other way round.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

NGRAM = 8
_WORD = re.compile(r"[a-z0-9]+")


class Overlap(NamedTuple):
    """A training row that says what a test row says."""

    train_id: str
    test_id: str
    how: str  # "same text", or the shared words


def overlaps(train: Iterable[tuple[str, str]], test: Iterable[tuple[str, str]], ngram: int = NGRAM) -> list[Overlap]:
    """All (id, text) of `train` that overlap one of `test`; each with the first test row that it meets.

    Args:
        train: Streamed; only `test` is kept in memory.
        test: Benchmark questions, or held-out tasks.
        ngram: Words of a shared run that count as overlap.
    """
    whole: dict[str, str] = {}
    runs: dict[tuple[str, ...], str] = {}
    for test_id, text in test:
        words = _WORD.findall(text.lower())
        whole.setdefault(" ".join(words), test_id)
        for run in _runs(words, ngram):
            runs.setdefault(run, test_id)
    found = []
    for train_id, text in train:
        words = _WORD.findall(text.lower())
        same = whole.get(" ".join(words)) if words else None
        if same is not None:
            found.append(Overlap(train_id, same, "same text"))
            continue
        run = next((r for r in _runs(words, ngram) if r in runs), None)
        if run is not None:
            found.append(Overlap(train_id, runs[run], " ".join(run)))
    return found


def _runs(words: list[str], size: int) -> Iterable[tuple[str, ...]]:
    return (tuple(words[i : i + size]) for i in range(len(words) - size + 1))
