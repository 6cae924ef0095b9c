"""BUTTON: messages with <tool> in the system text, <call>[...]</call> and <final> in the assistant's."""

import re
from typing import Any

from rayplay.data.calltext import json_objects, tagged_calls
from rayplay.data.normal import Builder, Rejected, Toolset, read_tools
from rayplay.data.openai_chat import messages_in
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has, one, row_id, text_of
from rayplay.data.toolace import observe

_TOOL = re.compile(r"<tool>\s*(.*?)\s*</tool>", re.DOTALL)
_FINAL = re.compile(r"<final>\s*(.*?)\s*(?:</final>|\Z)", re.DOTALL)


def matches(value: Any) -> bool:
    """Messages of which the first, a system text, holds <tool> ... </tool>."""
    messages = messages_in(value)
    first = messages[0] if messages else None
    return has(first, content=str) and bool(_TOOL.search(first["content"]))


def read(row: RawRow, context: Context) -> Usable:
    """One conversation."""
    messages = messages_in(row.value)
    if not messages or not matches(row.value):
        raise Rejected("wrong_format", "no messages that begin with a system text with <tool>")
    builder = Builder(_tools(messages[0]["content"]))
    for message in messages[1:]:
        role = message.get("role") if isinstance(message, dict) else None
        text = text_of(message.get("content")) if isinstance(message, dict) else ""
        if role == "user":
            builder.user(text)
        elif role == "assistant":
            said, calls = tagged_calls(text)
            final = _FINAL.search(said)
            builder.assistant(final[1] if final else said, calls)
        elif role == "tool":
            observe(builder, text)
        else:
            raise Rejected("wrong_format", f"a message without a known role: {str(message)[:80]}")
    return one(builder.demonstration(context.source, row_id(row), **context.about(row)))


def _tools(system: str) -> Toolset:
    listed = _TOOL.findall(system)[0]
    try:
        values = json_objects(listed)
    except Rejected:
        raise Rejected("broken_tools", listed) from None
    return read_tools([tool for v in values for tool in (v if isinstance(v, list) else [v])])


SOURCE = Source("button", matches, read, licence="as published by its authors")
