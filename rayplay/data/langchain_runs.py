"""LangChain: serialised messages, LangGraph states and LangSmith runs -> Demonstrations.

Plain dumps of messages (`{"messages": [{"type": "human", ...}]}`) are read as chat lines; here are those in which
messages are constructors (`"lc": 1`), or lie inside a state, or on two sides of a run.
"""

from collections.abc import Iterator
from typing import Any

from rayplay.data.conversation import read_conversation, tools_of, usable_of
from rayplay.data.normal import Rejected
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has
from rayplay.data.turns import role_of
from rayplay.records import Json

_STATES = ("values", "state", "channel_values", "checkpoint", "data")
_SETTINGS = ("invocation_params", "extra", "kwargs", "metadata", "options")
_LAYERS = 4


def matches(value: Any) -> bool:
    """A run, a state, or messages that are constructors."""
    if not isinstance(value, dict):
        return False
    if has(value, inputs=dict):
        return bool(_messages(value["inputs"])) and isinstance(value.get("outputs"), dict)
    if any(isinstance(value.get(k), dict) and _messages(value[k]) for k in _STATES):
        return True
    return isinstance(value.get("messages"), list) and any(has(m, lc=int, kwargs=dict) for m in value["messages"])


def read(row: RawRow, context: Context) -> Usable:
    """One run or state."""
    if not matches(row.value):
        raise Rejected("wrong_format", "no messages of LangChain")
    if row.value.get("error"):
        raise Rejected("marked_bad", f"the run ended with an error: {str(row.value['error'])[:120]}")
    said = _messages(row.value)
    if has(row.value, inputs=dict):
        said, answered = _messages(row.value["inputs"]), _messages(row.value["outputs"])
        # a graph gives its whole state back, a model only its answer
        said = answered if answered[: len(said)] == said else [*said, *answered]
    tools = next(_tools(row.value, _LAYERS), [])
    builder = read_conversation(said, tools_of({"tools": tools}, context), strict=True)
    return usable_of(builder, row, context)


def _messages(value: Any, layers: int = _LAYERS) -> list[Any]:
    """The messages in a state, in inputs or in outputs, as plain messages; [] where there are none."""
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], list):
            return _messages(value[0], layers)  # a batch of one
        found = [_plain(item) for item in value]
        return found if found and all(map(_is_message, found)) else []
    if not isinstance(value, dict) or not layers:
        return []
    if _is_message(_plain(value)):
        return [_plain(value)]
    for key in ("messages", "message", "output", "input", "generations", *_STATES):
        found = _messages(value.get(key), layers - 1)
        if not found and key == "generations":
            found = _messages(_first(value.get(key)), layers - 1)
        if found:
            return found
    return []


def _first(value: Any) -> Any:
    """The first generation of the first prompt."""
    while isinstance(value, list) and value:
        value = value[0]
    return value


def _plain(message: Any) -> Any:
    """A constructor as the message that it makes."""
    if has(message, kwargs=dict) and isinstance(message.get("id"), list) and message["id"]:
        kind = str(message["id"][-1]).removesuffix("Chunk")
        return {"type": kind, **{k: v for k, v in message["kwargs"].items() if k != "type"}}
    return message


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict) or not ("content" in value or "data" in value or "tool_calls" in value):
        return False
    try:
        return bool(role_of(value))
    except Rejected:
        return False


def _tools(value: Json, layers: int) -> Iterator[list[Any]]:
    """Lists of tools, wherever the settings of a run hold them."""
    if isinstance(value.get("tools"), list) and value["tools"]:
        yield value["tools"]
    if layers:
        for key in (*_SETTINGS, "inputs", *_STATES):
            if isinstance(value.get(key), dict):
                yield from _tools(value[key], layers - 1)


SOURCE = Source("langchain-runs", matches, read)
