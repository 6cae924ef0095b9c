"""A call's scratch folder: who owns it, what it weighs while the call runs, and how it is emptied after.

Everything in it was made by a hostile program: symbolic links are never followed, and a tree of any depth is taken
apart without recursion, by moving every folder up to the top before it is looked into.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from secrets import token_hex

MODE = 0o700


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

    A folder that cannot be looked into (closed by its owner, or too deep to name) counts as too many.
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
            continue  # removed meanwhile
        except OSError:
            return most_files + 1, size
    return files, size


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
        lifted = (f"{token_hex(8)}-{n}" for n in count())
        while names := os.listdir(top):
            for name in names:
                _remove(top, name, lifted)
    except OSError:
        return False
    finally:
        os.close(top)
    return True


def remove(path: str | Path, expected: tuple[int, int]) -> None:
    """Empty and remove the folder and the one made to hold it; a mount stays."""
    if sweep(path, expected):
        with suppress(OSError):
            os.rmdir(path)
            os.rmdir(os.path.dirname(path))


def _remove(top: int, name: str, lifted: Iterator[str]) -> None:
    """Remove a file, or lift a folder's folders to the top and remove the folder."""
    if not stat.S_ISDIR(os.lstat(name, dir_fd=top).st_mode):
        os.unlink(name, dir_fd=top)
        return
    os.chmod(name, MODE, dir_fd=top)
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
    try:
        for inner in os.listdir(folder):
            if stat.S_ISDIR(os.lstat(inner, dir_fd=folder).st_mode):
                os.chmod(inner, MODE, dir_fd=folder)  # moving a folder writes its "..", which needs its permission
                os.rename(inner, next(lifted), src_dir_fd=folder, dst_dir_fd=top)
            else:
                os.unlink(inner, dir_fd=folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)
