"""Sampled text -> what was found in it: calls, read or broken, and the text around them.

A reader is proven on what its family writes. What all readers share stands here: thinking is skipped, structure is
looked for outside of strings only, a broken call costs no other call, and nothing raises.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rayplay.records import Status, ToolCall, ToolSpec
from rayplay.strict_json import as_unicode, is_storable, is_unicode, read_json

RAW_CHARS = 2000  # of a call's text that its record keeps
ARGUMENT_KEYS = ("arguments", "parameters")
CALL_KEYS = frozenset(("name", "id", "type", *ARGUMENT_KEYS))


class Found(NamedTuple):
    """One call in a text; `arguments` is None where it cannot be read."""

    raw: str
    name: str = ""
    arguments: dict[str, Any] | None = None


class Reading(NamedTuple):
    """A message taken apart."""

    content: str
    calls: list[Found]


Reader = Callable[[str, Sequence[ToolSpec]], Reading]
ReadCalls = Callable[[str, re.Match[str]], tuple[list[Found], int]]  # (text, what opened a call) -> (calls, one past)


class Thinking(NamedTuple):
    """What stands around a model's thinking."""

    opened: str = "<think>"
    closed: str = "</think>"


def scan(text: str, opener: re.Pattern[str], read_calls: ReadCalls, thinking: Thinking) -> Reading:
    """Walk through a message: thinking is skipped, each opener read, everything else content.

    Thinking that never ends has no message behind it; an end without a beginning (the template wrote that into the
    prompt) makes thinking of all before it, calls included.
    """
    opened, closed = map(re.escape, thinking)
    marks = re.compile(f"(?P<opened>{opened})|(?P<closed>{closed})|{opener.pattern}")
    content, calls, at = "", [], 0
    while mark := marks.search(text, at):
        content += text[at : mark.start()]
        if mark["opened"]:
            end = text.find(thinking.closed, mark.end())
            at = len(text) if end < 0 else end + len(thinking.closed)
        elif mark["closed"]:
            content, calls, at = "", [], mark.end()
        else:
            found, at = read_calls(text, mark)
            calls += found
            if not found:  # no call after all
                content += text[mark.start() : at]
    return Reading((content + text[at:]).strip(), calls)


def guarded(
    parse: Callable[[str, Sequence[ToolSpec]], dict[str, Any]],
    call_marks: Sequence[str],
    thinking: Thinking,
    closing: str = "",
) -> Reader:
    """A library's parser as a reader: it is shown no thinking, may raise, and an attempt that it overlooks is broken.

    Args:
        parse: (text, tools) -> {"content": str, "tool_calls": [{"function": {"name", "arguments"}}]}.
        call_marks: Any of them in a message without calls makes it an attempt.
        thinking: What stands around the thinking with which a message may begin.
        closing: What ends a call. Some parsers take a call that was never closed for one without arguments.
    """

    def read(text: str, tools: Sequence[ToolSpec]) -> Reading:
        said = _after_thinking(text, call_marks, thinking)
        try:
            message = parse(said, tools) if said.strip() else {}
        except (ValueError, TypeError, KeyError, RecursionError, IndexError, AttributeError):
            message = {}
        calls = [call_of(entry, str(entry)) for entry in message.get("tool_calls") or ()]
        if not calls and any(mark in said for mark in call_marks):
            return Reading("", [Found(said)])
        begun = max((said.rfind(mark) for mark in call_marks), default=-1)
        if calls and closing and begun >= 0 and closing not in said[begun:]:
            calls[-1] = Found(said[begun:], calls[-1].name)
        return Reading(str(message.get("content") or ("" if calls else said)).strip(), calls)

    return read


def _after_thinking(text: str, call_marks: Sequence[str], thinking: Thinking) -> str:
    thought, closed, said = text.partition(thinking.closed)
    if thought.lstrip().startswith(thinking.opened):
        return said
    return said if closed and not any(mark in thought for mark in call_marks) else text


def call_of(value: Any, raw: str) -> Found:
    """A JSON value -> the call that it is, or a broken one.

    Its arguments are an object, or the JSON text of one, under `arguments` or `parameters`. Any other key beside the
    name would be values that the call was given and that nobody reads, so it is refused.
    """
    if (
        isinstance(value, dict)
        and isinstance(value.get("function"), dict)
        and value.keys() <= {"function", "type", "id"}
    ):
        value = value["function"]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return Found(raw)
    given = [key for key in ARGUMENT_KEYS if key in value]
    if len(given) > 1 or not value.keys() <= CALL_KEYS:
        return Found(raw, value["name"])
    arguments = value[given[0]] if given else {}
    if isinstance(arguments, str):
        try:
            arguments = read_json(arguments)
        except ValueError:
            return Found(raw, value["name"])
    return Found(raw, value["name"], arguments if isinstance(arguments, dict) else None)


def record_of(found: Found, call_id: str) -> ToolCall:
    """The call as a record; what no record can hold is `invalid_json`."""
    raw = as_unicode(found.raw[:RAW_CHARS])
    if not is_unicode(found.name):
        return ToolCall(call_id=call_id, raw=raw, problem=Status.INVALID_JSON)
    if found.arguments is None or not is_storable(found.arguments):
        return ToolCall(call_id=call_id, name=found.name, raw=raw, problem=Status.INVALID_JSON)
    return ToolCall(call_id=call_id, name=found.name, arguments=found.arguments, raw=raw)


def end_of_broken(text: str, at: int, closed: str, opened: str) -> int:
    """Where a call that began before `at` and cannot be read ends: behind its mark, or where the next call opens."""
    end, following = text.find(closed, at), text.find(opened, at)
    if end >= 0 and not 0 <= following < end:
        return end + len(closed)
    return following if following >= 0 else len(text)
