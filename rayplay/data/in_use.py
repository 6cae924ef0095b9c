"""Calls as they were made -> definitions of the tools, for sets whose definitions stand in the authors' code alone.

A parameter has the types of the values that it was given, and is required where no call leaves it out.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from rayplay.data.schemas import literal
from rayplay.records import Json

REPAIR = "tools_inferred_from_use"
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"),
)  # fmt: skip


class ToolsInUse:
    """Collects calls; gives a definition of each tool."""

    def __init__(self) -> None:
        self._calls: dict[str, int] = defaultdict(int)
        self._given: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._kinds: dict[tuple[str, str], set[str]] = defaultdict(set)

    def add(self, calls: Iterable[tuple[Any, Any]]) -> None:
        """Note calls; what is no call is passed over."""
        for name, arguments in calls:
            arguments = literal(arguments) if isinstance(arguments, str) else arguments
            if not isinstance(name, str) or not isinstance(arguments, dict):
                continue
            self._calls[name] += 1
            for key, value in arguments.items():
                self._given[name][key] += 1
                self._kinds[name, key].add(next((kind for held, kind in _KINDS if isinstance(value, held)), "null"))

    def definitions(self) -> list[Json]:
        """A definition of each tool, in the order of first use."""
        return [self._definition(name) for name in self._calls]

    def _definition(self, name: str) -> Json:
        given = self._given[name]
        kinds = {key: sorted(self._kinds[name, key]) for key in given}
        return {
            "name": name,
            "description": f"{name.replace('_', ' ')}.",
            "parameters": {
                "type": "object",
                "properties": {key: {"type": k[0] if len(k) == 1 else k} for key, k in kinds.items()},
                "required": [key for key, count in given.items() if count == self._calls[name]],
            },
        }
