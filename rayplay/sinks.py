"""Foreign text -> what a terminal, a page, a model card or a log shows and never obeys: one function per sink.

Foreign is whatever this project did not write itself: rows, tools, models, servers, file names, other people's errors.
Characters that steer instead of showing (control characters, direction marks, tags and other invisible ones) appear as
escapes such as `\\x1b`; values of secrets appear as the name of their variable. What a prompt may hold is the business
of `rayplay.sandbox.hygiene`.
"""

import html
import json
import re
import sys
from typing import IO, Any

from rich.markup import escape
from rich.text import Text

from rayplay.credentials import redact

MOST_CHARS = 100_000  # of one text in a terminal
LINE_CHARS = 4_000  # of a message, a log line
CELL_CHARS = 300  # of a cell in a table

# Unicode's Cc, Cf, Cs, Zl and Zp except newline, tab and the joiners that scripts and emoji need; fillers that look
# like nothing; the selectors and tags that carry hidden text
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_MARKDOWN = re.compile(r"[\\`\[\]|!#~$]")
_FENCE = re.compile(r"`+")


def for_terminal(text: object, most_chars: int = MOST_CHARS) -> str:
    """Text of several lines. Line ends of any system are newlines; what is over the bound is cut, and said to be."""
    return _visible(_cut(redact(str(text)), most_chars))


def for_line(text: object, most_chars: int = LINE_CHARS) -> str:
    """Text of one line: an error message, a line of a log. Newlines and tabs are shown as escapes."""
    return for_terminal(text, most_chars).replace("\n", "\\n").replace("\t", "\\t")


def for_cell(text: object) -> Text:
    """A cell of one of rich's tables, in which no markup is read."""
    return Text(for_line(text, CELL_CHARS))


def for_markup(text: object) -> str:
    """Text inside rich's markup, where `[` would begin a tag."""
    return escape(for_line(text))


def for_html(text: object) -> str:
    """Text inside an element, or inside a quoted attribute."""
    return html.escape(_visible(redact(str(text))), quote=True)


def for_markdown(text: object) -> str:
    """Text in a paragraph or a table of a markdown file: no markup, no link, no picture, no further line."""
    line = _visible(redact(str(text))).replace("\n", " ").replace("\t", " ")
    return html.escape(_MARKDOWN.sub(lambda m: f"\\{m[0]}", line), quote=False)


def as_code(text: str, language: str = "") -> str:
    """A code block of a markdown file, which no run of backticks in the text can close."""
    longest = max((len(run) for run in _FENCE.findall(text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{_visible(redact(text))}\n{fence}"


def as_yaml(text: object) -> str:
    """A string in the front matter of a markdown file."""
    plain = str(text)
    return plain if re.fullmatch(r"[A-Za-z][\w./-]*", plain, re.ASCII) else json.dumps(redact(plain))


def print_text(text: object = "", *, file: IO[str] | None = None) -> None:
    """Print text of any origin on stdout, or on another stream."""
    stream = file or sys.stdout
    encoding = stream.encoding or "utf-8"
    print(for_terminal(text).encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON in ASCII on stdout, whole: a program reads it."""
    print(redact(json.dumps(value, indent=indent)), flush=True)


def _visible(text: str) -> str:
    return STEERING.sub(_escaped, text.replace("\r\n", "\n"))


def _escaped(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


def _cut(text: str, most_chars: int) -> str:
    if len(text) <= most_chars:
        return text
    return f"{text[:most_chars]} [cut: {len(text) - most_chars} of {len(text)} characters are not shown]"
