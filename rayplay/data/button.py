"""BUTTON: messages with <tool> in the system text, <call>[...]</call> and <final> in the assistant's."""

import re
from typing import Any

from rayplay.data.calltext import tagged_calls, tools_in
from rayplay.data.normal import Builder, Rejected
from rayplay.data.openai_chat import messages_in
from rayplay.data.reading import RawRow
from rayplay.data.source import CHAT_ROLES, Context, Source, Usable, has, one, row_id, spoken
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
    builder = Builder(tools_in(_TOOL.findall(messages[0]["content"])[0]))
    for message in messages[1:]:
        role, text = spoken(message, CHAT_ROLES)
        if role == "user":
            builder.user(text)
        elif role == "assistant":
            said, calls = tagged_calls(text)
            final = _FINAL.search(said)
            builder.assistant(final[1] if final else said, calls)
        elif role == "tool":
            observe(builder, text)
        else:
            builder.system(text)
    return one(builder.demonstration(context.source, row_id(row), **context.about(row)))


SOURCE = Source("button", matches, read)
