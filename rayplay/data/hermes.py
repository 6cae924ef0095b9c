"""Hermes function calling (single-turn and multi-turn): <tools>, <tool_call>, <tool_response> in ShareGPT turns."""

import re
from typing import Any

from rayplay.data.calltext import tagged_calls, tools_in
from rayplay.data.normal import Builder, Rejected, Toolset, read_tools
from rayplay.data.reading import RawRow
from rayplay.data.source import CHAT_ROLES, Context, Source, Usable, has, one, row_id, spoken
from rayplay.records import Json

_TOOLS = re.compile(r"<tools>\s*(.*?)\s*</tools>", re.DOTALL)
_RESPONSE = re.compile(r"<tool_response>\s*(.*?)\s*</tool_response>", re.DOTALL)


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
    turns = row.value["conversations"]
    builder = Builder(_tools(row.value, turns))
    for turn in turns:
        role, text = spoken(turn, CHAT_ROLES)
        if role == "system":
            builder.system("" if "<tools>" in text else text)
        elif role == "user":
            builder.user(text)
        elif role == "assistant":
            said, calls = tagged_calls(text)
            builder.assistant(said, calls)
        else:
            observe(builder, text)
    return one(builder.demonstration(context.source, row_id(row), **context.about(row)))


def observe(builder: Builder, text: str) -> None:
    """The <tool_response> texts of a turn, one for each call; a single text answers all."""
    found = _RESPONSE.findall(text) or [text]
    if len(found) != builder.waiting():
        found = [text] * max(builder.waiting(), 1)
    for response in found:
        builder.result(response)


def _tools(value: Json, turns: list[Any]) -> Toolset:
    if isinstance(value.get("tools"), str | list) and value["tools"]:
        return read_tools(value["tools"])
    system = next((t["value"] for t in turns if has(t, value=str) and t.get("from") == "system"), "")
    listed = [m for m in _TOOLS.findall(system) if m]
    return tools_in(listed[-1] if listed else "")


SOURCE = Source("hermes", matches, read, licence="Apache-2.0")
