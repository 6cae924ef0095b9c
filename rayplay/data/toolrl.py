"""ToolRL (rlla): instruction with tools as text, history in tags, output with <think>, <tool_call>, <response>.

The Parquet files for reinforcement learning hold the same three texts as a prompt of two messages and a ground truth.

In some published rows a list or object value was cut at its first comma (`["Java"` for a list of skills). Such a value
is closed to what is left of it and the row counted as repaired; `"options": {"repair": false}` rejects it instead.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rayplay.data.calltext import Calls, json_calls
from rayplay.data.conversation import answer
from rayplay.data.normal import Builder, Rejected, Toolset, read_tool
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has, one, row_id
from rayplay.data.turns import Result
from rayplay.records import ToolSpec

_TOOL = re.compile(
    r"^\d+\.\s*Name:\s*(?P<name>.*?)\nDescription:\s*(?P<description>.*?)\nParameters:\s*(?P<parameters>\{.*?\})\s*$",
    re.DOTALL | re.MULTILINE,
)
_USER = re.compile(r"<user>\s*(.*?)\s*</user>\s*", re.DOTALL)
_OBSERVATION = re.compile(r"<obs>\s*(.*?)\s*</obs>\s*", re.DOTALL)
_THOUGHT = re.compile(r"\A\s*<think>(.*?)</think>\s*(?=<tool_call>|<response>|\Z)", re.DOTALL)


def matches(value: Any) -> bool:
    """Instruction, input and output, with the heading of the tools."""
    found = _texts(value)
    return found is not None and "**Available Tools**" in found[0]


def read(row: RawRow, context: Context) -> Usable:
    """Tools and history from the prompt, the last message from the output."""
    if not matches(row.value):
        raise Rejected("wrong_format", "no instruction with '**Available Tools**', input and output")
    instruction, history, output = _texts(row.value)
    builder = Builder(Toolset(_tools(instruction)))
    keep = context.options.get("thoughts", True)
    repairs: set[str] = set()

    def mend(calls: Calls) -> Calls:
        return [_closed(builder, name, arguments, repairs) for name, arguments in calls]

    if not context.options.get("repair", True):
        mend = list
    rest = history.split("**Dialogue Records History**", 1)[-1].strip()
    while rest:
        user = _USER.match(rest)
        if user:
            builder.user(user[1])
            rest = rest[user.end() :]
            continue
        observation = _OBSERVATION.match(rest)
        if observation:
            answer(builder, [Result(observation[1])])
            rest = rest[observation.end() :]
            continue
        said = re.split(r"(?=<obs>|<user>)", rest, maxsplit=1)
        if not said[0].strip():
            raise Rejected("wrong_format", f"a tag that does not close: {rest[:80]}")
        _speak(builder, said[0], keep, mend)
        rest = said[1] if len(said) > 1 else ""
    _speak(builder, output, keep, mend)
    usable = one(builder.demonstration(context.source, row_id(row), **context.about(row)))
    return replace(usable, repairs=tuple(sorted(repairs)))


def _texts(value: Any) -> tuple[str, str, str] | None:
    """(instruction, input, output) of a row of either kind."""
    if has(value, prompt=list, reward_model=dict):
        said = [m["content"] for m in value["prompt"] if has(m, role=str, content=str)]
        truth = value["reward_model"].get("ground_truth")
        return (said[0], said[1], truth) if len(said) == 2 and isinstance(truth, str) else None
    if has(value, instruction=str, input=str, output=str):
        return value["instruction"], value["input"], value["output"]
    return None


def _tools(instruction: str) -> list[ToolSpec]:
    listed = instruction.split("**Available Tools**", 1)[1].split("**Steps for Each Turn**", 1)[0]
    tools = []
    for match in _TOOL.finditer(listed):
        try:
            parameters = json.loads(match["parameters"], strict=False)
        except (ValueError, RecursionError):
            raise Rejected("broken_tools", f"parameters of {match['name']}: {match['parameters'][:80]}") from None
        raw = {"name": match["name"].strip(), "description": match["description"].strip(), "parameters": parameters}
        tools.append(read_tool(raw))
    return tools


def _closed(builder: Builder, name: Any, arguments: Any, repairs: set[str]) -> tuple[Any, Any]:
    """The call with cut list and object values closed."""
    spec = builder.tools.find(name) if isinstance(name, str) else None
    if spec is None or not isinstance(arguments, dict):
        return name, arguments
    mended = dict(arguments)
    for key, value in arguments.items():
        wanted = spec.parameters["properties"].get(key, {}).get("type")
        if isinstance(value, str) and wanted in ("array", "object") and (closed := close_brackets(value)) != value:
            mended[key] = closed
            repairs.add("cut_value_closed")
    return name, mended


def close_brackets(text: str) -> str:
    """A JSON text that breaks off behind a whole value -> the text with its brackets closed; else as it is."""
    open_brackets = [b for b in re.sub(r'"(?:[^"\\]|\\.)*"', "", text) if b in "[]{}"]
    missing: list[str] = []
    for bracket in open_brackets:
        if bracket in "[{":
            missing.append({"[": "]", "{": "}"}[bracket])
        elif missing:
            missing.pop()
    closed = text + "".join(reversed(missing))
    try:
        json.loads(closed)
    except (ValueError, RecursionError):
        return text
    return closed


def _speak(builder: Builder, text: str, keep_thoughts: bool, mend: Callable[[Calls], Calls]) -> None:
    thought = _THOUGHT.match(text)
    body = text[thought.end() :] if thought else text
    before, opened, rest = body.partition("<tool_call>")
    calls_text, _, after = rest.partition("</tool_call>")
    said = re.search(r"<response>\s*(.*?)\s*(?:</response>|\Z)", after if opened else before, re.DOTALL)
    content = said[1] if said else ""
    if thought and keep_thoughts:
        content = f"<think>{thought[1]}</think>" + (f"\n{content}" if content else "")
    builder.assistant(content, mend(json_calls(calls_text)) if opened else ())


SOURCE = Source("toolrl", matches, read)
