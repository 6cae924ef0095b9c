"""Glaive function calling v2: one `system` text with functions and one `chat` text with USER / ASSISTANT marks."""

import re
from typing import Any

from rayplay.data.calltext import tools_in
from rayplay.data.conversation import read_conversation, usable_of
from rayplay.data.normal import Rejected
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has

_ROLES = {"USER": "user", "ASSISTANT": "assistant", "A": "assistant", "FUNCTION RESPONSE": "tool"}
_TURN = re.compile(r"(?:\A|\n)\s*(USER|ASSISTANT|FUNCTION RESPONSE|A):", re.DOTALL)


def matches(value: Any) -> bool:
    """A system and a chat text."""
    return has(value, system=str, chat=str)


def read(row: RawRow, context: Context) -> Usable:
    """One chat."""
    if not matches(row.value):
        raise Rejected("wrong_format", "no 'system' and 'chat' texts")
    system = row.value["system"]
    tools = tools_in(system[system.find("{") :] if "{" in system else "")
    parts = _TURN.split(row.value["chat"].replace("<|endoftext|>", "").strip())
    said = [(_ROLES[mark], text.strip()) for mark, text in zip(parts[1::2], parts[2::2], strict=True)]
    turns = [{"role": role, "content": text} for role, text in said if text or role != "assistant"]
    builder = read_conversation(turns, tools)
    builder.trim()
    return usable_of(builder, row, context)


SOURCE = Source("glaive-v2", matches, read)
