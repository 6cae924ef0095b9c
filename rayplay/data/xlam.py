"""xLAM / APIGen: {id, query, answers, tools}, the last two often JSON text -> Demonstrations of one call message."""

import json
from typing import Any

from rayplay.data.calltext import Calls, json_calls
from rayplay.data.conversation import usable_of
from rayplay.data.normal import Builder, Rejected, Toolset
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has, row_id
from rayplay.records import Json, Task


def matches(value: Any) -> bool:
    """A query with answers and tools."""
    return has(value, query=str, answers=(str, list), tools=(str, list))


def read(row: RawRow, context: Context) -> Usable:
    """A query and its calls; a row without calls is a task where none should be made."""
    if not matches(row.value):
        raise Rejected("wrong_format", "no query, answers and tools")
    answers = row.value["answers"]
    calls = json_calls(answers if isinstance(answers, str) else json.dumps(answers))
    builder = Builder(Toolset(_definition(raw, calls) for raw in _listed(row.value["tools"])))
    builder.user(row.value["query"])
    if calls:
        builder.assistant("", calls)
        return usable_of(builder, row, context)
    task = Task(
        task_id=f"{context.source}/{row_id(row)}",
        source=context.source,
        kind="no_tool",
        messages=tuple(builder.messages),
        tools=tuple(builder.tools.specs),
        **context.about(row),
    )
    return Usable(tasks=(task,))


def _listed(tools: Any) -> list[Any]:
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except (ValueError, RecursionError):
            raise Rejected("broken_tools", tools) from None
    if not isinstance(tools, list):
        raise Rejected("broken_tools", f"tools are a {type(tools).__name__}")
    return tools


def _definition(raw: Any, calls: Calls) -> Any:
    """A definition with its required parameters named.

    xLAM marks what is optional by the type (`str, optional`) or a default, re-makes of it by `required: true`. Where
    nothing is marked so, what the row's own calls leave out is optional too.
    """
    parameters = raw.get("parameters") if isinstance(raw, dict) else None
    if not isinstance(parameters, dict) or "properties" in parameters or "required" in raw:
        return raw
    if any(has(p, required=bool) for p in parameters.values()):
        return {**raw, "required": [name for name, p in parameters.items() if has(p, required=bool) and p["required"]]}
    given = [arguments for name, arguments in calls if name == raw.get("name") and isinstance(arguments, dict)]
    required = [name for name, p in parameters.items() if _is_required(p) and all(name in a for a in given)]
    return {**raw, "required": required}


def _is_required(parameter: Json) -> bool:
    if not isinstance(parameter, dict):
        return True
    return "default" not in parameter and "optional" not in str(parameter.get("type", "")).lower()


SOURCE = Source("xlam", matches, read)
