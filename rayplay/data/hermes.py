"""Hermes function calling (single-turn and multi-turn): <tools>, <tool_call>, <tool_response> in ShareGPT turns."""

from typing import Any

from rayplay.data.conversation import read_conversation, tools_of, usable_of
from rayplay.data.normal import Rejected
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has


def matches(value: Any) -> bool:
    """Turns of from / value in which a system text holds <tools> or a call is tagged."""
    if not has(value, conversations=list):
        return False
    texts = [t["value"] for t in value["conversations"] if has(t, value=str)]
    return any("<tools>" in t or "<tool_call>" in t for t in texts)


def read(row: RawRow, context: Context) -> Usable:
    """One conversation; the system text that only explains tools and tags is left out."""
    if not has(row.value, conversations=list):
        raise Rejected("wrong_format", "no list under 'conversations'")
    system = row.value.get("system")
    builder = read_conversation(row.value["conversations"], tools_of(row.value, context), system=system)
    return usable_of(builder, row, context)


SOURCE = Source("hermes", matches, read)
