"""gpt-oss's Harmony format -> calls: messages with a channel and, for a call, a recipient, in any order in the header.

What the model writes differs from what its template renders: the recipient may stand behind the role or behind the
channel, the content type with or without `<|constrain|>`. Only headers are searched: what an analysis mentions is text.
"""

import re
from collections.abc import Sequence

from rayplay.dialects.reading import Found, Reading
from rayplay.records import ToolSpec
from rayplay.strict_json import read_json_at

_HEADER = re.compile(r"(?:<\|start\|>)?((?:(?!<\|(?:message|start|end|call|return)\|>).)*)<\|message\|>", re.DOTALL)
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_RECIPIENT = re.compile(r"(?:^|[\s>])to=([^\s<]+)")
_NEXT_HEADER = r"<\|start\|>|<\|channel\|>[^<]{0,200}(?:<\|constrain\|>[^<]{0,40})?<\|message\|>"
_BOUNDARY = re.compile(rf"<\|(?:end|call|return)\|>|(?={_NEXT_HEADER})")
_SPACE = re.compile(r"\s*")
_PEOPLE = frozenset(("user", "assistant", "all"))


def read_harmony(text: str, tools: Sequence[ToolSpec]) -> Reading:
    """Messages of `final` and, without a recipient, `commentary` are content; those to a function are calls."""
    content: list[str] = []
    calls: list[Found] = []
    at = 0
    while at < len(text):
        header = _HEADER.match(text, at)
        if header is None:
            boundary = _BOUNDARY.search(text, at + 1)
            end = boundary.end() if boundary else len(text)
            stray = text[at:end]
            if _RECIPIENT.search(stray.partition("<|message|>")[0]) and stray.lstrip().startswith(("to=", "<|")):
                calls.append(Found(stray))  # a header that never came to its message
            else:
                content.append(_without_marks(stray))
            at = max(end, at + 1)
            continue
        recipient = _RECIPIENT.search(header[1])
        if recipient and recipient[1] not in _PEOPLE:
            found, at = _call(text, header, recipient[1].removeprefix("functions."))
            calls.append(found)
            continue
        boundary = _BOUNDARY.search(text, header.end())
        body = text[header.end() : boundary.start() if boundary else len(text)]
        channel = _CHANNEL.search(header[1])
        if channel is None or channel[1] != "analysis":
            content.append(body)
        at = boundary.end() if boundary else len(text)
    return Reading("\n".join(part.strip() for part in content if part.strip()), calls)


def _call(text: str, header: re.Match[str], name: str) -> tuple[Found, int]:
    start = header.end()
    body = _SPACE.match(text, start).end()
    try:
        value, end = read_json_at(text, body)
    except ValueError:
        value, end = None, start
    boundary = _BOUNDARY.search(text, end)
    until = boundary.start() if boundary else len(text)
    whole = not text[end:until].strip()  # the JSON is all that was said
    raw = text[header.start() : until]
    after = boundary.end() if boundary else len(text)
    return Found(raw, name, value if whole and isinstance(value, dict) else None), after


def _without_marks(text: str) -> str:
    return re.sub(r"<\|\w+\|>", "", text)
