"""BUTTON: messages with <tool> in the system text, <call>[...]</call> and <final> in the assistant's."""

import re
from typing import Any

from rayplay.data.calltext import tagged_calls, tools_in
from rayplay.data.conversation import read_conversation, usable_of
from rayplay.data.normal import Rejected
from rayplay.data.openai_chat import messages_in
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has

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
    tools = tools_in(_TOOL.findall(messages[0]["content"])[0])
    return usable_of(read_conversation([_plain(m) for m in messages[1:]], tools), row, context)


def _plain(message: Any) -> Any:
    """A message without the tags around its final answer; what stands before them is planning."""
    if not has(message, role=str, content=str) or message["role"] not in ("assistant", "gpt"):
        return message
    said, calls = tagged_calls(message["content"])
    final = _FINAL.search(said)
    held = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return {**message, "content": final[1] if final else said, "tool_calls": held}


SOURCE = Source("button", matches, read)
