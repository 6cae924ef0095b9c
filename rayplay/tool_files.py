"""A folder of tool files -> which module holds which tool, by reading their syntax: nothing is imported or run."""

import ast
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from rayplay.errors import ToolboxError


def tool_modules_in(folder: Path) -> tuple[str, ...]:
    """Import names of the folder's tool files, sorted."""
    return tuple(f"{folder.name}.{path.stem}" for path in sorted(folder.glob("*.py")) if path.stem != "__init__")


def tools_in(folder: Path) -> dict[str, str]:
    """Tool name -> import name of the module that holds it, over all files of a folder.

    Raises:
        ToolboxError: The folder does not exist.
    """
    if not folder.is_dir():
        raise ToolboxError(f"{folder}: no such folder; run this where tools/ is, or give --folder")
    found: dict[str, str] = {}
    for module in tool_modules_in(folder):
        source = (folder / f"{module.rpartition('.')[2]}.py").read_bytes()
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):  # told in full by whoever loads the file
            continue
        for name in marked_names(tree):
            found.setdefault(name, module)
    return found


def module_of(name: str, folder: Path) -> str:
    """Import name of the module that holds the tool `name`.

    Raises:
        ToolboxError: No file of the folder does; the message suggests the nearest name.
    """
    found = tools_in(folder)
    if name not in found:
        near = get_close_matches(name, found, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(found))}"
        raise ToolboxError(f"no tool {name!r} in {folder}/; {hint}")
    return found[name]


def marked_names(tree: ast.AST) -> Iterable[str]:
    """Names of all functions under `@tool` or `@tool(...)`, as the model sees them."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in node.decorator_list:
            call = mark if isinstance(mark, ast.Call) else None
            target = call.func if call else mark
            if isinstance(target, ast.Name) and target.id == "tool":
                given = [k.value for k in call.keywords if k.arg == "name"] if call else []
                yield given[0].value if given and isinstance(given[0], ast.Constant) else node.name
