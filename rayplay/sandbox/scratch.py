"""A call's scratch folder: who owns it, what it weighs while the call runs, and how it is emptied after.

Everything in it was made by a hostile program, which may still be at it: nothing is reached by a path, symbolic links
are never followed, and a tree of any depth is taken apart without recursion and with one open folder at a time.
"""

import ctypes
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MODE = 0o700
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
ENTRIES_BYTES = 4096
OWN_ENTRIES_BYTES = 48  # "." and ".." as getdents64(2) tells them
WEIGHINGS = 20  # of a tree whose folders and files do not stay where they are

_GETDENTS = {"x86_64": 217, "aarch64": 61}.get(os.uname().machine, -1)
_syscall = ctypes.PyDLL(None).syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_long)
_syscall.restype = ctypes.c_long
_entries = ctypes.create_string_buffer(ENTRIES_BYTES)
_entries_address = ctypes.addressof(_entries)


def give(path: str | Path, uid: int) -> None:
    """Hand the folder to `uid` (-1: it is the caller's own already)."""
    folder = os.open(path, FOLDER)
    try:
        if uid >= 0:
            os.fchown(folder, uid, uid)
        os.fchmod(folder, MODE)
    finally:
        os.close(folder)


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
    scale = _Scale(most_files)
    try:
        _walk(os.open(path, FOLDER), scale.look, _nothing)
    except FileNotFoundError:
        raise
    except OSError:
        return most_files + 1, scale.size
    return scale.files, scale.size


class _Scale:
    """Adds up what is in the folders that it looks at."""

    def __init__(self, most_files: int) -> None:
        self.most_files, self.files, self.size = most_files, 0, 0

    def look(self, folder: int) -> list[str]:
        """The folders in it.

        Raises:
            OSError: There are too many files already.
        """
        folders = []
        with os.scandir(folder) as entries:
            for entry in entries:
                self.files += 1
                if self.files > self.most_files:
                    raise OSError("too many files")
                info = entry.stat(follow_symlinks=False)
                self.size += info.st_blocks * 512
                if stat.S_ISDIR(info.st_mode):
                    folders.append(entry.name)
        return folders


def is_empty(path: str | Path, expected: tuple[int, int]) -> bool:
    """Whether the folder is the same one, as it was handed over, and nothing is in it; its times are set to now.

    Names never reach this process's memory, nor the times that a call set: the next call is forked from it.
    """
    try:
        folder = os.open(path, FOLDER)
    except OSError:
        return False
    try:
        os.utime(folder)
        info = os.fstat(folder)
        as_given = (info.st_dev, info.st_ino) == expected and info.st_mode == stat.S_IFDIR | MODE
        return as_given and _holds_nothing(folder)
    except OSError:
        return False
    finally:
        os.close(folder)


def _holds_nothing(folder: int) -> bool:
    """Whether an open folder has no more than the two entries that every folder has, by how long all entries are."""
    length, part = 0, 1
    while part > 0 and length <= OWN_ENTRIES_BYTES:
        part = _syscall(_GETDENTS, folder, _entries_address, ENTRIES_BYTES)
        length += part
    ctypes.memset(_entries_address, 0, ENTRIES_BYTES)
    return part == 0 and length == OWN_ENTRIES_BYTES


def sweep(path: str | Path, expected: tuple[int, int]) -> bool:
    """Empty the folder; False where it is not the same folder any more or will not become empty."""
    try:
        top = _open_any_mode(path)
    except OSError:
        return False
    info = os.fstat(top)
    if (info.st_dev, info.st_ino) != expected:
        os.close(top)
        return False
    return empty(top)


def empty(top: int) -> bool:
    """Remove everything in the open folder `top`, which is closed; False where something cannot be removed."""
    try:
        _walk(top, _clear_files, _remove_folder, _open_any_mode)
    except OSError:
        return False
    return True


def remove(path: str | Path, expected: tuple[int, int]) -> None:
    """Empty and remove the folder and the one made to hold it; a mount stays."""
    if sweep(path, expected):
        with suppress(OSError):
            os.rmdir(path)
            os.rmdir(os.path.dirname(path))


def _open_folder(name: str | Path, dir_fd: int | None = None) -> int:
    return os.open(name, FOLDER, dir_fd=dir_fd)


def _open_any_mode(name: str | Path, dir_fd: int | None = None) -> int:
    """Open a folder that its owner may have closed to himself; never through a link that took its place.

    Raises:
        OSError: It is no folder, or somebody else's.
    """
    try:
        return _open_folder(name, dir_fd)
    except PermissionError:
        itself = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            os.chmod(f"/proc/self/fd/{itself}", MODE)  # of that very folder, whatever has its name now
            return os.open(".", FOLDER, dir_fd=itself)
        finally:
            os.close(itself)


def _walk(
    top: int,
    look: Callable[[int], list[str]],
    leave: Callable[[int, str], None],
    enter: Callable[[str, int], int] = _open_folder,
) -> None:
    """Visit the open folder `top`, which is closed, and all below; any depth, one descriptor at a time.

    Nothing is reached by a path, and the way up must lead to the folder that the way down came from: whoever moves
    things meanwhile ends the walk, and leads it nowhere.

    Args:
        look: Called with each open folder; returns the names of those in it to go down into.
        leave: Called with the open folder above and the name of each visited one.
        enter: Opens a folder by its name in an open one.

    Raises:
        FileNotFoundError: Something has been moved or removed meanwhile.
        OSError: Something was refused.
    """
    here, names, above, waiting = top, [], [], []
    try:
        waiting.append(look(here))
        while waiting[-1] or names:
            if waiting[-1]:
                names.append(waiting[-1].pop())
                above.append(_identity_of(here))
                below = enter(names[-1], here)
                os.close(here)
                here = below
                waiting.append(look(here))
            else:
                up = os.open("..", FOLDER, dir_fd=here)
                os.close(here)
                here = up
                if _identity_of(here) != above.pop():
                    raise FileNotFoundError("moved while it was visited")
                leave(here, names.pop())
                waiting.pop()
    finally:
        os.close(here)


def _identity_of(folder: int) -> tuple[int, int]:
    info = os.fstat(folder)
    return info.st_dev, info.st_ino


def _nothing(_folder: int, _name: str) -> None:
    """Leave a folder as it is."""


def _remove_folder(folder: int, name: str) -> None:
    os.rmdir(name, dir_fd=folder)


def _clear_files(folder: int) -> list[str]:
    """Remove what is no folder; the names of what is."""
    os.fchmod(folder, MODE)
    folders = []
    for name in os.listdir(folder):
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            folders.append(name)
    return folders
