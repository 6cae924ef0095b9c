"""Chosen and rejected sides of a preference, in any chat shape -> Messages, and the reason why one is worse.

The chosen side is a conversation like any other. The rejected one may be as wrong as it likes, and stays so: a call
that cannot be read is kept as the text that it is, never as a call with other arguments.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rayplay.data.conversation import listed
from rayplay.data.normal import Rejected, TextArguments, Toolset
from rayplay.data.schemas import literal
from rayplay.data.turns import Turn, content_text, role_of, turn_of
from rayplay.pairs import reason_of
from rayplay.records import Message, Reason, ToolCall
from rayplay.records import Turn as Sampled


@dataclass(frozen=True)
class Side:
    """The messages of a rejected side; `is_broken` where a call of its first message could not be read."""

    messages: tuple[Message, ...]
    is_broken: bool = False


def side_of(value: Any, role: str = "assistant") -> list[Any]:
    """A side as a list of messages: a text, one message, or a list.

    Raises:
        Rejected: It is none of these, or empty.
    """
    if isinstance(value, dict):
        return [value]
    if isinstance(value, str) and not isinstance(literal(value), list):
        return [{"role": role, "content": value}]
    messages = [{"role": role, "content": m} if isinstance(m, str) else m for m in listed(value)]
    if not messages:
        raise Rejected("wrong_format", f"a side is {str(value)[:80]}")
    return messages


def read_rejected(messages: Sequence[Any], tools: Toolset) -> Side:
    """A rejected side as it stands, whatever it holds.

    Raises:
        Rejected: It does not begin with what an assistant says, or a message has no known role.
    """
    read: list[Message] = []
    is_broken = False
    for index, message in enumerate(messages):
        role = role_of(message)
        if role not in ("assistant", "call", "tool", "user", "thinking"):
            raise Rejected("wrong_format", f"a rejected side holds a message of the {role}'s")
        try:
            turn = turn_of(message, tools)
        except Rejected as rejected:
            if role not in ("assistant", "call") or rejected.reason == "not_text":
                raise
            turn = Turn("assistant", text=content_text(message))
            is_broken = is_broken or index == 0
        made, broken = _messages_of(turn, tools, len(read))
        read.extend(made)
        is_broken = is_broken or (broken and index == 0)
    if not read or read[0].role != "assistant":
        raise Rejected("roles_out_of_order", "rejected is not what an assistant says after the prompt")
    return Side(tuple(read), is_broken)


def why(chosen: Sequence[Message], rejected: Side) -> Reason:
    """The reason that can be read off the first messages of two sides, by the rule for sampled ones."""
    if rejected.is_broken:
        return Reason.INVALID_JSON
    right, wrong = chosen[0].tool_calls, rejected.messages[0].tool_calls
    if not right and not wrong:
        return Reason.DATASET_PREFERENCE
    return reason_of(Sampled(start=0, end=0, calls=right), Sampled(start=0, end=0, calls=wrong))


def _messages_of(turn: Turn, tools: Toolset, number: int) -> tuple[list[Message], bool]:
    """A turn as messages, and whether a call of it is broken: it then stands as text."""
    if turn.role != "assistant":
        made = [Message(role="tool", content=r.content, tool_call_id=r.call_id, name=r.name) for r in turn.results]
        return [*made, *([Message(role="user", content=turn.text)] if turn.text else [])], False
    calls: list[ToolCall] = []
    texts: list[str] = []
    for n, (name, arguments) in enumerate(turn.calls):
        held = _arguments(name, arguments, tools)
        if held is None or not isinstance(name, str):
            raw = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            texts.append(
                f'<tool_call>\n{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {raw}}}\n</tool_call>'
            )
            continue
        spec = tools.find(name)
        raw = arguments if isinstance(arguments, str) else ""
        calls.append(ToolCall(call_id=f"call_{number}_{n}", name=spec.name if spec else name, arguments=held, raw=raw))
    text = "\n".join(t for t in (turn.spoken, *texts) if t)
    return [Message(role="assistant", content=text, tool_calls=tuple(calls))], bool(texts)


def _arguments(name: Any, arguments: Any, tools: Toolset) -> dict[str, Any] | None:
    """The arguments as an object; None where they are none."""
    if isinstance(arguments, TextArguments):
        spec = tools.find(name) if isinstance(name, str) else None
        return arguments.read(spec.parameters if spec else {})
    if isinstance(arguments, str):
        read = literal(arguments) if arguments.strip() not in ("", "null") else {}
        return read if isinstance(read, dict) else None
    return {} if arguments is None else arguments if isinstance(arguments, dict) else None
