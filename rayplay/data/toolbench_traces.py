"""ToolBench evaluation traces: {query, available_tools, answer: {final_answer, answer_details}} -> Tasks.

Published traces often keep only the first hundred characters of each message. A trace whose calls can all be read whole
is a demonstration; one whose calls are cut still is a task, without expected calls.
"""

import ast
from collections.abc import Iterator
from typing import Any

from rayplay.data.normal import Builder, Rejected, read_tools, tasks_of
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has, one, row_id, text_of
from rayplay.data.toolbench_answers import FINISH, final_answer
from rayplay.records import Expected, Json, Task


def matches(value: Any) -> bool:
    """Query, tools and an answer with its details."""
    return has(value, query=str, available_tools=list, answer=dict)


def read(row: RawRow, context: Context) -> Usable:
    """A trace that ends in an answer."""
    if not matches(row.value):
        raise Rejected("wrong_format", "no query, available_tools and answer")
    answer = row.value["answer"]
    final = text_of(answer.get("final_answer"), "final_answer")
    if "give_answer" not in final and '"final_answer"' in final:
        raise Rejected("no_final_answer", final)
    said = final_answer(final) or (final if final and not final.lstrip().startswith("{") else "")
    if not said:
        raise Rejected("no_final_answer", final or "final_answer is empty")
    tools = read_tools([t for t in row.value["available_tools"] if not (has(t) and t.get("name") == FINISH)])
    query = row.value["query"].strip()
    if not query:
        raise Rejected("empty", "the query is empty")
    steps = _steps(answer.get("answer_details"))
    if steps is None:
        builder = Builder(tools)
        builder.user(query)
        task = Task(
            task_id=f"{context.source}/{row_id(row)}",
            source=context.source,
            kind="open",
            messages=tuple(builder.messages),
            tools=tuple(tools.specs),
            expected=Expected(check_calls=False),
            **context.about(row),
        )
        return Usable(tasks=(task,))
    builder = Builder(tools)
    builder.user(query)
    for thought, name, arguments, response in steps:
        builder.assistant(thought, [(name, arguments)])
        builder.result(response, name)
    builder.assistant(said)
    demonstration = builder.demonstration(context.source, row_id(row), **context.about(row))
    return one(demonstration) if steps else Usable((demonstration,), tuple(tasks_of(demonstration)))


def _steps(details: Any) -> list[tuple[str, str, Any, str]] | None:
    """(thought, tool, arguments, response) of each call before `Finish`; None where a message is cut off."""
    steps: list[tuple[str, str, Any, str]] = []
    thought = ""
    for node in _chain(details):
        message = node.get("message")
        if node.get("role") == "assistant":
            thought = "\n".join(t for t in (thought, text_of(message, "message")) if t)
        if node.get("role") != "tool":
            continue
        # as text in the traces that came first, as an object in those that came later
        call = message if has(message, name=str) else _call(text_of(message, "message"))
        if call is None:
            return None
        if call["name"] == FINISH:
            break
        steps.append((thought, call["name"], call.get("arguments"), str(call.get("response", ""))))
        thought = ""
    return steps or None


def _chain(details: Any) -> Iterator[Json]:
    """The nodes of the last way through the tree (a trace has one)."""
    nodes = details
    while isinstance(nodes, list) and nodes and isinstance(nodes[-1], dict):
        yield nodes[-1]
        nodes = nodes[-1].get("next")


def _call(text: str) -> Json | None:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    return value if has(value, name=str) else None


SOURCE = Source("toolbench-traces", matches, read, gives="tasks")
