"""Lines of JSON calls -> results in the same order, many at once: what `rayplay tools batch` does."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rayplay.dialects.reading import ARGUMENT_KEYS, CALL_KEYS
from rayplay.records import Json, Status, ToolCall, ToolResult, ToolSpec
from rayplay.sandbox import Sandbox
from rayplay.strict_json import read_json
from rayplay.text_files import decode_text
from rayplay.toolbox import find_tool

Line = tuple[ToolCall, str | None]


def read_line(raw: bytes, number: int) -> Line:
    """One line -> the call and the JSON state it starts from; a broken line is a call whose `problem` says so.

    A call is {"name": ..., "arguments": {...}}; arguments may also be JSON text, as in OpenAI's format, or stand under
    "parameters". For a tool of a stateful toolset, "state" may give the state. Any other key makes the call invalid.
    """
    call_id = f"line-{number}"
    broken = ToolCall(call_id=call_id, problem=Status.INVALID_JSON)
    try:
        value = read_json(decode_text(raw) if number == 1 else raw.decode())  # a mark stands at a file's start alone
        given = [key for key in ARGUMENT_KEYS if isinstance(value, dict) and key in value]
        arguments = value[given[0]] if given else {}
        if isinstance(arguments, str):
            arguments = read_json(arguments)
        state = json.dumps(value["state"]) if isinstance(value, dict) and value.get("state") is not None else None
    except ValueError:
        return broken, None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return broken, None
    if len(given) > 1 or not value.keys() <= {*CALL_KEYS, "state"}:  # values that nobody would read
        return broken.model_copy(update={"name": value["name"]}), None
    if not isinstance(arguments, dict):
        return ToolCall(call_id=call_id, name=value["name"], problem=Status.BAD_ARGUMENTS), None
    return ToolCall(call_id=call_id, name=value["name"], arguments=arguments), state


def run_lines(
    sandbox: Sandbox, lines: Sequence[Line], *, deadline_s: float | None = None, at_once: int = 4
) -> Iterator[ToolResult]:
    """Run all calls, each in its own child; yields the results in the order of the lines as they become ready."""
    specs = sandbox.describe()

    def run(line: Line) -> ToolResult:
        call, state = line
        spec = find_tool(specs, call.name) or ToolSpec(name=call.name)
        return sandbox.run(spec, call, state=state, deadline_s=deadline_s)

    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="tool-line") as threads:
        yield from threads.map(run, lines)


def result_json(result: ToolResult) -> Json:
    """What is printed of a result."""
    shown: dict[str, Any] = {
        "status": result.status.value,
        "text": result.text,
        "seconds": round(result.seconds, 4),
        "level": result.level,
    }
    if result.state is not None:
        shown["state"] = json.loads(result.state)
    return shown
