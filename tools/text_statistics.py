"""Text -> counts of its characters, words, sentences and lines, and its most frequent words."""

import re
from collections import Counter
from typing import Any

from rayplay.toolbox import tool

MOST_FREQUENT = 3


@tool(pure=True, deadline_s=2.0, memory_mb=256)
def text_statistics(text: str) -> dict[str, Any]:
    """Count characters, words and sentences.

    Args:
        text: the text
    """
    words = re.findall(r"[^\W_]+(?:(?:['’-]|(?<=\d)[.,:](?=\d))[^\W_]+)*", text)  # "don't", "3.14" and "9:30" are one
    counts = Counter(word.lower() for word in words)
    # Ties go by the alphabet, so that the answer does not depend on the order of the text.
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:MOST_FREQUENT]
    sentences = [part for part in re.split(r"[.!?…]+(?:\s|$)", text) if re.search(r"\w", part)]
    return {
        "characters": len(text),
        "words": len(words),
        "sentences": len(sentences),
        "lines": len(text.splitlines()),
        "distinct_words": len(counts),
        "longest_word": max(words, key=len, default=""),
        "frequent": frequent,
    }
