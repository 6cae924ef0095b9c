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
from rayplay.data.truths import expected_of
from rayplay.data.turns import Result, Turn, turn_of
from rayplay.records import Json, Task

TOOL_KEYS = ("tools", "functions", "tools_json", "available_tools", "function_definitions")
_MOST_WRAPPINGS = 2
_BETWEEN = re.compile(r"[ \t\r\n,]*+")
_LISTED = re.compile(
    r"<\|?(tools?|available_tools|functions?|tool_list)\|?>(?=\s*+[\[{])|\[AVAILABLE_TOOLS\]", re.IGNORECASE
)
_ANNOUNCED = re.compile(
    r"(?:access to|use|provided with|given|are|have|here (?:is|are)|list of)[^\n{}\[\]]{0,60}"
    r"\b(?:functions?|tools?|APIs?)\b[^{}\[\]]{0,120}?(?=[\[{])",
    re.IGNORECASE,
)
# paragraphs of a system text that explain tools to a model, and say nothing of their author's own
_EXPLAINS = re.compile(
    r"\btools?\b|\bfunctions?\b|function[_ ]?call|tool_call|\bAPIs?\b|\bJSON\b|^#+ Tools", re.IGNORECASE
)


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
    if system is not None and not isinstance(system, str):  # Anthropic's may be a list of blocks
        system = turn_of({"role": "system", "content": system}, Toolset(())).text
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
        row: For the record's id, and what is right in a task (`rayplay.data.truths`).
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
        task = Task(
            task_id=f"{source}/{row_id(row)}",
            source=source,
            kind="open",
            messages=tuple(builder.messages),
            tools=tuple(builder.tools.specs),
            expected=expected_of(row.value, builder.tools),
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
    """A system text without its list of tools and the paragraphs that explain tools and tags to a model."""
    found = _place_of_listing(system)
    if found is None:
        return system
    start, end = found
    # the paragraph that announces the list, and the rest of the one that it ends in, belong to it
    before = system[:start].rpartition("\n\n")[0]
    after = system[end:].partition("\n\n")[2]
    own = [p for p in f"{before}\n\n{after}".split("\n\n") if p.strip() and not _EXPLAINS.search(p)]
    return "\n\n".join(own).strip()


def listed(turns: Any) -> list[Any]:
    """A list of messages, also where it or each message is JSON or Python text.

    Raises:
        Rejected: It is none.
    """
    for _ in range(_MOST_WRAPPINGS):
        turns = literal(turns) if isinstance(turns, str) else turns
    if not isinstance(turns, list):
        raise Rejected("wrong_format", f"messages are a {type(turns).__name__}, not a list")
    # a text among messages stays as it is where it is no message: whoever reads it says so
    return [(literal(m) or m) if isinstance(m, str) and m[:1] == "{" else m for m in turns]


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
    elif waiting == 1 and len(results) > 1 and len({r.call_id for r in results}) == 1:
        builder.repairs.add("results_joined")
        results = [replace(results[0], content="\n".join(r.content for r in results))]
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
    found = _place_of_listing(system)
    return system[found[0] : found[1]] if found else ""


def _place_of_listing(system: str) -> tuple[int, int] | None:
    """Where the definitions stand in a system text: between tags, or as JSON after words that announce them."""
    for opened in reversed(list(_LISTED.finditer(system))):  # earlier ones are examples
        text = _json_prefix(system[opened.end() :].lstrip())
        if '"name"' in text or text[:1] == "[":
            start = system.index(text, opened.end())
            return start, start + len(text)
        closed = re.search(rf"<\|?/{opened[1]}\|?>" if opened[1] else r"\[/AVAILABLE_TOOLS\]", system[opened.end() :])
        if closed:  # no JSON: perhaps Python, for who reads it to say
            return opened.end(), opened.end() + closed.start()
    for announced in _ANNOUNCED.finditer(system):
        text = _json_prefix(system[announced.end() :])
        if '"name"' in text:
            return announced.end(), announced.end() + len(text)
    return None


def _json_prefix(text: str) -> str:
    """The JSON values that a text begins with."""
    decoder = json.JSONDecoder(strict=False)
    at = end = 0
    while at < len(text):
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        at = _BETWEEN.match(text, end).end()
    return text[:end]
