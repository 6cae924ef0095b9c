"""The folder that a zygote's owner makes for it: taken by one process at a time, removed when nobody holds it."""

import fcntl
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from rayplay.sandbox import scratch

SOCKET_PATH_MAX = 107  # bytes of the path of a unix socket
SOCKET_NAME_MAX = 40  # of them for a folder and a name


def room_for_sockets() -> str:
    """A place for temporary folders with unix sockets: paths of these are short by nature, and TMPDIR may not be.

    Raises:
        OSError: There is none.
    """
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if len(os.fsencode(place)) + SOCKET_NAME_MAX <= SOCKET_PATH_MAX and os.access(place, os.W_OK | os.X_OK):
            return place
    raise OSError(f"{tempfile.gettempdir()} is too long a path for unix sockets, and /tmp is not writable")


def make_folder(prefix: str) -> tuple[Path, int]:
    """A new temporary folder, and a descriptor whose lock says that it is in use; abandoned ones are removed first.

    Ray ends a worker together with its children, so neither the owner nor the zygote may get to remove theirs.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):  # in use, somebody else's, or removed meanwhile
            _remove_abandoned(left)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        with suppress(OSError):  # taken for abandoned by another process before this line
            return folder, _hold(folder)


def _remove_abandoned(folder: Path) -> None:
    held = _hold(folder)
    try:
        if os.fstat(held).st_uid == os.geteuid() and scratch.empty(os.dup(held)):
            folder.rmdir()
    finally:
        os.close(held)


def _hold(folder: Path) -> int:
    """Lock the folder until the descriptor is closed.

    Raises:
        OSError: Another process holds it, or it is no folder, or not there any more.
    """
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.stat(folder)  # not removed while this process waited for its turn
    except OSError:
        os.close(held)
        raise
    return held
