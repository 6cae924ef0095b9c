"""ShareGPT turns with tools: Glaive's (`function_call` / `observation`) and APIGen-MT (with a system policy)."""

from typing import Any

from rayplay.data.calltext import json_calls
from rayplay.data.normal import Builder, Rejected, read_tools
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has, one, row_id, spoken, text_of

ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "function_call": "call",
    "tool_call": "call", "observation": "tool", "tool": "tool", "function_response": "tool", "system": "system",
}  # fmt: skip


def matches_glaive(value: Any) -> bool:
    """Conversations of from / value with tools beside them, and no policy."""
    return _is_sharegpt(value) and not value.get("system")


def matches_apigen_mt(value: Any) -> bool:
    """The same with a system policy."""
    return _is_sharegpt(value) and isinstance(value.get("system"), str) and bool(value["system"])


def read(row: RawRow, context: Context) -> Usable:
    """One conversation; calls stand as JSON in turns of their own."""
    if not has(row.value, conversations=list):
        raise Rejected("wrong_format", "no list under 'conversations'")
    builder = Builder(read_tools(row.value.get("tools")))
    builder.system(text_of(row.value.get("system")))
    for turn in row.value["conversations"]:
        role, text = spoken(turn, ROLES)
        if role == "system":
            builder.system(text)
        elif role == "user":
            builder.user(text)
        elif role == "assistant":
            builder.assistant(text)
        elif role == "call":
            builder.assistant("", json_calls(text))
        else:
            for _ in range(max(builder.waiting(), 1)):
                builder.result(text)
    return one(builder.demonstration(context.source, row_id(row), **context.about(row)))


def _is_sharegpt(value: Any) -> bool:
    if not has(value, conversations=list) or not isinstance(value.get("tools"), str | list):
        return False
    turns = [t for t in value["conversations"] if has(t, value=str)]
    tagged = any("<tool_call>" in t["value"] for t in turns)
    return bool(turns) and all(has(t, **{"from": str}) and t["from"] in ROLES for t in turns) and not tagged


GLAIVE = Source("glaive-sharegpt", matches_glaive, read, licence="Apache-2.0")
APIGEN_MT = Source("apigen-mt", matches_apigen_mt, read, licence="CC-BY-NC-4.0")
