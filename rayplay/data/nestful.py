"""NESTFUL: a request and a sequence of calls that use each other's results (`$var1.field$`) -> Tasks.

What a call that uses a result gets cannot be known before the tools run, so such a task is judged by its answer
(`gold_answer`), where there is one. Calls without references are expected as they stand. The tools stand in the row, or
in a `...-spec.json` beside it.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rayplay.data.conversation import read_conversation, tools_of
from rayplay.data.normal import Rejected, Toolset
from rayplay.data.reading import RawRow, rows_of
from rayplay.data.schemas import literal
from rayplay.data.source import Context, Source, Usable, has, row_id
from rayplay.data.truths import calls_said
from rayplay.records import Expected, Json, Task

_REFERENCE = re.compile(r"\$var_?\d+[^$]*\$")
_RESULT = "var_result"  # no tool: names what the user gets to see


def matches(value: Any) -> bool:
    """A request, and calls of which some are labelled or use a result."""
    calls = _calls(value)
    return bool(calls) and any("label" in call or call["name"] == _RESULT for call in calls)


def is_spec(path: Path) -> bool:
    """A file of definitions; it holds no rows."""
    return path.name.endswith(("-spec.json", "_spec.json"))


def prepare(files: Sequence[Path], options: Json) -> list[Any]:
    """The definitions of the spec files."""
    return [row.value for file in files if is_spec(file) for row in rows_of(file) if not row.problem]


def read(row: RawRow, context: Context) -> Usable:
    """One task."""
    calls = [call for call in _calls(row.value) if call["name"] != _RESULT]
    if not calls:
        raise Rejected("wrong_format", "no input with an output of calls")
    own = tools_of(row.value, context)
    tools = own if own.specs else Toolset(context.support or ())
    for call in calls:
        if tools.find(call["name"]) is None:
            raise Rejected("unknown_tool", call["name"])
    builder = read_conversation([{"role": "user", "content": row.value["input"]}], tools)
    answer = row.value.get("gold_answer")
    if answer not in (None, "", []):
        expected = Expected(answer=(str(answer),), check_calls=False)
    elif _REFERENCE.search(str(calls)):
        expected = Expected(check_calls=False)
    else:
        expected = Expected(calls=tuple(calls_said(calls, tools)))
    task = Task(
        task_id=f"{context.source}/{row_id(row)}",
        source=context.source,
        kind="many_calls" if len(calls) > 1 else "one_call",
        messages=tuple(builder.messages),
        tools=tuple(tools.specs),
        expected=expected,
        **context.about(row),
    )
    return Usable(tasks=(task,), repairs=tuple(sorted(builder.repairs)))


def _calls(value: Any) -> list[Json]:
    if not has(value, input=str, output=(str, list)):
        return []
    calls = literal(value["output"]) if isinstance(value["output"], str) else value["output"]
    whole = isinstance(calls, list) and all(has(call, name=str, arguments=dict) for call in calls)
    return calls if whole else []


SOURCE = Source("nestful", matches, read, gives="tasks", is_support=is_spec, prepare=prepare)
