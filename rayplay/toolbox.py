"""Typed function -> tool: its JSON schema, its look-up, and the validation of arguments.

A tool is a typed function with a Google-style docstring; the schema is read off it and never written twice. Types that
have a schema: whatever pydantic can describe (str, int, float, bool, Literal, Enum, list, dict, optional, dataclasses).
Not covered: positional-only parameters, *args and **kwargs; they are refused by name.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model
from pydantic.fields import FieldInfo

from rayplay.errors import ToolboxError
from rayplay.marks import MARK, ToolError, is_tool, tool
from rayplay.records import Json, ToolSpec
from rayplay.schema_check import SchemaCheck
from rayplay.schema_names import Unknown
from rayplay.schema_words import NOT_ALLOWED, REQUIRED

__all__ = [
    "ToolError", "check_arguments", "coerce_arguments", "find_tool", "is_tool", "read_docstring", "spec_of", "tool",
]  # fmt: skip

MAX_ARGUMENT_BYTES = 200_000
CHECKS_MAX, CHECKS_WEIGHT_MAX = 1024, 500_000  # schemas that are kept ready, and the JSON values in them

ABOUT_KEYS = (REQUIRED, NOT_ALLOWED)

_checks: dict[
    int, tuple[Json, SchemaCheck]
] = {}  # by the schema's identity; the schema is held, so no other has its id
_checks_weight = 0

_ARGS_ENTRY = re.compile(r"^(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")


def spec_of(function: Callable[..., Any], module: str = "", toolset: str = "") -> ToolSpec:
    """The ToolSpec of a marked function.

    Raises:
        ToolboxError: A parameter has no type, no schema, or a kind that JSON arguments cannot fill.
    """
    options = getattr(function, MARK)
    summary, described = read_docstring(inspect.getdoc(function) or "")
    if not summary:
        raise ToolboxError(f"tool {options['name']!r} has no docstring; its first line is what the model reads")
    schema = _arguments_model(function, described).model_json_schema()
    parameters = {"type": "object", "properties": _tidy(schema.get("properties", {}))}
    if schema.get("required"):
        parameters["required"] = schema["required"]
    if "$defs" in schema:
        parameters["$defs"] = _tidy(schema["$defs"])
    return ToolSpec(description=summary, parameters=parameters, module=module, toolset=toolset, **options)


def coerce_arguments(function: Callable[..., Any], arguments: Json) -> Json:
    """JSON arguments -> the values that the function's types ask for (enums, dataclasses, dates)."""
    hints = inspect.get_annotations(function, eval_str=True)
    return {key: TypeAdapter(hints[key]).validate_python(value) for key, value in arguments.items()}


def check_arguments(spec: ToolSpec, arguments: Any) -> str:
    """Why `arguments` do not satisfy the tool's schema, in words for the model; "" where they do.

    Unknown keys are refused at every level even where the schema is silent: a misspelt optional argument must not pass
    as absent. A schema of somebody else's that cannot be applied, or a part of it (references to nowhere or in circles,
    broken keywords, another language's regular expressions), refuses nothing: the tool itself will. Never raises;
    bounded in time and memory whatever the schema.
    """
    if not isinstance(arguments, dict):
        return f"arguments must be an object, not {type(arguments).__name__}"
    check = _check_of(spec.parameters)
    problem = check.problem(arguments)
    if problem and not problem.endswith(ABOUT_KEYS):
        return problem
    stranger = check.unknown(arguments)  # explains a missing argument too, where that is misspelt
    return _about(stranger, spec.name) if stranger else problem


def _about(stranger: Unknown, tool_name: str) -> str:
    """The sentence about an unknown key."""
    known = ", ".join(stranger.known) or "none"
    if not stranger.path:
        return f"unknown argument {stranger.key[:60]!r}; {tool_name} takes: {known[:600]}"
    where = ".".join(map(str, (*stranger.path, stranger.key[:60])))
    return f"unknown argument {where!r}; known there: {known[:600]}"


def find_tool(tools: Iterable[ToolSpec], name: str) -> ToolSpec | None:
    """The tool of that exact name, or None."""
    return next((t for t in tools if t.name == name), None)


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """Google-style docstring -> (description before the first section, description by argument)."""
    lines = text.splitlines()
    sections = [i for i, line in enumerate(lines) if line.strip() in ("Args:", "Returns:", "Raises:", "Example:")]
    summary = " ".join(" ".join(lines[: sections[0] if sections else len(lines)]).split())
    described: dict[str, str] = {}
    start = next((i for i in sections if lines[i].strip() == "Args:"), None)
    if start is None:
        return summary, described
    end = next((i for i in sections if i > start), len(lines))
    current = ""
    for line in lines[start + 1 : end]:
        entry = _ARGS_ENTRY.match(line.strip())
        deeper = len(line) - len(line.lstrip()) > len(lines[start]) - len(lines[start].lstrip()) + 4
        if entry and not (deeper and current):
            current, described[entry[1]] = entry[1], entry[2]
        elif current and line.strip():
            described[current] += " " + line.strip()
    return summary, described


def _arguments_model(function: Callable[..., Any], described: dict[str, str]) -> type[BaseModel]:
    hints = inspect.get_annotations(function, eval_str=True)
    fields: dict[str, Any] = {}
    for key, parameter in inspect.signature(function).parameters.items():
        if key == "self":
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ToolboxError(
                f"tool {function.__name__!r}: parameter {key!r} is {parameter.kind.description}; name it"
            )
        if key not in hints:
            raise ToolboxError(f"tool {function.__name__!r}: parameter {key!r} has no type; write `{key}: str` or so")
        default = ... if parameter.default is parameter.empty else parameter.default
        told = {"description": described[key]} if described.get(key) else {}  # None would hide the annotation's own
        fields[key] = (hints[key], FieldInfo(default=default, **told))
    return create_model(function.__name__, __config__=ConfigDict(arbitrary_types_allowed=False), **fields)


def _tidy(schema: Any) -> Any:
    """Drop the titles that pydantic adds: they cost tokens and say nothing."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: _tidy(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}


def _check_of(schema: Json) -> SchemaCheck:
    """A schema made ready: that costs more than to check a call."""
    global _checks_weight
    known = _checks.get(id(schema))
    if known is None:
        check = SchemaCheck(schema)
        if len(_checks) >= CHECKS_MAX or _checks_weight + check.weight > CHECKS_WEIGHT_MAX:
            _checks.clear()
            _checks_weight = 0
        known = _checks[id(schema)] = (schema, check)
        _checks_weight += check.weight
    return known[1]
