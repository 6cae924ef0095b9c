"""Logs of chat APIs: what was asked, next to what was answered -> Demonstrations.

Proxies and observers write the pair under many names (`request` / `response`, `request_body` / `response_body`,
`input` / `output`, `kwargs` / `result`, `messages` / `choices`); OpenAI's and Anthropic's bodies are both read, and so
are streamed answers. A row of a batch without its answer is a task.
"""

from typing import Any

from rayplay.data.conversation import read_conversation, tools_of, usable_of
from rayplay.data.normal import Rejected
from rayplay.data.reading import RawRow
from rayplay.data.replies import is_reply, reply_of
from rayplay.data.schemas import literal
from rayplay.data.source import Context, Source, Usable, has
from rayplay.data.turns import role_of
from rayplay.records import Json

_ASKED = (
    "request", "request_body", "body", "input", "inputs", "kwargs", "params", "payload", "completion_kwargs",
    "model_parameters", "optional_params",
)  # fmt: skip
_MESSAGES = ("messages", "prompt_messages", "chat_messages")
_ANSWERED = (
    "response", "response_body", "response_obj", "output", "outputs", "result", "completion", "completion_message",
    "choices", "chunks", "reply", "message",
)  # fmt: skip
_LAYERS = 3


def matches(value: Any) -> bool:
    """Messages that were sent, and an answer next to them; or the body of a request alone."""
    asked = request_of(value)
    return asked is not None and (_answer(value) is not None or has(value, body=dict))


def read(row: RawRow, context: Context) -> Usable:
    """One exchange: all that was sent, and the answer behind it."""
    asked = request_of(row.value)
    if asked is None or not matches(row.value):
        raise Rejected("wrong_format", "no request with messages next to an answer")
    messages, system, holder = asked
    answer = _answer(row.value)
    said, repairs = reply_of(answer) if answer is not None else ([], set())
    builder = read_conversation([*messages, *said], tools_of(holder, context), system=system, strict=True)
    builder.repairs |= repairs
    return usable_of(builder, row, context)


def request_of(value: Any) -> tuple[list[Any], Any, Json] | None:
    """(messages, system text, where the tools stand) of a request; None where there is none. Never raises."""
    return _request_in(value, value, _LAYERS)


def _request_in(value: Any, outer: Any, layers: int) -> tuple[list[Any], Any, Json] | None:
    value = literal(value) if isinstance(value, str) and value.lstrip()[:1] == "{" else value
    if _are_messages(value):  # Langfuse: the messages alone
        return value, None, outer if isinstance(outer, dict) else {}
    if not isinstance(value, dict) or not layers:
        return None
    messages = next((value[k] for k in _MESSAGES if _are_messages(value.get(k))), None)
    if messages is not None:
        beside = (value.get(k) for k in _ASKED)
        settings = next((v for v in beside if isinstance(v, dict) and (v.get("tools") or v.get("functions"))), {})
        return messages, value.get("system"), value if value.get("tools") or value.get("functions") else settings
    inner = (_request_in(value[k], value, layers - 1) for k in _ASKED if value.get(k))
    return next((found for found in inner if found), None)


def _answer(value: Any, layers: int = _LAYERS) -> Any:
    """The answer of an exchange; None where there is none."""
    if not isinstance(value, dict) or not layers:
        return None
    if isinstance(value.get("choices"), list) and value["choices"]:
        return value
    return next((value[k] for k in _ANSWERED if value.get(k) and is_reply(value[k])), None)


def _are_messages(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    try:
        return bool(role_of(value[0])) and any(k in value[0] for k in ("content", "role", "tool_calls"))
    except Rejected:
        return False


SOURCE = Source("chat-log", matches, read)
