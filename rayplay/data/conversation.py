"""Turns of any public chat shape -> a Builder that has heard them all: the one reader under every format of messages.

`read_conversation` knows every spelling of a role, content as text, parts, object or nothing, calls in fields, in turns
of their own or in the text of any model family, results by id, name or order, thinking, and marks that take a message
out of the loss. What it cannot read raises `Rejected`; what it changed is named in `Builder.repairs`.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from rayplay.data.calltext import tools_in
from rayplay.data.normal import Builder, Rejected, Toolset, read_tools
from rayplay.data.reading import RawRow
from rayplay.data.schemas import literal
from rayplay.data.source import Context, Usable, one, row_id
from rayplay.data.turns import Result, Turn, turn_of
from rayplay.records import Expected, Json, Task

TOOL_KEYS = ("tools", "functions", "tools_json", "available_tools", "function_definitions")
_ANSWER_KEYS = ("solution", "answer", "ground_truth", "final_answer")
_LISTED = re.compile(r"<tools?>\s*(.*?)\s*</tools?>", re.DOTALL)
_GLAIVE = re.compile(r"access to the following (?:functions|tools)\b[^\n{\[]*?[-:.]?\s*(?=[\[{])", re.IGNORECASE)
_QWEN = re.compile(r"\s*# Tools\s*\n.*\Z", re.DOTALL)


def read_conversation(turns: Any, tools: Toolset | None = None, *, system: Any = None, strict: bool = False) -> Builder:
    """Read the messages of one row.

    Args:
        turns: A list of messages, or its JSON text.
        tools: The row's tools (`tools_of`). None or empty: those that a message itself lists, as a field (`tools`,
            `functions`) or in a system text (`<tools>`, "access to the following functions"); such a text is an
            explanation to a model, and only what stands before it is kept.
        system: A system text beside the messages.
        strict: Refuse values of the wrong JSON type instead of reading "3" as 3.

    Returns:
        The builder, with `repairs`. Whether the conversation is whole is judged by `usable_of` or by
        `Builder.demonstration`.

    Raises:
        Rejected: A message cannot be read, or comes where no conversation has it.
    """
    messages = listed(turns)
    tools = (
        tools if tools is not None and tools.specs else tools_in_messages([*([system] if system else []), *messages])
    )
    builder = Builder(tools, strict)
    if isinstance(system, str) and system.strip():
        builder.system(without_tools(system))
    hear(builder, messages)
    return builder


def hear(builder: Builder, turns: Any) -> None:
    """Go on with further messages in a builder: a completion after its prompt.

    Raises:
        Rejected: As `read_conversation`.
    """
    heard = (turn_of(message, builder.tools) for message in listed(turns))
    for is_result, group in groupby(heard, key=lambda turn: bool(turn.results)):
        if not is_result:
            for turn in group:
                _speak(builder, turn)
            continue
        block = list(group)
        answer(builder, [result for turn in block for result in turn.results])
        for turn in block:
            builder.repairs |= turn.repairs
            if turn.text.strip():
                builder.user(turn.text)


def usable_of(builder: Builder, row: RawRow, context: Context, **about: Any) -> Usable:
    """The records of a conversation: a demonstration and its tasks, or one task where the user has the last word.

    Args:
        builder: Of `read_conversation`.
        row: For the record's id, and the answer of a task (`solution`, `answer`, ...).
        context: For source, licence and origin.
        about: Further fields of the records, which win over the context's.

    Raises:
        Rejected: The conversation is not whole.
    """
    fields = {**context.about(row), **about}
    source = fields.pop("source", context.source)
    if not builder.messages or builder.messages[-1].role != "user":
        usable = one(builder.demonstration(source, row_id(row), **fields))
    else:
        fields.pop("simulated", None)
        answer = next((row.value[k] for k in _ANSWER_KEYS if _is_answer(row.value.get(k))), None)
        task = Task(
            task_id=f"{source}/{row_id(row)}",
            source=source,
            kind="open",
            messages=tuple(builder.messages),
            tools=tuple(builder.tools.specs),
            expected=Expected(answer=() if answer is None else (str(answer),), check_calls=False),
            **fields,
        )
        usable = Usable(tasks=(task,))
    return replace(usable, repairs=tuple(sorted(builder.repairs)))


def tools_of(value: Json, context: Context | None = None) -> Toolset:
    """The tools of a row: a list, JSON text, or a list of JSON texts under any of TOOL_KEYS; else those of the source.

    Raises:
        Rejected: They cannot be read.
    """
    raw = next((value[k] for k in TOOL_KEYS if value.get(k)), None)
    if raw is None and context is not None:
        raw = list(context.tools)
    return read_tools(raw)


def tools_in_messages(messages: Sequence[Any]) -> Toolset:
    """The tools that messages list themselves, in a field or in a system text."""
    for message in messages:
        if isinstance(message, dict):
            held = next((message[k] for k in ("tools", "functions") if message.get(k)), None)
            if held is not None:
                return read_tools(held)
        text = message if isinstance(message, str) else _system_text(message)
        listed_text = _listing(text)
        if listed_text:
            return tools_in(listed_text)
    return Toolset(())


def without_tools(system: str) -> str:
    """A system text without its explanation of tools and tags: what stands before it, where that is the author's."""
    if not _listing(system) and "<tools>" not in system:
        return system
    before = _QWEN.sub("", system)
    return before.strip() if before != system else ""


