"""The mark that makes a typed function a tool. Standard library only.

Apart from `toolbox`, which offers the same names, because sandboxed processes are forked from one that has imported the
tools: without pydantic and jsonschema in it, a fork costs half.
"""

from collections.abc import Callable, Iterable
from typing import Any

MARK = "__rayplay_tool__"


class ToolError(Exception):
    """Raised by a tool for what the model should be told (bad place name, division by zero); all else is a crash."""


def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    idempotent: bool = True,
    deadline_s: float = 5.0,
    memory_mb: int = 512,
    needs: Iterable[str] = (),
    pure: bool = False,
) -> Callable[..., Any]:
    """Mark a typed function (or a method of a toolset class) as a tool.

    Args:
        function: The function; its signature and docstring become the schema.
        name: Name shown to the model, if not the function's own.
        idempotent: Whether a call may be issued again after a crash of ours.
        deadline_s: Seconds of wall time that one call may take.
        memory_mb: Memory that one call may map, MiB.
        needs: What the recipe must allow, of "network" and "files".
        pure: Fixed code over plain data that keeps no state and writes nothing: calls may share a confined child, in
            turn, which makes them several times cheaper. The arguments and results of a call then lie in the memory
            that the next one runs in, where fixed code does not look. Never for a tool that runs what the model wrote.
    """

    def mark(target: Callable[..., Any]) -> Callable[..., Any]:
        options = {"idempotent": idempotent, "deadline_s": deadline_s, "memory_mb": memory_mb, "needs": tuple(needs)}
        setattr(target, MARK, {"name": name or target.__name__, **options, "pure": pure})
        return target

    return mark if function is None else mark(function)


def is_tool(value: Any) -> bool:
    """Whether `value` was marked by `@tool`."""
    return callable(value) and hasattr(value, MARK)
