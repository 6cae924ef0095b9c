"""ToolACE: a system text with functions as JSON, and assistant turns like `[Get Weather(city="Rome")]`."""

import json
from typing import Any

from rayplay.data.calltext import bracket_calls
from rayplay.data.normal import Builder, Rejected, Toolset, read_tools
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has, one, row_id, spoken

ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "tool": "tool"}
_MARK = "list of functions in JSON format"


def matches(value: Any) -> bool:
    """A system text that lists functions in JSON, and turns of from / value."""
    return has(value, system=str, conversations=list) and _MARK in value["system"] and "tools" not in value


def read(row: RawRow, context: Context) -> Usable:
    """One conversation. A `[...]` that names functions is a call; other text is an answer."""
    if not has(row.value, system=str, conversations=list):
        raise Rejected("wrong_format", "no system text and conversations")
    builder = Builder(_tools(row.value["system"]))
    for turn in row.value["conversations"]:
        role, text = spoken(turn, ROLES)
        if role == "user":
            builder.user(text)
        elif role == "assistant":
            calls = bracket_calls(text)
            builder.assistant("" if calls else text, calls or ())
        else:
            observe(builder, text)
    return one(builder.demonstration(context.source, row_id(row), **context.about(row)))


def _tools(system: str) -> Toolset:
    """The JSON list behind the mark in the system text."""
    start = system.find("[", system.find(_MARK) + 1)
    if start < 0:
        raise Rejected("broken_tools", "no list of functions in the system text")
    try:
        value, _ = json.JSONDecoder(strict=False).raw_decode(system, start)
    except (ValueError, RecursionError):
        raise Rejected("broken_tools", system[start : start + 120]) from None
    return read_tools(value)


def observe(builder: Builder, text: str) -> None:
    """Results of all calls of a message: a JSON list of {name, results}."""
    try:
        items = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        items = None
    if isinstance(items, list) and len(items) == builder.waiting():
        for item in items:
            named = has(item, name=str)
            builder.result(item.get("results", item) if named else item, item["name"] if named else "")
        return
    for _ in range(max(builder.waiting(), 1)):
        builder.result(text)


SOURCE = Source("toolace", matches, read)
