"""Instruction rows: {instruction, input, output} of Alpaca, {query, response} of ms-swift; with tools, system, history.

An output may hold calls, as JSON or in any family's syntax.
"""

from typing import Any

from rayplay.data.conversation import read_conversation, tools_of, usable_of
from rayplay.data.normal import Rejected
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has
from rayplay.records import Json

_ASKED = ("instruction", "query")
_ANSWERED = ("output", "response")


def matches(value: Any) -> bool:
    """An instruction or query, and an output or response."""
    asked, answered = _named(value, _ASKED), _named(value, _ANSWERED)
    return isinstance(value, dict) and isinstance(value.get(asked), str) and isinstance(value.get(answered), str)


def read(row: RawRow, context: Context) -> Usable:
    """One conversation: the turns of `history`, then the instruction and its output."""
    value = row.value
    if not matches(value):
        raise Rejected("wrong_format", "no instruction or query with an output or response")
    turns = [*asked_in(value), {"role": "assistant", "content": value[_named(value, _ANSWERED)]}]
    builder = read_conversation(turns, tools_of(value, context), system=value.get("system"))
    return usable_of(builder, row, context)


def asked_in(value: Json) -> list[Json]:
    """The messages that an instruction row asks with: its history, then the instruction with its input; [] without."""
    name = _named(value, _ASKED)
    if not isinstance(value.get(name), str):
        return []
    asked = [value[name], *(value[k] for k in ("input", "context") if has(value, **{k: str}))]
    said = "\n".join(text for text in asked if text.strip())
    return [*_history(value.get("history")), {"role": "user", "content": said}]


def _named(value: Any, keys: tuple[str, ...]) -> str:
    return next((key for key in keys if isinstance(value, dict) and key in value), "")


def _history(raw: Any) -> list[Json]:
    """Earlier turns: [question, answer] each, or messages."""
    if not raw:
        return []
    if not isinstance(raw, list):
        raise Rejected("wrong_format", f"history is a {type(raw).__name__}")
    turns: list[Json] = []
    for entry in raw:
        if isinstance(entry, dict):
            turns.append(entry)
        elif isinstance(entry, list) and len(entry) == 2:
            turns += [{"role": role, "content": said} for role, said in zip(("user", "assistant"), entry, strict=True)]
        else:
            raise Rejected("wrong_format", f"an entry of history is no [question, answer]: {str(entry)[:80]}")
    return turns


SOURCE = Source("alpaca", matches, read)
