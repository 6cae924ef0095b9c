"""An MCP server's list of tools, page by page as it wrote it -> ToolSpecs that chat templates and executors take.

Every entry is judged by itself: one that cannot be offered costs itself alone and is named with its reason. What is
taken is bounded in number and size, what is told of the rest too.
"""

import json
import math
import re
import time
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from rayplay.errors import ToolboxError
from rayplay.records import Json, ToolSpec
from rayplay.schema_check import SchemaCheck
from rayplay.schema_graph import values_within

MAX_DESCRIPTION = 400
MAX_TOOLS = 1000  # of one server
MAX_NAME = 200
MAX_SCHEMA_VALUES, MAX_SCHEMA_CHARS = 20_000, 200_000
MAX_SKIPPED = 100  # entries that are named; the rest is counted
MORE = "(more)"


class ToolList:
    """The tools of a server as its pages arrive; `skipped` says what was left out and why.

    Args:
        allow: Names to take, the server's own or as ours would be; None = all. Others are not even judged.
    """

    def __init__(self, allow: Sequence[str] | None = None) -> None:
        self.skipped: dict[str, str] = {}
        self._uncounted = 0
        self._wanted = None if allow is None else {*allow, *map(plain_name, allow)}
        self._entries: dict[str, Json] = {}
        self.names: set[str] = set()  # of all that the server has
        self.seen = 0

    def add(self, entries: Any, until: float = math.inf) -> None:
        """Judge the entries of one page, until a time of `time.monotonic`; those left then are counted as left out."""
        if not isinstance(entries, list):
            self._skip("(list)", f"the server's list of tools is {type(entries).__name__}, not an array")
            return
        for number, entry in enumerate(entries):
            self.seen += 1
            if time.monotonic() > until:
                self._skip("(rest)", f"{len(entries) - number} tools could not be judged in time")
                return
            name = entry.get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str) or not name or len(name) > MAX_NAME:
                self._skip(f"(number {self.seen})", f"it has no name of 1 to {MAX_NAME} characters")
                continue
            doubled = name in self.names
            if len(self.names) < 100 * MAX_TOOLS:
                self.names.add(name)
            if self._wanted is not None and name not in self._wanted and plain_name(name) not in self._wanted:
                continue
            problem = "another tool has the same name" if doubled else self._problem(entry)
            if problem:
                self._skip(name, problem)
            else:
                self._entries[name] = entry

    def specs(self, label: str, deadline_s: float, remote: bool) -> tuple[ToolSpec, ...]:
        """What is offered, in the server's order. A name that is valid as it is keeps it, whoever comes first."""
        taken = {name for name in self._entries if plain_name(name) == name}
        found = []
        for raw_name, entry in self._entries.items():
            name = raw_name if raw_name in taken else free_name(raw_name, taken)
            taken.add(name)
            found.append(spec_of_entry(name, entry, label, deadline_s, remote))
        return tuple(found)

    def _problem(self, entry: Json) -> str:
        if len(self._entries) >= MAX_TOOLS:
            return f"only the first {MAX_TOOLS} tools of a server are taken; name those you want with allow"
        schema = entry.get("inputSchema")
        if not isinstance(schema, dict):
            return f"its inputSchema is {'missing' if schema is None else f'a {type(schema).__name__}'}"
        if schema.get("type", "object") != "object":
            return f"its inputSchema describes {str(schema['type'])[:40]!r}, not an object"
        if values_within(schema, MAX_SCHEMA_VALUES) > MAX_SCHEMA_VALUES:
            return f"its inputSchema holds more than {MAX_SCHEMA_VALUES} values"
        fault = next((fault for fault in SchemaCheck(schema).faults if fault.breaks), None)
        if fault is not None:
            return f"its schema is none: {str(fault)[:100]}"
        size = len(json.dumps(schema))
        return f"its inputSchema has {size} characters; at most {MAX_SCHEMA_CHARS}" if size > MAX_SCHEMA_CHARS else ""

    def _skip(self, name: str, reason: str) -> None:
        if len(self.skipped) < MAX_SKIPPED:
            self.skipped[name if name not in self.skipped else f"{name} (number {self.seen})"] = reason
        else:
            self._uncounted += 1
            self.skipped[MORE] = f"{self._uncounted} more were left out, the last one because {reason}"


def spec_of_entry(name: str, entry: Json, label: str, deadline_s: float, remote: bool) -> ToolSpec:
    """One judged entry as ours; what it says besides name and schema is taken where it has the right type."""
    hints = entry.get("annotations")
    hints = hints if isinstance(hints, dict) else {}
    told = (entry.get("description"), entry.get("title"), entry["name"])
    description = next(text for text in told if isinstance(text, str) and text.strip())
    output = entry.get("outputSchema")
    small = isinstance(output, dict) and values_within(output, MAX_SCHEMA_VALUES) <= MAX_SCHEMA_VALUES
    return ToolSpec(
        name=name,
        original_name=entry["name"] if name != entry["name"] else "",
        description=" ".join(description[: 10 * MAX_DESCRIPTION].split())[:MAX_DESCRIPTION],
        parameters={"type": "object", "properties": {}} | entry["inputSchema"],
        module=f"mcp:{label}",
        idempotent=hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True,
        deadline_s=deadline_s,
        needs=("network",) if remote else (),
        returns=output if small else {},
    )


def plain_name(name: str) -> str:
    """A name in what chat templates and parsers take: letters, digits, _ and -, at most 60."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:60] or "tool"


def free_name(name: str, taken: set[str]) -> str:
    """A plain name that is not taken."""
    plain, number = plain_name(name), 2
    found = plain
    while found in taken:
        found, number = f"{plain}_{number}", number + 1
    return found


def allowed(specs: tuple[ToolSpec, ...], allow: Sequence[str], label: str, has: set[str]) -> tuple[ToolSpec, ...]:
    """The tools of an allow-list. The server's own name decides; ours counts only where no tool really has that name.

    Raises:
        ToolboxError: It names a tool that the server does not have, or that cannot be offered.
    """
    own = {spec.original_name or spec.name: spec for spec in specs}
    ours = {spec.name: spec for spec in specs}
    chosen = []
    for name in allow:
        spec = own.get(name) if name in has else ours.get(name)
        if spec is None:
            if name in has:
                raise ToolboxError(f"MCP server {label!r} has a tool {name!r}, but it cannot be offered: see `skipped`")
            near = get_close_matches(name, has, n=1, cutoff=0.5) or sorted(has)[:5]
            raise ToolboxError(f"MCP server {label!r} has no tool {name!r}; it has for example {', '.join(near)}")
        chosen.append(spec.name)
    return tuple(spec for spec in specs if spec.name in chosen)
