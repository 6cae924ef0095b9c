"""Gemini and Vertex AI: `contents` of parts, in tuning sets and in logs of requests and responses -> Demonstrations."""

from typing import Any

from rayplay.data.conversation import read_conversation, tools_of, usable_of
from rayplay.data.normal import Rejected
from rayplay.data.reading import RawRow
from rayplay.data.replies import is_reply, reply_of
from rayplay.data.source import Context, Source, Usable, has
from rayplay.records import Json

_SYSTEM = ("systemInstruction", "system_instruction")


def matches(value: Any) -> bool:
    """Contents of parts, in the row or in its request."""
    asked = _request(value)
    return asked is not None and _is_contents(asked["contents"])


def read(row: RawRow, context: Context) -> Usable:
    """One conversation; what the response holds comes behind the contents."""
    asked = _request(row.value)
    if asked is None:
        raise Rejected("wrong_format", "no 'contents'")
    said, repairs = _answer(row.value)
    settings = asked["config"] if isinstance(asked.get("config"), dict) else {}
    holder = asked if asked.get("tools") else settings
    system = next((h[k] for h in (asked, settings) for k in _SYSTEM if h.get(k)), None)
    turns = [*([_turn(system, "system")] if system else []), *_turns(asked["contents"]), *said]
    builder = read_conversation(turns, tools_of(holder, context), strict=True)
    builder.repairs |= repairs
    return usable_of(builder, row, context)


def _answer(value: Json) -> tuple[list[Any], set[str]]:
    """What the model said in a log; nothing in a tuning set."""
    held = next((value[k] for k in ("response", "response_body", "output") if is_reply(value.get(k))), None)
    held = value if held is None and isinstance(value.get("candidates"), list) else held
    return reply_of(held) if held is not None else ([], set())


def _request(value: Any) -> Json | None:
    """Where the contents stand."""
    if not isinstance(value, dict):
        return None
    places = (
        value,
        *(value[k] for k in ("request", "request_body", "body", "input") if isinstance(value.get(k), dict)),
    )
    return next((place for place in places if place.get("contents")), None)


def _is_contents(contents: Any) -> bool:
    turns = contents if isinstance(contents, list) else [contents]
    return any(has(turn, parts=list) for turn in turns)


def _turns(contents: Any) -> list[Any]:
    """Contents as messages; a single one, and one without a role, are the user's."""
    return [_turn(turn, "user") for turn in (contents if isinstance(contents, list) else [contents])]


def _turn(turn: Any, role: str) -> Any:
    if isinstance(turn, str):
        return {"role": role, "content": turn}
    if not isinstance(turn, dict):
        raise Rejected("wrong_format", f"a content is a {type(turn).__name__}")
    return turn if turn.get("role") and role != "system" else {**turn, "role": role}


SOURCE = Source("gemini", matches, read)
