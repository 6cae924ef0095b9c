"""Typed function -> tool: its JSON schema, its look-up, and the validation of arguments.

A tool is a typed function with a Google-style docstring; the schema is read off it and never written twice. Types that
have a schema: whatever pydantic can describe (str, int, float, bool, Literal, Enum, list, dict, optional, dataclasses).
Not covered: positional-only parameters, *args and **kwargs; they are refused by name.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

import jsonschema
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model
from pydantic.fields import FieldInfo
from referencing import Registry
from referencing.exceptions import Unresolvable

from rayplay.errors import ToolboxError
from rayplay.marks import MARK, ToolError, is_tool, tool
from rayplay.records import Json, ToolSpec

__all__ = [
    "ToolError", "check_arguments", "coerce_arguments", "find_tool", "is_tool", "read_docstring", "schema_dialect",
    "spec_of", "tool",
]  # fmt: skip

MAX_ARGUMENT_BYTES = 200_000
MAX_ARGUMENT_DEPTH = 24
VALIDATORS_MAX = 1024
# Where one of these stands beside `properties`, it may name arguments too
_MORE_ARGUMENTS = frozenset(("additionalProperties", "patternProperties", "anyOf", "oneOf", "allOf", "$ref", "if"))

_NO_NETWORK = Registry()  # where none is given, validators fetch a schema's references
_validators: dict[int, Validator] = {}  # by the schema's identity; each holds its schema, so that no other has its id

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

    Unknown keys are refused even where the schema is silent: a misspelt optional argument must not pass as absent. A
    schema of somebody else's that cannot be applied (references to nowhere or in circles, another language's regular
    expressions) refuses nothing: the tool itself will.
    """
    if not isinstance(arguments, dict):
        return f"arguments must be an object, not {type(arguments).__name__}"
    if _depth(arguments) > MAX_ARGUMENT_DEPTH:
        return f"arguments are nested deeper than {MAX_ARGUMENT_DEPTH}"
    known = spec.parameters.get("properties", {})
    if not any(spec.parameters.get(key) for key in _MORE_ARGUMENTS):
        for key in arguments:
            if key not in known:
                return f"unknown argument {str(key)[:60]!r}; {spec.name} takes: {', '.join(known) or 'none'}"
    try:
        error = next(iter(_validator(spec).iter_errors(arguments)), None)
    except (Unresolvable, RecursionError, re.error):
        return ""
    if error is None:
        return ""
    where = ".".join(str(part) for part in error.absolute_path)
    return f"{where + ': ' if where else ''}{error.message[:300]}"


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
        fields[key] = (hints[key], FieldInfo(default=default, description=described.get(key)))
    return create_model(function.__name__, __config__=ConfigDict(arbitrary_types_allowed=False), **fields)


def _tidy(schema: Any) -> Any:
    """Drop the titles that pydantic adds: they cost tokens and say nothing."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: _tidy(v) for k, v in schema.items() if not (k == "title" and isinstance(v, str))}


def schema_dialect(schema: Json) -> type[Validator]:
    """The validator of the draft that a schema names, else of 2020-12."""
    return validator_for(schema, default=jsonschema.Draft202012Validator)


def _validator(spec: ToolSpec) -> Validator:
    """The validator of a tool's schema: to make one costs as much as to check a call."""
    schema = spec.parameters
    validator = _validators.get(id(schema))
    if validator is None:
        if len(_validators) >= VALIDATORS_MAX:
            _validators.clear()
        validator = _validators[id(schema)] = schema_dialect(schema)(schema, registry=_NO_NETWORK)
    return validator


def _depth(value: Any, seen: int = 0) -> int:
    if seen > MAX_ARGUMENT_DEPTH or not isinstance(value, dict | list):
        return seen
    children = value.values() if isinstance(value, dict) else value
    return max((_depth(child, seen + 1) for child in children), default=seen)
