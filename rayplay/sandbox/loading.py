"""Module names -> the tools in them. Standard library only: zygotes use it."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rayplay.marks import is_tool


class Found(NamedTuple):
    """A tool, the module that it was found in, and the toolset class that it is a method of."""

    function: Callable[..., Any]
    module: str
    toolset: type | None


def load_tools(modules: list[str]) -> Iterator[Found]:
    """Import the modules and find the tools and toolsets that are their own.

    Raises:
        Exception: Whatever importing a module raises.
    """
    for name in modules:
        module = importlib.import_module(name)
        for value in vars(module).values():
            if getattr(value, "__module__", "") != name:
                continue
            if isinstance(value, type):
                yield from (Found(member, name, value) for member in vars(value).values() if is_tool(member))
            elif is_tool(value):
                yield Found(value, name, None)


def home_of(module: str) -> str:
    """The folder of a module's top package, or the file of a lone module: what its tools may read."""
    top = sys.modules[module.partition(".")[0]]
    locations = list(getattr(top, "__path__", []))
    return locations[0] if locations else str(Path(top.__file__ or "").resolve())


def failure(error: Exception) -> str:
    """What went wrong while loading, for the user."""
    return f"{type(error).__name__}: {error}"[:2000]
