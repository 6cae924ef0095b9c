"""A small file system in memory: a toolset that touches no real file.

State: {"files": {absolute path: text}}. A folder exists as long as a file lies below it.
"""

import copy
from typing import Any

from rayplay.toolbox import ToolError, tool

MAX_FILES = 100
MAX_FILE_CHARACTERS = 10_000

START = {
    "files": {
        "/notes/todo.txt": "buy milk",
        "/notes/ideas.txt": "paint the door",
        "/work/report.txt": "sales were good",
        "/work/plan.txt": "meet on Monday",
    }
}


class FileSystem:
    """All files of one episode. `state` is all there is; None starts with a few sample files."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state = copy.deepcopy(state or START)

    @property
    def files(self) -> dict[str, str]:
        """Text by path."""
        return self.state["files"]

    @tool(deadline_s=2.0, memory_mb=256)
    def list_files(self, folder: str = "/") -> list[str]:
        """List files.

        Args:
            folder: e.g. /notes
        """
        start = clean(folder).rstrip("/") + "/"
        found = sorted(path for path in self.files if path.startswith(start))
        if not found and start != "/":
            raise ToolError(f"no folder {folder[:80]}")
        return found

    @tool(deadline_s=2.0, memory_mb=256)
    def read_file(self, path: str) -> str:
        """Read a file.

        Args:
            path: e.g. /notes/todo.txt
        """
        return self.files[self._existing(path)]

    @tool(deadline_s=2.0, memory_mb=256)
    def write_file(self, path: str, text: str) -> str:
        """Create or replace a file.

        Args:
            path: e.g. /notes/todo.txt
            text: new content
        """
        name = self._free_of_folders(path)
        if len(text) > MAX_FILE_CHARACTERS:
            raise ToolError(f"text has {len(text)} characters; at most {MAX_FILE_CHARACTERS} fit into a file")
        if name not in self.files and len(self.files) >= MAX_FILES:
            raise ToolError(f"there are {MAX_FILES} files already; delete one first")
        self.files[name] = text
        return f"wrote {name}"

    @tool(idempotent=False, deadline_s=2.0, memory_mb=256)
    def move_file(self, path: str, new_path: str) -> str:
        """Move or rename a file.

        Args:
            path: old path
            new_path: new path
        """
        old, new = self._existing(path), self._free_of_folders(new_path)
        if new in self.files:
            raise ToolError(f"{new} exists already")
        self.files[new] = self.files.pop(old)
        return f"moved to {new}"

    @tool(idempotent=False, deadline_s=2.0, memory_mb=256)
    def delete_file(self, path: str) -> str:
        """Delete a file.

        Args:
            path: e.g. /notes/todo.txt
        """
        name = self._existing(path)
        del self.files[name]
        return f"deleted {name}"

    def _existing(self, path: str) -> str:
        name = clean(path)
        if name not in self.files:
            raise ToolError(f"no file {path[:80]}")
        return name

    def _free_of_folders(self, path: str) -> str:
        """A path that can be a file: no file is a folder of another."""
        name = clean(path)
        parts = name.split("/")[1:]
        above = {"/" + "/".join(parts[:n]) for n in range(1, len(parts))}
        if name == "/" or any(other.startswith(name + "/") for other in self.files) or above & self.files.keys():
            raise ToolError(f"{path[:80]} cannot be a file here")
        return name


def clean(path: str) -> str:
    """An absolute path without empty, `.` and `..` parts.

    Raises:
        ToolError: It leaves the root, or is too long.
    """
    parts: list[str] = []
    for part in path.strip().split("/"):
        if part == "..":
            if not parts:
                raise ToolError(f"{path[:80]} leaves the root")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    name = "/" + "/".join(parts)
    if len(name) > 200:
        raise ToolError("the path is longer than 200 characters")
    return name
