"""A run folder, which may come from anybody -> refused where it reaches outside of itself or is no run's.

Names that it lists are joined to its path, and what they lead to is read, hashed, moved and deleted: so they are plain
relative names, and nothing in the folder is a link out, a device or a pipe.
"""

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from rayplay.errors import RunFolderError

STAGING = re.compile(r"\.[^/]+\.\d+\.tmp|\.adapter\.tmp")  # of a write that a killed process left behind
MOST_ENTRIES = 1_000_000
ELSEWHERE = "rayplay did not write it so; nothing was touched, choose another --output-dir"


def is_plain(name: Any) -> bool:
    """Whether a name leads to something below the folder that lists it."""
    if (
        not isinstance(name, str)
        or name in ("", ".")
        or "\\" in name
        or any(ord(c) < 32 or ord(c) == 127 for c in name)
    ):
        return False
    return not name.startswith("/") and str(PurePosixPath(name)) == name and ".." not in PurePosixPath(name).parts


def check_names(names: Iterable[Any], where: Path) -> None:
    """Refuse names that lead out of the folder of the file that lists them.

    Raises:
        RunFolderError: Naming the first one.
    """
    bad = next((name for name in names if not is_plain(name)), None)
    if bad is not None:
        raise RunFolderError(f"{where} names {bad!r}, which is no file of its folder: {ELSEWHERE}")


def check_inside(folder: Path) -> None:
    """Refuse a folder with links out of it, pipes, sockets or devices; no folder at all is fine.

    Raises:
        RunFolderError: Naming the first one.
    """
    root = Path(os.path.realpath(folder))
    for number, path in enumerate(_entries(root)):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) and not Path(os.path.realpath(path)).is_relative_to(root):
            raise RunFolderError(f"{path} is a link to {os.readlink(path)!r}, outside of the folder: {ELSEWHERE}")
        if not (stat.S_ISLNK(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise RunFolderError(f"{path} is neither a file nor a folder: {ELSEWHERE}")
        if number >= MOST_ENTRIES:
            raise RunFolderError(f"{folder} holds more than {MOST_ENTRIES} files: {ELSEWHERE}")


def check_own(folder: Path) -> None:
    """Refuse to begin or continue a run in a folder that holds something else, or the run of another account.

    Raises:
        RunFolderError: Naming what is there.
    """
    manifest = folder / "manifest.json"
    if manifest.is_file() and os.geteuid() not in (0, manifest.stat().st_uid):
        raise RunFolderError(
            f"{manifest} belongs to the account with uid {manifest.stat().st_uid}: a run is continued by the account "
            "that began it; copy the folder if you trust it, or choose another --output-dir"
        )
    if not folder.is_dir() or (folder / ".lock").exists() or manifest.exists():
        return
    found = next(iter(sorted(p.name for p in folder.iterdir())), None)
    if found is not None:
        raise RunFolderError(f"output folder {folder} holds {found!r}, but no run; choose another --output-dir")


def left_behind(folder: Path) -> list[Path]:
    """Staging files and folders that a killed process of ours left in a checked folder."""
    return [path for path in _entries(folder) if STAGING.fullmatch(path.name) and not path.is_symlink()]


def _entries(root: Path) -> Iterable[Path]:
    for parent, folders, files in os.walk(root, followlinks=False):
        for name in (*folders, *files):
            yield Path(parent, name)
