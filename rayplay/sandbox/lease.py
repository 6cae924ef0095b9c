"""A range of user ids -> one that nobody else on this machine has, for as long as its holder lives.

Two calls that share a user share the kernel's count of its threads, and may signal each other. So each zygote's
children get a user of their own: a file per user, locked by its holder and by the zygote itself, and so free again once
both have ended, however they ended. The files stay: who removed one could lock another than who makes it again.
"""

import fcntl
import os
import stat
from pathlib import Path
from typing import NamedTuple

from rayplay.errors import SandboxError

FIRST, COUNT = 61184, 4000  # the range that systemd sets aside for users that live only as long as a service
PARENTS = (Path("/run"), Path("/var/tmp"))  # the first that can be written to


class Lease(NamedTuple):
    """A user id, and the descriptor whose lock keeps it: closing it (in every process that has it) ends the lease."""

    uid: int
    held: int


def lease_uid(first: int = FIRST, count: int = COUNT, parents: tuple[Path, ...] = PARENTS) -> Lease:
    """Take the first free user id of the range: never waits. For root only.

    Raises:
        SandboxError: All are taken, or there is no folder to keep leases in.
    """
    folder = _folder(parents)
    for uid in range(first, first + count):
        held = os.open(folder / str(uid), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            continue
        if uid not in users_of_processes():
            return Lease(uid, held)
        os.close(held)  # somebody who keeps no leases, or a child that is just being ended
    raise SandboxError(
        f"all {count} user ids from {first} on are in use by sandboxes of this machine (leases in {folder}); "
        "end some, or lower the number of tool actors or their size"
    )


def users_of_processes() -> set[int]:
    """Real user ids of all processes that can be seen, zombies included: the kernel counts these too."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = Path("/proc", name, "status").read_text()
            except OSError:
                continue  # ended meanwhile
            found.add(int(text.partition("\nUid:")[2].split(maxsplit=1)[0]))
    return found


def _folder(parents: tuple[Path, ...]) -> Path:
    """The folder of the leases, which nobody but this user may enter.

    Raises:
        SandboxError: None can be made, or somebody else made it.
    """
    problem = ""
    for parent in parents:
        folder = parent / "rayplay-uids"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            info = folder.lstat()
        except OSError as error:
            problem = str(error)
            continue
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077:
            raise SandboxError(f"{folder} must be a folder of root's own with mode 0700; remove what is there")
        return folder
    raise SandboxError(f"no folder to keep the leases of user ids in: {problem}")