def listed(turns: Any) -> list[Any]:
    """A list of messages, also where it is JSON or Python text.

    Raises:
        Rejected: It is none.
    """
    if isinstance(turns, str):
        turns = literal(turns)
    if not isinstance(turns, list):
        raise Rejected("wrong_format", f"messages are a {type(turns).__name__}, not a list")
    return turns


def _speak(builder: Builder, turn: Turn) -> None:
    builder.repairs |= turn.repairs
    if turn.role == "system":
        builder.system(without_tools(turn.text))
    elif turn.role == "user":
        builder.user(turn.text)
    elif turn.spoken or turn.calls or not turn.is_thinking:
        builder.assistant(turn.spoken, turn.calls, turn.ids, loss=turn.loss)


def answer(builder: Builder, results: list[Result]) -> None:
    """Hand the results that follow a message to its calls: one each, a list that holds one for each, or one for all."""
    waiting = builder.waiting()
    if len(results) == 1 and not results[0].call_id:
        parts = split_results(results[0].content, waiting)
        if parts:
            results = parts
        elif waiting > 1:
            builder.repairs.add("one_result_for_all_calls")
            results = [Result(results[0].content)] * waiting
    for result in results:
        builder.result(result.content, result.name, result.call_id)


def split_results(content: Any, count: int) -> list[Result]:
    """A list of as many results as there are calls, also as JSON text or lines -> the results; [] where it is none.

    A list of one result is that of one call where it names it ({"name", "results"}), else the result itself.
    """
    value = literal(content) if isinstance(content, str) else content
    if value is None and isinstance(content, str):
        value = [literal(line) for line in content.strip().splitlines()]  # one JSON value a line
        value = None if None in value else value
    if not isinstance(value, list) or len(value) != count:
        return []
    found = []
    for item in value:
        named = isinstance(item, dict) and isinstance(item.get("name"), str)
        held = next((item[k] for k in ("results", "result", "content", "output") if k in item), item) if named else item
        if count == 1 and (not named or held is item):
            return []
        text = held if isinstance(held, str) else json.dumps(held, ensure_ascii=False)
        found.append(Result(text, name=item["name"] if named else ""))
    return found


def _system_text(message: Any) -> str:
    if not isinstance(message, dict) or message.get("role", message.get("from")) not in ("system", "developer"):
        return ""
    text = message.get("content", message.get("value"))
    return text if isinstance(text, str) else ""


def _listing(system: str) -> str:
    """The definitions in a system text; "" where it lists none."""
    found = [text for text in _LISTED.findall(system) if text[:1] in ("[", "{")]
    if found:
        return found[-1]
    glaive = _GLAIVE.search(system)
    return _json_prefix(system[glaive.end() :]) if glaive else ""


def _json_prefix(text: str) -> str:
    """The JSON values that a text begins with."""
    decoder = json.JSONDecoder(strict=False)
    at = 0
    while at < len(text):
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        at = end + len(text[end:]) - len(text[end:].lstrip(" \t\r\n,"))
    return text[:at].rstrip(" \t\r\n,")


def _is_answer(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip() != ""
