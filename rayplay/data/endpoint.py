"""An OpenAI-compatible server -> the chat teacher's `Ask`, each answer within a time and a size."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from rayplay.chat_endpoint import NoReply, ask_for_message, open_client, text_of
from rayplay.credentials import value_of
from rayplay.data.teacher_chat import Ask
from rayplay.errors import DataError
from rayplay.records import Json, Message, Status, ToolCall, ToolSpec

PAUSES_S = (0.5, 2.0)  # before a question is asked again
MOST_CALLS = 9  # of one message


def endpoint(base_url: str, model: str, *, temperature: float, api_key_env: str = "", timeout_s: float = 60.0) -> Ask:
    """An OpenAI-compatible server as the teacher; `api_key_env` names the variable that holds its key, if it has one.

    Raises:
        RecipeError: That variable is not set.

    Raises (when asked):
        DataError: It cannot be reached, or answers with an error.
    """
    api_key = value_of(api_key_env) if api_key_env else "none"

    async def answer(request: Json) -> Json:
        async with open_client(base_url, api_key) as client:
            for pause_s in PAUSES_S:
                try:
                    return await ask_for_message(client, request, timeout_s)
                except NoReply:
                    await asyncio.sleep(pause_s)
            return await ask_for_message(client, request, timeout_s)

    def ask(messages: Sequence[Message], tools: Sequence[ToolSpec], seed: int) -> Message:
        request: Json = {"model": model, "messages": [_wire(m) for m in messages]}
        request |= {"temperature": temperature, "seed": seed}
        request |= {"tools": [t.as_function() for t in tools]} if tools else {}
        try:
            said = asyncio.run(answer(request))
        except NoReply as error:
            key = f" and the key in {api_key_env}" if api_key_env else ""
            raise DataError(
                f"teacher {model!r} at {base_url}: {error}; check the address, the model's name{key}"
            ) from error
        calls = said.get("tool_calls")
        read = [_read(n, call) for n, call in enumerate(calls[:MOST_CALLS])] if isinstance(calls, list) else []
        return Message(role="assistant", content=text_of(said) or "", tool_calls=tuple(read))

    return ask


def _read(n: int, call: Any) -> ToolCall:
    """One call as the server wrote it; what cannot be read says so."""
    function = call.get("function") if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    written = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(name, str):
        return ToolCall(call_id=f"call_{n}", problem=Status.INVALID_JSON)
    try:
        arguments = json.loads(written or "{}") if isinstance(written, str | None) else written
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        return ToolCall(call_id=f"call_{n}", name=name, raw=str(written), problem=Status.INVALID_JSON)
    return ToolCall(call_id=f"call_{n}", name=name, arguments=arguments)


def _wire(message: Message) -> Json:
    written: Json = {"role": message.role, "content": message.content}
    if message.tool_calls:
        written["tool_calls"] = [
            {"id": c.call_id, "type": "function", "function": {"name": c.name, "arguments": json.dumps(c.arguments)}}
            for c in message.tool_calls
        ]
    if message.role == "tool":
        written["tool_call_id"] = message.tool_call_id
    return written
