"""Paths that an unprivileged user cannot reach -> paths that it can, in a mount namespace of the zygote's own.

As root the children become another user; an interpreter under /root (0700) or a checkout in a private folder would be
out of their reach, and every later import would fail. So each closed folder on the way is covered by an empty one that
holds bind mounts of just the paths needed. Needs CAP_SYS_ADMIN; without it nothing changes, and the probe tells.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from rayplay.sandbox.confine import libc

CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE, MS_NOSUID, MS_NODEV = 0x1000, 0x4000, 0x40000, 2, 4
SEARCH_BY_OTHERS = 0o001


def closed_folder(path: Path) -> Path | None:
    """The topmost folder on the way to `path` that others may not pass."""
    for ancestor in reversed(path.parents):
        if not ancestor.stat().st_mode & SEARCH_BY_OTHERS:
            return ancestor
    return None


def open_passage(paths: Iterable[str]) -> bool:
    """Make `paths` reachable for every user, seen from this process on; False where that was not permitted.

    The rest of each closed folder disappears from view.
    """
    behind: dict[Path, list[Path]] = {}
    for path in sorted(map(Path, set(paths))):  # parents before what is in them
        if path.exists() and (closed := closed_folder(path)):
            behind.setdefault(closed, []).append(path)
    if not behind:
        return True
    if libc.unshare(CLONE_NEWNS) != 0:
        return False
    _mount(None, "/", None, MS_REC | MS_PRIVATE)
    for closed, inside in behind.items():
        opened = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in inside}  # before they are covered
        _mount("tmpfs", str(closed), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
        for path, fd in opened.items():
            _bind(path, fd)
            os.close(fd)
    return True


def _bind(path: Path, fd: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    if path.exists():
        return  # below a path that is mounted already
    if os.path.isdir(fd):
        path.mkdir()
    else:
        path.touch()
    _mount(f"/proc/self/fd/{fd}", str(path), None, MS_BIND | MS_REC)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    if libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]) != 0:
        raise OSError(ctypes.get_errno(), "mount", target)
