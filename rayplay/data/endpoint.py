"""An OpenAI-compatible server -> the chat teacher's `Ask`."""

import json
from collections.abc import Sequence
from typing import Any

import openai

from rayplay.credentials import value_of
from rayplay.data.teacher_chat import Ask
from rayplay.errors import DataError
from rayplay.records import Json, Message, Status, ToolCall, ToolSpec


def endpoint(base_url: str, model: str, *, temperature: float, api_key_env: str = "", timeout_s: float = 60.0) -> Ask:
    """An OpenAI-compatible server as the teacher; `api_key_env` names the variable that holds its key, if it has one.

    Raises:
        RecipeError: That variable is not set.

    Raises (when asked):
        DataError: It cannot be reached, or answers with an error.
    """
    api_key = value_of(api_key_env) if api_key_env else "none"
    client = openai.OpenAI(base_url=base_url, api_key=api_key, timeout=timeout_s, max_retries=2)

    def ask(messages: Sequence[Message], tools: Sequence[ToolSpec], seed: int) -> Message:
        options: dict[str, Any] = {"tools": [t.as_function() for t in tools]} if tools else {}
        try:
            answer = client.chat.completions.create(
                model=model, messages=[_wire(m) for m in messages], temperature=temperature, seed=seed, **options
            )
        except openai.OpenAIError as error:
            raise DataError(
                f"teacher {model!r} at {base_url}: {error}; check the address and the model's name"
            ) from error
        said = answer.choices[0].message
        calls = [(c.function.name, c.function.arguments) for c in said.tool_calls or ()]
        return Message(role="assistant", content=said.content or "", tool_calls=tuple(map(_read, range(9), calls)))

    return ask


def _read(n: int, call: tuple[str, str]) -> ToolCall:
    try:
        arguments = json.loads(call[1] or "{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        return ToolCall(call_id=f"call_{n}", name=call[0], raw=call[1], problem=Status.INVALID_JSON)
    return ToolCall(call_id=f"call_{n}", name=call[0], arguments=arguments)


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
