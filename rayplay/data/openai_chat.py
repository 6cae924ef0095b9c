"""OpenAI-style chat lines: {"messages": [...], "tools": [...]} -> Demonstrations. For people's own data: strict.

Values are checked as they stand ("3" is no integer), since here the author can repair them. A row whose last message is
the user's is a Task.
"""

from typing import Any

from rayplay.data.conversation import listed, read_conversation, tools_of, usable_of
from rayplay.data.normal import Rejected
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable
from rayplay.data.turns import role_of

_MESSAGES = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "trajectory")


def matches(value: Any) -> bool:
    """Messages, of which the first has a known role, next to which there is nothing of another shape."""
    messages = messages_in(value)
    if not messages:
        return False
    try:
        return bool(role_of(messages[0]))
    except Rejected:
        return False


def messages_in(value: Any) -> list[Any] | None:
    """The list of messages, also where it is JSON text (as Parquet columns hold it)."""
    if not isinstance(value, dict):
        return None
    messages = next((value[k] for k in _MESSAGES if value.get(k) is not None), None)
    try:
        return listed(messages)
    except Rejected:
        return None


def read(row: RawRow, context: Context) -> Usable:
    """One conversation; tools under `tools`, or `functions` as before tools."""
    messages = messages_in(row.value)
    if messages is None:
        raise Rejected("wrong_format", "no list under 'messages'")
    if not messages:
        raise Rejected("empty", "messages is an empty list")
    system = row.value.get("system")
    builder = read_conversation(messages, tools_of(row.value, context), system=system, strict=True)
    about = {"simulated": row.value.get("simulated") is True}
    # rows that rayplay wrote itself keep where they came from
    for field in ("licence", "origin", "source"):
        if isinstance(row.value.get(field), str) and row.value[field]:
            about[field] = row.value[field]
    return usable_of(builder, row, context, **about)


SOURCE = Source("openai-jsonl", matches, read)
