"""ToolLLaMA's conversation file: ReAct text in `conversations` -> real tool calls.

{"id": ..., "conversations": [{"from": "system" | "user" | "assistant" | "function", "value": ...}]}, where the system
message lists the APIs as a Python literal and the assistant writes Thought / Action / Action Input.
"""

import json
import re
from typing import Any

from rayplay.data.calltext import react_call
from rayplay.data.normal import Builder, Rejected, Toolset
from rayplay.data.reading import RawRow
from rayplay.data.schemas import literal
from rayplay.data.source import Context, Source, Usable, has, one, row_id
from rayplay.data.toolbench_answers import FINISH, final_answer

_APIS = re.compile(r"access to the following APIs:\s*(\[.*\])", re.DOTALL)


def matches(value: Any) -> bool:
    """A system turn that lists APIs, and ReAct text in an assistant turn or a function turn."""
    if not has(value, conversations=list) or not value["conversations"]:
        return False
    first = value["conversations"][0]
    return has(first, value=str) and first.get("from") == "system" and "following APIs:" in first["value"]


def read(row: RawRow, context: Context) -> Usable:
    """One conversation; `Finish` with an answer becomes the answer."""
    if not matches(row.value):
        raise Rejected("wrong_format", "the first turn is no system message with 'the following APIs:'")
    keep_finish = context.options.get("finish", "answer") == "call"
    system, *turns = row.value["conversations"]
    definitions = _apis(system["value"])
    builder = Builder(Toolset(d for d in definitions if keep_finish or d.get("name") != FINISH))
    for turn in turns:
        if not has(turn, value=str):
            raise Rejected("wrong_format", f"a turn without text: {str(turn)[:80]}")
        role, text = turn.get("from"), turn["value"]
        if role == "user":
            builder.user(re.sub(r"\s*Begin!\s*\Z", "", text).strip())
        elif role == "assistant":
            if _speak(builder, text, keep_finish):
                break
        elif role in ("function", "tool"):
            builder.result(text)
        else:
            raise Rejected("wrong_format", f"a turn of {role!r}")
    return one(builder.demonstration(context.source, row_id(row), **context.about(row)))


def _speak(builder: Builder, text: str, keep_finish: bool) -> bool:
    """Add what the assistant says; whether it finished."""
    thought, calls = react_call(text)
    if not calls or calls[0][0] != FINISH:
        builder.assistant(thought, calls)
        return False
    answer = final_answer(json.dumps(calls[0][1]))
    if not answer:
        raise Rejected("no_final_answer", "Finish gives up")
    if keep_finish:
        builder.assistant(thought, calls)
    else:
        builder.assistant(answer)
    return True


def _apis(text: str) -> list[Any]:
    found = _APIS.search(text)
    if not found:
        raise Rejected("broken_tools", "no list of APIs in the system message")
    value = literal(found[1])
    if isinstance(value, list) and all(isinstance(v, dict) for v in value):
        return value
    raise Rejected("broken_tools", f"the list of APIs cannot be read: {found[1][:80]}")


SOURCE = Source("toolllama", matches, read)
