"""OpenAI-style chat lines: {"messages": [...], "tools": [...]} -> Demonstrations. For people's own data: strict.

Values are checked as they stand ("3" is no integer), since here the author can mend them.
"""

import json
from typing import Any

from rayplay.data.calltext import calls_of
from rayplay.data.normal import Builder, Rejected, read_tools
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has, one, row_id, text_of

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def matches(value: Any) -> bool:
    """Messages with roles, beside which there is nothing of another shape."""
    messages = messages_in(value)
    return bool(messages) and all(isinstance(m, dict) and m.get("role") in ROLES for m in messages)


def messages_in(value: Any) -> list[Any] | None:
    """The list of messages, also where it is JSON text (as Parquet columns hold it)."""
    if not isinstance(value, dict):
        return None
    messages = value.get("messages")
    if isinstance(messages, str):
        try:
            messages = json.loads(messages)
        except (ValueError, RecursionError):
            return None
    return messages if isinstance(messages, list) else None


def read(row: RawRow, context: Context) -> Usable:
    """One conversation; tools under `tools`, or `functions` as before tools."""
    messages = messages_in(row.value)
    if messages is None:
        raise Rejected("wrong_format", "no list under 'messages'")
    if not messages:
        raise Rejected("empty", "messages is an empty list")
    raw_tools = next((row.value[k] for k in ("tools", "functions", "tools_json") if row.value.get(k)), [])
    builder = Builder(read_tools(raw_tools), strict=True)
    for message in messages:
        speak(builder, message)
    about = {**context.about(row), "simulated": row.value.get("simulated") is True}
    # rows that rayplay wrote itself keep where they came from
    for field in ("licence", "origin", "source"):
        if isinstance(row.value.get(field), str) and row.value[field]:
            about[field] = row.value[field]
    source = about.pop("source", context.source)
    return one(builder.demonstration(source, row_id(row), **about))


def speak(builder: Builder, message: Any) -> None:
    """Add one OpenAI-style message.

    Raises:
        Rejected: Its role or content is none, or it does not fit what went before.
    """
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise Rejected("wrong_format", f"a message without a known role: {str(message)[:80]}")
    role, text = message["role"], text_of(message.get("content"))
    if role in ("system", "developer"):
        builder.system(text)
    elif role == "user":
        builder.user(text)
    elif role == "assistant":
        calls, ids = calls_in(message)
        builder.assistant(text, calls, ids)
    else:
        name = message.get("name")
        call_id = message.get("tool_call_id")
        builder.result(text, name if isinstance(name, str) else "", call_id if isinstance(call_id, str) else "")


def calls_in(message: dict[str, Any]) -> tuple[list[tuple[Any, Any]], list[str]]:
    """The calls of an assistant message and their ids; the older single `function_call` too."""
    raw = message.get("tool_calls") or ([message["function_call"]] if message.get("function_call") else [])
    if not isinstance(raw, list):
        raise Rejected("broken_call", f"tool_calls is a {type(raw).__name__}")
    ids = [c["id"] for c in raw if has(c, id=str)]
    return calls_of(raw), ids if len(ids) == len(raw) else []


SOURCE = Source("openai-jsonl", matches, read)
