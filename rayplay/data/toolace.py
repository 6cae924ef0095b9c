"""ToolACE: a system text with functions as JSON, and assistant turns like `[Get Weather(city="Rome")]`."""

import json
from typing import Any

from rayplay.data.conversation import read_conversation, usable_of
from rayplay.data.normal import Rejected, Toolset, read_tools
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has

_MARK = "list of functions in JSON format"


def matches(value: Any) -> bool:
    """A system text that lists functions in JSON, and turns of from / value."""
    return has(value, system=str, conversations=list) and _MARK in value["system"] and "tools" not in value


def read(row: RawRow, context: Context) -> Usable:
    """One conversation. A `[...]` that names functions is a call; other text is an answer."""
    if not has(row.value, system=str, conversations=list):
        raise Rejected("wrong_format", "no system text and conversations")
    return usable_of(read_conversation(row.value["conversations"], _tools(row.value["system"])), row, context)


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


SOURCE = Source("toolace", matches, read)
