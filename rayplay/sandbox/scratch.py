"""A call's scratch folder: who owns it, what it weighs while the call runs, and how it is emptied after.

Everything in it was made by a hostile program: symbolic links are never followed, and a tree of any depth is taken
apart without recursion, without long paths and with one open folder at a time.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

MODE = 0o700
WEIGHINGS = 20  # of a tree whose folders and files do not stay where they are


def give(path: str | Path, uid: int) -> None:
    """Hand the folder to `uid` (-1: it is the caller's own already)."""
    if uid >= 0:
        os.chown(path, uid, uid)
    os.chmod(path, MODE)


def identity(path: str | Path) -> tuple[int, int]:
    """Device and inode: Landlock rules hold on these, not on the name."""
    info = os.lstat(path)
    return info.st_dev, info.st_ino


def identity_or_none(path: str | Path) -> tuple[int, int] | None:
    """Device and inode, or None where there is nothing of that name."""
    try:
        return identity(path)
    except FileNotFoundError:
        return None


def weigh(path: str | Path, most_files: int) -> tuple[int, int]:
    """(entries, bytes on disk) below `path`; stops counting soon after `most_files`.

    A folder that cannot be looked into (closed by its owner, too deep to name, or never where it was a moment ago)
    counts as too many.
    """
    for _ in range(WEIGHINGS):
        with suppress(FileNotFoundError):  # moved or removed meanwhile
            return _weigh(path, most_files)
    return most_files + 1, 0


def _weigh(path: str | Path, most_files: int) -> tuple[int, int]:
    """The same, once.

    Raises:
        FileNotFoundError: Something went away between being listed and being looked at.
    """
    files = size = 0
    waiting = [path]
    while waiting and files <= most_files:
        try:
            for entry in os.scandir(waiting.pop()):
                files += 1
                info = entry.stat(follow_symlinks=False)
                size += info.st_blocks * 512
                if stat.S_ISDIR(info.st_mode):
                    waiting.append(entry.path)
        except FileNotFoundError:
            raise
        except OSError:
            return most_files + 1, size
    return files, size


def is_empty(path: str | Path, expected: tuple[int, int]) -> bool:
    """Whether the folder is the same one, as it was handed over, and nothing is in it."""
    try:
        info = os.lstat(path)
        as_given = (info.st_dev, info.st_ino) == expected and stat.S_IMODE(info.st_mode) == MODE
        return as_given and not os.listdir(path)
    except OSError:
        return False


def sweep(path: str | Path, expected: tuple[int, int]) -> bool:
    """Empty the folder; False where it is not the same folder any more or will not become empty."""
    try:
        if identity(path) != expected:
            return False
        os.chmod(path, MODE)
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        _empty(top)
    except OSError:
        return False
    return True


def remove(path: str | Path, expected: tuple[int, int]) -> None:
    """Empty and remove the folder and the one made to hold it; a mount stays."""
    if sweep(path, expected):
        with suppress(OSError):
            os.rmdir(path)
            os.rmdir(os.path.dirname(path))


def _empty(top: int) -> None:
    """Remove everything in the open folder `top`, which is closed; any depth, one descriptor at a time.

    Raises:
        OSError: Something cannot be removed.
    """
    here, names, waiting = top, [], [_clear_files(top)]
    try:
        while True:
            if waiting[-1]:  # a folder to go down into
                names.append(waiting[-1].pop())
                os.chmod(names[-1], MODE, dir_fd=here)
                below = os.open(names[-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
                os.close(here)
                here = below
                waiting.append(_clear_files(here))
            elif names:  # empty now: go up and remove it
                above = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
                os.close(here)
                here = above
                os.rmdir(names.pop(), dir_fd=here)
                waiting.pop()
            else:
                return
    finally:
        os.close(here)


def _clear_files(folder: int) -> list[str]:
    """Remove what is no folder; the names of what is."""
    folders = []
    for name in os.listdir(folder):
        if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
            folders.append(name)
        else:
            os.unlink(name, dir_fd=folder)
    return folders
