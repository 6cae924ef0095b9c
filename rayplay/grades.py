"""What a judge said -> its grade in [0, 1], or None: where it is not plain which number is the grade, there is none.

Read: 7, 8.5/10, 9,5, 3 out of 10, 4 of 5, 85 %, "Score: 7", "7 (on a 0-10 scale)", "The maximum is 10; I give 4", and
a JSON object with a score. A number without a scale of its own is one of 0 to 10, or of the scale that the text names.
A labelled number counts before others, then one that is alone on the first or the last line; else all must agree.
Negative numbers, numbers beyond the scale, ranges ("7-8") and what is thought inside <think> are no grades.
"""

import json
import re
from typing import Any, NamedTuple

_LONGEST = 20_000  # characters; a grade is a few
_USUAL_TOP = 10.0
_LARGEST = 1e6  # number in a JSON object that is looked at: neither NaN nor a number beyond the floats
_THOUGHTS = re.compile(r"<think(?:ing)?>(?s:.*?)(?:</think(?:ing)?>|\Z)", re.IGNORECASE)
_SPELT = str.maketrans({**dict.fromkeys("−–—", "-"), **dict.fromkeys("／⁄", "/"), **dict.fromkeys('*_`#"', " ")})
_TOPS = {"four": "4", "five": "5", "ten": "10", "twenty": "20", "hundred": "100"}
_TOP_WORD = re.compile(rf"\bof\s+(?:a\s+)?({'|'.join(_TOPS)})\b", re.IGNORECASE)
_SCALE = re.compile(
    r"\b(?:scale\s+of\s+)?(?:between\s+[01]\s+and|(?:from\s+)?(?<![\d.,/-])[01]\s?(?:-|to|through|\.\.))\s?"
    r"(\d{1,3})\b(?![.,/]?\d)"
    r"|\b(?:scale\s+of|max(?:imum)?\b[^\d\n]{0,24}|highest\b[^\d\n]{0,24})\s*(\d{1,3})\b(?![.,/]?\d)",
    re.IGNORECASE,
)
_NUMBER = r"\d{1,6}(?:\.\d{1,6}|,\d{1,2})?"
_GRADE = re.compile(
    rf"(?<![\w.,/-])(-?)({_NUMBER})(?:\s*(/|out\s+of|of)\s*(\d{{1,3}}))?(\s*%|\s*percent\b)?(?![\w/]|\s+/|[.,-]?\d)",
    re.IGNORECASE,
)
_LABEL = re.compile(r"\b(final|overall|total)?\s*(?:score|grade|rating|mark|verdict)\b[^\d\n-]{0,24}\Z", re.IGNORECASE)
_LABEL_SPAN = 48  # characters before a number in which its label is looked for
_SCORE_KEYS = ("final_score", "overall_score", "overall", "score", "grade", "rating", "mark", "value")
_TOP_KEYS = ("scale", "max", "max_score", "maximum", "out_of", "total")


class _Candidate(NamedTuple):
    grade: float | None  # None: beyond its scale, or negative
    label: str  # "", "label" or "final"
    is_line: bool  # it is all that its line, the first or the last, says


def read_grade(text: str) -> float | None:
    """The grade in [0, 1] that a judge's reply gives; None where it gives none, or several."""
    if len(text) > _LONGEST:
        return None
    text = _THOUGHTS.sub(" ", text).strip()
    is_object, grade = _of_object(text)
    return grade if is_object else _of_text(text)


def _of_text(text: str, top: float | None = None) -> float | None:
    text = _TOP_WORD.sub(lambda word: f"of {_TOPS[word[1].lower()]}", text.translate(_SPELT)).strip()
    tops = {float(next(filter(None, scale.groups()))) for scale in _SCALE.finditer(text)}
    text = _SCALE.sub(" ", text).strip()
    top = top or (tops.pop() if len(tops) == 1 else _USUAL_TOP)
    found = [_candidate(number, text, top) for number in _GRADE.finditer(text)]
    unread = any(map(str.isnumeric, _GRADE.sub("", text)))
    final = {c.grade for c in found if c.label == "final"}
    labelled = {c.grade for c in found if c.label}
    lines = {c.grade for c in found if c.is_line}
    for agreed in (final, labelled, lines):
        if agreed:
            return agreed.pop() if len(agreed) == 1 else None
    everything = {c.grade for c in found}
    return everything.pop() if len(everything) == 1 and not unread else None


def _candidate(number: re.Match[str], text: str, top: float) -> _Candidate:
    sign, digits, parting, own_top, percent = number.groups()
    before = text[max(0, number.start() - _LABEL_SPAN) : number.start()]
    label = _LABEL.search(before)
    above, below = text[: number.start()], text[number.end() :]
    before_it, behind_it = above.rpartition("\n")[2].strip(" \t(["), below.partition("\n")[0].strip(" \t.)]")
    is_inner = above.strip(" \t\n([") and below.strip(" \t\n.)]")
    is_line = not (before_it or behind_it or is_inner)
    grade = _share(float(digits.replace(",", ".")), 100.0 if percent else float(own_top or top))
    if sign or (percent and own_top) or (parting and parting.lower() == "of" and not (label or is_line)):
        grade = None
    return _Candidate(grade, "" if not label else "final" if label[1] else "label", is_line)


def _share(value: float, top: float) -> float | None:
    """value / top, where that is a grade."""
    return value / top if 0 < top <= 100 and 0 <= value <= top else None


def _of_object(text: str) -> tuple[bool, float | None]:
    """Whether the text is a JSON object, and its grade."""
    text = re.sub(r"\A```\w*\s*|\s*```\Z", "", text)
    if not text.startswith("{"):
        return False, None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False, None
    named = {str(key).lower(): entry for key, entry in value.items()}
    scores = [named[key] for key in _SCORE_KEYS if key in named] or list(named.values())
    if not scores or (len(named) > 1 and not named.keys() & set(_SCORE_KEYS)):
        return True, None
    top = next((float(t) for key in _TOP_KEYS if _is_number(t := named.get(key))), None)
    if isinstance(scores[0], str):
        return True, _of_text(scores[0], top)
    return True, _share(scores[0], top or _USUAL_TOP) if _is_number(scores[0]) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
