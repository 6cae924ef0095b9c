"""Messages -> the form that chat templates read."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from rayplay.dialects.families import Family
from rayplay.records import Json, Message, digest

SYSTEM_PROMPT = "You are a helpful assistant. Call a tool only when it is needed."


def with_system(messages: Iterable[Message], prompt: str = SYSTEM_PROMPT) -> list[Message]:
    """The messages, with a system prompt where they have none and there is one."""
    messages = list(messages)
    if not prompt or (messages and messages[0].role == "system"):
        return messages
    return [Message(role="system", content=prompt), *messages]


def as_chat(message: Message, call_id_length: int = 0, text_arguments: bool = False) -> dict[str, Any]:
    """A Message in the form that chat templates read; call ids are hashed to `call_id_length` where that is given."""

    def shown(call_id: str) -> str:
        return digest([call_id], call_id_length) if call_id_length else call_id

    def given(arguments: Json) -> Json | str:
        return json.dumps(arguments, ensure_ascii=False) if text_arguments else arguments

    chat: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        chat["tool_calls"] = [
            {"type": "function", "id": shown(c.call_id), "function": {"name": c.name, "arguments": given(c.arguments)}}
            for c in message.tool_calls
        ]
    if message.role == "tool":
        chat |= {"name": message.name, "tool_call_id": shown(message.tool_call_id or "")}
    return chat


def as_chat_of(family: Family, clean: Callable[[str], str], message: Message) -> dict[str, Any]:
    """A Message as a family's template reads it: what a tool said is cleaned, wherever it comes from."""
    if message.role == "tool":
        message = message.model_copy(update={"content": clean(message.content), "name": clean(message.name)})
    return as_chat(message, family.call_id_length, family.text_arguments)
