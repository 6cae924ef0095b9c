"""An MCP server's list of tools -> ToolSpecs that chat templates and executors take."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

import jsonschema
from mcp import types

from rayplay.errors import ToolboxError
from rayplay.records import ToolSpec
from rayplay.toolbox import schema_dialect

MAX_DESCRIPTION = 400


def describe(
    found: Sequence[types.Tool], label: str, deadline_s: float, remote: bool
) -> tuple[tuple[ToolSpec, ...], dict[str, str]]:
    """(our descriptions, what was left out and why) of a server's tools."""
    specs: list[ToolSpec] = []
    skipped: dict[str, str] = {}
    for entry in found:
        try:
            schema_dialect(entry.input_schema).check_schema(entry.input_schema)
        except jsonschema.SchemaError as error:
            skipped[entry.name] = f"its schema is none: {error.message[:100]}"
            continue
        name = free_name(entry.name, {spec.name for spec in specs})
        hints = entry.annotations
        specs.append(
            ToolSpec(
                name=name,
                original_name=entry.name if name != entry.name else "",
                description=" ".join((entry.description or entry.title or entry.name).split())[:MAX_DESCRIPTION],
                parameters={"type": "object", "properties": {}} | entry.input_schema,
                module=f"mcp:{label}",
                idempotent=bool(hints and (hints.read_only_hint or hints.idempotent_hint)),
                deadline_s=deadline_s,
                needs=("network",) if remote else (),
                returns=entry.output_schema or {},
            )
        )
    return tuple(specs), skipped


def free_name(name: str, taken: set[str]) -> str:
    """A name that chat templates and parsers take: letters, digits, _ and -, at most 64, and not taken."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:60] or "tool"
    return next(n for n in (plain, *(f"{plain}_{k}" for k in range(2, 10_000))) if n not in taken)


def allowed(specs: tuple[ToolSpec, ...], allow: Sequence[str], label: str) -> tuple[ToolSpec, ...]:
    """The tools of an allow-list, by our name or the server's.

    Raises:
        ToolboxError: It names a tool that the server does not have.
    """
    names = {name for spec in specs for name in (spec.name, spec.original_name) if name}
    for name in allow:
        if name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.5) or sorted(names)[:5]
            raise ToolboxError(f"MCP server {label!r} has no tool {name!r}; it has for example {', '.join(near)}")
    return tuple(spec for spec in specs if {spec.name, spec.original_name} & set(allow))
