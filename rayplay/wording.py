"""A string -> what of it counts, by one of three rules: two strings are the same where the same counts of both.

official  BFCL's checker: case, spaces and the marks , . / - _ * ^ do not count, and ' is ". So "8 / 2" is "82" to it.
plain     The same, but a mark counts where it carries meaning: in numbers ("-5", "3.5", "1,2,3"), formulas ("8 / 2"),
          paths, file names, addresses and code. Dates may be written with - or / or dots, thousands with or without
          commas. A text of signs alone (a separator) counts as it stands.
exact     Every character counts.

What is the same by one rule is the same by the rules above it. Only the plain space is ever dropped: tabs, line breaks
and other white space count everywhere.
"""

import re
from collections.abc import Callable

from rayplay.records import Rule

_OFFICIAL = str.maketrans({**dict.fromkeys(" ,./-_*^"), "'": '"'})
_DATE = re.compile(r"(?<!\d)(?:\d{4}([-/.])\d\d?\1\d\d?|\d\d?([-/.])\d\d?\2\d{4})(?!\d)")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_DAY_COMMA = re.compile(r"(?<!\d)(\d\d?),(?=\d{4}(?!\d))")  # April 1,2031
_AROUND_OPERATORS = re.compile(r"(?<=\d) *([-/]) *(?=[-.]?\d)")
_FOR_MACHINES = re.compile(  # a path, an address, a file name, a domain, or code stands in it
    r"\w@\w|\w:[/\\]|(?<!\S)[~.]{0,2}/\S|/[^\s/]+/|\w/(?!\S)|\\|\w\.[^\W\d_]\w|\w\(|[=<>{}\[\]|;]"
)
_WORD = re.compile(r"[^\W\d_]{2}")
_BETWEEN_WORDS = re.compile(
    r"[ _]|,(?!(?<=\d,)\d)|\.(?!\d)|(?<=[^\W\d])\."
    r"|-(?!(?<=\d-)[-.]?\d|(?<![\w)\]]-)\.?\d)|/(?!(?<=\d/)\d|(?<= /) )"
)
_WITHOUT_WORDS = re.compile(r" |(?<!\.)\.(?![\d.])")


def _official(text: str) -> str:
    return text.translate(_OFFICIAL).lower()


def _plain(text: str) -> str:
    text = text.lower().replace("'", '"')
    if not any(map(str.isalnum, text)):
        return text
    text = _DATE.sub(lambda date: date[0].replace("/", "-").replace(".", "-"), text)
    text = _THOUSANDS.sub(lambda number: number[0].replace(",", ""), text)
    if _FOR_MACHINES.search(text):
        return text.replace(" ", "")
    text = _AROUND_OPERATORS.sub(r"\1", _DAY_COMMA.sub(r"\1", text))
    return (_BETWEEN_WORDS if _WORD.search(text) else _WITHOUT_WORDS).sub("", text)


COUNTS: dict[Rule, Callable[[str], str]] = {"official": _official, "plain": _plain, "exact": str}
