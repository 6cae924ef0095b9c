"""ToolAlpaca: an API with its functions in words, and Instances with steps -> a Demonstration for each instance."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rayplay.data.normal import Builder, Rejected, Toolset
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has, one, row_id
from rayplay.records import Json

_PARAMETERS = re.compile(r"Parameters:\s*(\{.*?\})\s*(?:\n\s*Output:|\Z)", re.DOTALL)
_TYPE = re.compile(r"\b(string|integer|number|boolean|array|object|float|int)\b", re.IGNORECASE)


def matches(value: Any) -> bool:
    """An API with descriptions of functions and instances; or one instance of it, as expanded here."""
    return has(value, Function_Description=dict) and isinstance(value.get("Instances"), list)


def expand(row: RawRow) -> Sequence[RawRow]:
    """Every instance with its API as a row of its own."""
    if not matches(row.value) or not row.value["Instances"]:
        return (row,)
    shared = {k: row.value.get(k) for k in ("Name", "Function_Description")}
    name = str(row.value.get("Name") or f"line{row.line}")
    return [
        replace(row, value={**shared, "Instances": [instance]}, key=f"{name}/{i}")
        for i, instance in enumerate(row.value["Instances"])
    ]


def read(row: RawRow, context: Context) -> Usable:
    """One instance."""
    if not matches(row.value):
        raise Rejected("wrong_format", "no Function_Description with Instances")
    instance = row.value["Instances"][0] if row.value["Instances"] else None
    if not has(instance, input=str):
        raise Rejected("empty", "an instance without input")
    described = row.value["Function_Description"]
    builder = Builder(Toolset(_definition(n, t) for n, t in described.items() if n != "components"))
    builder.user(instance["input"])
    for step in instance.get("intermediate_steps") or []:
        _play(builder, step)
    output = instance.get("output")
    if not isinstance(output, str) or not output.strip():
        raise Rejected("no_final_answer", "an instance without output")
    builder.assistant(output)
    return one(builder.demonstration(context.source, row_id(row), **context.about(row)))


def _play(builder: Builder, step: Any) -> None:
    """[[action, input, text], observation] -> a call and its result."""
    try:
        (action, arguments, *text), observation = step
    except (TypeError, ValueError):
        raise Rejected("broken_call", f"a step is {str(step)[:120]}") from None
    thought = re.split(r"\n\s*(?:ASSISTANT\s+)?Action:", str(text[0]), maxsplit=1)[0] if text else ""
    thought = re.sub(r"^\s*(?:ASSISTANT\s+)?Thought:\s*", "", thought).strip()
    builder.assistant(thought, [(action, arguments)])
    builder.result(observation if isinstance(observation, str) else json.dumps(observation))


def _definition(name: str, text: Any) -> Json:
    """`... Parameters: {"city": "Required. String. The city."} Output: ...` -> a tool definition."""
    text = str(text)
    found = _PARAMETERS.search(text)
    try:
        raw = json.loads(found[1], strict=False) if found else {}
    except (ValueError, RecursionError):
        raise Rejected("broken_tools", f"parameters of {name}: {found[1][:120]}") from None
    parameters, required = {}, []
    for key, words in raw.items():
        kind = _TYPE.search(str(words))
        parameters[key] = {"type": kind[1].lower() if kind else "string", "description": str(words)}
        if str(words).lower().startswith("required"):
            required.append(key)
    summary = text.split("Parameters:", 1)[0].strip()
    return {"name": name, "description": summary, "parameters": parameters, "required": required}


SOURCE = Source("toolalpaca", matches, read, licence="Apache-2.0", expand=expand)
