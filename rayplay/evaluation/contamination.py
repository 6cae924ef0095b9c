"""Training texts and benchmark questions -> the questions that training may have seen."""

import re
from collections.abc import Iterable

RUN_OF_WORDS = 10  # shorter ones are shared by chance ("what is the weather in ... on the")


def seen_questions(training: Iterable[str], questions: dict[str, str], run: int = RUN_OF_WORDS) -> list[str]:
    """Names of questions that equal a training text, or share `run` words in a row with one; case and marks ignored.

    The shared run of words is the measure of Brown et al. 2020 (appendix C), with a smaller run since questions are
    short. It finds copies and near copies, not paraphrases.
    """
    whole: set[tuple[str, ...]] = set()
    runs: set[tuple[str, ...]] = set()
    for text in training:
        words = _words(text)
        whole.add(words)
        runs.update(_runs(words, run))
    found = []
    for name, text in questions.items():
        words = _words(text)
        if words and (words in whole or any(part in runs for part in _runs(words, run))):
            found.append(name)
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.lower()))


def _runs(words: tuple[str, ...], run: int) -> Iterable[tuple[str, ...]]:
    return (words[i : i + run] for i in range(len(words) - run + 1))
