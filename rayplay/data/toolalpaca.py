"""ToolAlpaca: an API with its functions in words -> a Demonstration for each of its solved instances.

The evaluation files have instructions with golden answers instead: calls without results, so Tasks.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from rayplay.data.normal import Builder, Rejected, Toolset, checked
from rayplay.data.reading import RawRow
from rayplay.data.schemas import literal
from rayplay.data.source import Context, Source, Usable, has, one, row_id
from rayplay.records import Expected, ExpectedCall, Json, Task

_PARAMETERS = re.compile(r"Parameters:\s*(\{.*?\})\s*(?:\n\s*Output:|\Z)", re.DOTALL)
_TYPE = re.compile(r"\b(string|integer|number|boolean|array|object|float|int)\b", re.IGNORECASE)


# Their agent may ask the user back with this tool, which no API's description lists.
_GET_DETAILS: Json = {
    "name": "getDetails",
    "description": "Ask the user for a detail that the request leaves out.",
    "parameters": {"Question": {"type": "string", "description": "What to ask."}},
}


def matches(value: Any) -> bool:
    """An API with descriptions of functions and instances; or one instance of it, as expanded here."""
    return has(value, Function_Description=dict) and _instances(value) is not None


def expand(row: RawRow) -> Sequence[RawRow]:
    """Every instance with its API as a row of its own."""
    instances = _instances(row.value) if matches(row.value) else None
    if not instances:
        return (row,)
    shared = {k: row.value.get(k) for k in ("Name", "Function_Description")}
    name = str(row.value.get("Name") or f"line{row.line}")
    return [
        replace(row, value={**shared, "Instances": [instance]}, key=f"{name}/{i}")
        for i, instance in enumerate(instances)
    ]


def _instances(value: Json) -> list[Any] | None:
    if isinstance(value.get("Instances"), list):
        return value["Instances"]
    if not has(value, Instructions=list, Golden_Answers=list):
        return None
    pairs = zip_longest(value["Instructions"], value["Golden_Answers"])
    return [{"input": asked, "golden": golden} for asked, golden in pairs]


def read(row: RawRow, context: Context) -> Usable:
    """One instance."""
    if not matches(row.value):
        raise Rejected("wrong_format", "no Function_Description with Instances")
    instance = next(iter(_instances(row.value) or ()), None)
    if not has(instance, input=str):
        raise Rejected("empty", "an instance without input")
    described = row.value["Function_Description"]
    builder = Builder(Toolset(_definition(n, t) for n, t in described.items() if n != "components"))
    builder.user(instance["input"])
    if "golden" in instance:
        return Usable(tasks=(_task(builder, instance["golden"], row, context),))
    for step in instance.get("intermediate_steps") or []:
        _play(builder, step)
    output = instance.get("output")
    if not isinstance(output, str) or not output.strip():
        raise Rejected("no_final_answer", "an instance without output")
    builder.assistant(output)
    return one(builder.demonstration(context.source, row_id(row), **context.about(row)))


def _task(builder: Builder, golden: Any, row: RawRow, context: Context) -> Task:
    """A request and the calls that answer it; optional arguments that are "" there are left out."""
    calls = []
    for call in golden if isinstance(golden, list) else [golden]:
        if not has(call, Action=str, Action_Input=(str, dict)):
            raise Rejected("broken_call", str(call)[:120])
        spec = builder.tools.find(call["Action"])
        if spec is None:
            raise Rejected("unknown_tool", call["Action"])
        written = call["Action_Input"]
        arguments = literal(written) if isinstance(written, str) else written
        if isinstance(arguments, dict):
            required = spec.parameters.get("required", [])
            arguments = {k: v for k, v in arguments.items() if v != "" or k in required}
        calls.append(ExpectedCall(name=spec.name, arguments=checked(spec, arguments)))
    return Task(
        task_id=f"{context.source}/{row_id(row)}",
        source=context.source,
        kind="one_call" if len(calls) == 1 else "many_calls",
        messages=tuple(builder.messages),
        tools=tuple(builder.tools.specs),
        expected=Expected(calls=tuple(calls)),
        **context.about(row),
    )


def _play(builder: Builder, step: Any) -> None:
    """[[action, input, text], observation] -> a call and its result."""
    try:
        (action, arguments, *text), observation = step
    except (TypeError, ValueError):
        raise Rejected("broken_call", f"a step is {str(step)[:120]}") from None
    thought = re.split(r"\n\s*(?:ASSISTANT\s+)?Action:", str(text[0]), maxsplit=1)[0] if text else ""
    thought = re.sub(r"^\s*(?:ASSISTANT\s+)?Thought:\s*", "", thought).strip()
    if action == _GET_DETAILS["name"]:
        builder.tools.add(_GET_DETAILS)
    builder.assistant(thought, [(action, arguments)])
    builder.result(observation if isinstance(observation, str) else json.dumps(observation))


def _definition(name: str, text: Any) -> Json:
    """`... Parameters: {"city": "Required. String. The city."} Output: ...` -> a tool definition."""
    text = str(text)
    found = _PARAMETERS.search(text)
    raw = literal(found[1]) if found else {}
    if not isinstance(raw, dict):
        raise Rejected("broken_tools", f"parameters of {name}: {found[1][:120]}")
    parameters, required = {}, []
    for key, words in raw.items():
        kind = _TYPE.search(str(words))
        parameters[key] = {"type": kind[1].lower() if kind else "string", "description": str(words)}
        if str(words).lower().startswith("required"):
            required.append(key)
    summary = text.split("Parameters:", 1)[0].strip()
    return {"name": name, "description": summary, "parameters": parameters, "required": required}


SOURCE = Source("toolalpaca", matches, read, expand=expand)
