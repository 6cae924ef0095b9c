"""Glaive function calling v2: one `system` text with functions and one `chat` text with USER / ASSISTANT marks."""

import re
from typing import Any

from rayplay.data.calltext import glaive_calls, tools_in
from rayplay.data.normal import Builder, Rejected
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has, one, row_id

_TURN = re.compile(r"(?:\A|\n)\s*(USER|ASSISTANT|FUNCTION RESPONSE|A):", re.DOTALL)


def matches(value: Any) -> bool:
    """A system and a chat text."""
    return has(value, system=str, chat=str)


def read(row: RawRow, context: Context) -> Usable:
    """One chat."""
    if not matches(row.value):
        raise Rejected("wrong_format", "no 'system' and 'chat' texts")
    system = row.value["system"]
    builder = Builder(tools_in(system[system.find("{") :] if "{" in system else ""))
    parts = _TURN.split(row.value["chat"].strip())
    for role, text in zip(parts[1::2], parts[2::2], strict=True):
        said, calls = glaive_calls(text.strip())
        if role == "USER":
            builder.user(said)
        elif role == "FUNCTION RESPONSE":
            builder.result(said)
        elif said or calls:
            builder.assistant(said, calls)
    builder.trim()
    return one(builder.demonstration(context.source, row_id(row), **context.about(row)))


SOURCE = Source("glaive-v2", matches, read)
