"""API-Bank's files of rows: prompts of training and test (levels 1 to 3), and the plans of level 3.

A prompt is {instruction, input, output | expected_output}: definitions as JSON lines behind `API descriptions:`, then
`User:`, `AI:` and `API-Request: [F(a='1')]->result` lines; the output is the next call or answer. A plan is
{requirement, response, apis: [{api_name, input, output}]}. Both are read as the lines of a dialogue.
"""

import json
import re
from typing import Any

from rayplay.data.api_bank import definitions, play
from rayplay.data.calltext import bracket_calls
from rayplay.data.normal import Builder, Rejected, Toolset, read_tool
from rayplay.data.reading import RawRow
from rayplay.data.schemas import literal
from rayplay.data.source import Context, Source, Usable, has, one, row_id
from rayplay.records import Json

_HEAD = "API descriptions:"
_MARK = re.compile(r"^[ \t]*(User|AI|API-Request|Generate API Request|Generate AI Response):[ \t]*", re.MULTILINE)


def matches(value: Any) -> bool:
    """A prompt that describes APIs, or a plan."""
    return _is_prompt(value) or has(value, requirement=str, apis=list)


def read(row: RawRow, context: Context) -> Usable:
    """One prompt with its answer, or one plan; on offer are the APIs that it describes, finds and calls."""
    if not matches(row.value):
        raise Rejected("wrong_format", f"no instruction with {_HEAD!r}, and no requirement with apis")
    described, lines = _prompt(row.value) if _is_prompt(row.value) else ({}, _plan(row.value))
    called = definitions([lines], described)
    builder = Builder(Toolset(called.get(name) or read_tool(described[name]) for name in {**described, **called}))
    play(builder, lines)
    return one(builder.demonstration(context.source, _identity(row) or row_id(row), **context.about(row)))


def _is_prompt(value: Any) -> bool:
    if not has(value, instruction=str, input=str):
        return False
    return _HEAD in value["instruction"] and isinstance(value.get("output", value.get("expected_output")), str)


def _prompt(value: Json) -> tuple[dict[str, Json], list[Json]]:
    """(definitions by name, lines of the dialogue with the output as its last)."""
    head, *parts = _MARK.split(value["instruction"].split(_HEAD, 1)[1].strip() + "\n" + value["input"])
    lines = [_line(mark, text.strip()) for mark, text in zip(parts[::2], parts[1::2], strict=True) if text.strip()]
    output = value.get("output", value.get("expected_output")).strip()
    _, mark, answer = output.partition("API-Request:")
    lines.append(_call(answer.strip()) if mark else {"role": "AI", "text": output.removeprefix("AI:").strip()})
    return _described(head), lines


def _described(text: str) -> dict[str, Json]:
    """One definition a line -> definitions with the keys of the search's results."""
    found: dict[str, Json] = {}
    for line in (line for line in text.splitlines() if line.strip()):
        try:
            raw = json.loads(line)
        except (ValueError, RecursionError):
            raise Rejected("broken_tools", line) from None
        name = raw.get("name", raw.get("apiCode")) if isinstance(raw, dict) else None
        parameters = raw.get("input_parameters", raw.get("parameters")) if isinstance(name, str) else None
        if not isinstance(parameters, dict):
            raise Rejected("broken_tools", line)
        found[name] = {"name": name, "description": raw.get("description"), "input_parameters": parameters}
    return found


def _line(mark: str, text: str) -> Json:
    if mark in ("User", "AI"):
        return {"role": mark, "text": text}
    if mark != "API-Request":
        raise Rejected("wrong_format", f"text behind {mark!r}: {text[:80]}")
    call, _, result = text.partition("]->")
    read = literal(result)
    return {**_call(call + "]"), "result": {"output": result if read is None else read}}


def _call(text: str) -> Json:
    calls = bracket_calls(text)
    if calls is None or len(calls) != 1:
        raise Rejected("broken_call", text)
    return {"role": "API", "api_name": calls[0][0], "param_dict": calls[0][1]}


def _plan(value: Json) -> list[Json]:
    lines: list[Json] = [{"role": "User", "text": value["requirement"].strip()}]
    for api in value["apis"]:
        if not has(api, api_name=str, input=dict):
            raise Rejected("broken_call", str(api)[:120])
        lines.append(
            {"role": "API", "api_name": api["api_name"], "param_dict": api["input"], "result": api.get("output")}
        )
    return [*lines, {"role": "AI", "text": value.get("response")}]


def _identity(row: RawRow) -> str:
    """Test prompts are numbered within the dialogue that they come from."""
    return f"{row.value['file']}:{row.value['id']}" if has(row.value, file=str, id=int) else ""


SOURCE = Source("api-bank-rows", matches, read, identity=_identity)
