"""A zygote -> a view of the machine of its own: everything read-only, and a scratch whose bytes and names are bounded.

Neither can be outrun: the kernel refuses the write that goes over the size of the tmpfs, whatever the tree looks like
and whether the file still has a name; and no call can leave a mode, an owner, a time stamp or a moved access time on
anything outside its scratch, devices included. Both end with the last process of the namespace, however it ends.

Root needs CAP_SYS_ADMIN; an ordinary user a kernel that lets it make user namespaces. Where neither is to be had
nothing changes, and the zygote says so.
"""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from rayplay.sandbox.confine import MNT_DETACH, PR_SET_DUMPABLE, libc, prctl

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 2, 4, 0x4000, 0x40000
MOUNT_ATTR_RDONLY, AT_FDCWD, AT_RECURSIVE = 1, -100, 0x8000
SYSCALL_MOUNT_SETATTR = 442  # of every architecture

_syscall = ctypes.CDLL(None, use_errno=True).syscall  # another object than confine's, which takes fewer arguments
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_long)
_syscall.restype = ctypes.c_long


class MountAttr(ctypes.Structure):
    """`struct mount_attr` of mount_setattr(2)."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def isolate(scratch: str, most_bytes: int, most_files: int) -> bool:
    """Move the calling process into a mount namespace of its own, read-only but for a tmpfs on `scratch`.

    Args:
        scratch: An existing folder, which is covered.
        most_bytes: Of everything in it together, files without a name included.
        most_files: Names and files without one, folders and links included.

    Returns:
        False where the kernel does not permit that; nothing has changed then.
    """
    if not _can_isolate(scratch, most_bytes, most_files):
        return False
    _isolate(scratch, most_bytes, most_files)
    return True


def _can_isolate(*wanted: object) -> bool:
    """Try it in a process that ends: half of it would be worse than nothing."""
    pid = os.fork()
    if pid == 0:
        try:
            _isolate(*wanted)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _isolate(scratch: str, most_bytes: int, most_files: int) -> None:
    """The same.

    Raises:
        OSError: A step was refused.
    """
    try:
        own_namespace()
    except OSError:
        if os.geteuid() == 0:  # it hands the scratch to another user, who would not exist in a user namespace
            raise
        own_namespace(CLONE_NEWUSER)
    make_read_only("/", AT_RECURSIVE)
    options = f"size={most_bytes},nr_inodes={most_files + 1},mode=0700"  # the folder itself is one
    _checked(libc.mount(b"tmpfs", scratch.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, options.encode()), scratch)


def own_namespace(also: int = 0) -> None:
    """Move the calling process into a mount namespace of its own, whose mounts tell others nothing.

    Args:
        also: CLONE_NEWUSER for a user namespace too, in which the caller's user and group are all there is.

    Raises:
        OSError: The kernel refused.
    """
    user, group = os.geteuid(), os.getegid()
    _checked(libc.unshare(CLONE_NEWNS | also), "unshare")
    if also:
        prctl(PR_SET_DUMPABLE, 1)  # else the files below are root's
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path(f"/proc/self/{name}").write_text(text)
        prctl(PR_SET_DUMPABLE, 0)
    _checked(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount /")


def make_read_only(mount: str, flags: int = 0) -> None:
    """Make a mount of the caller's namespace read-only; with AT_RECURSIVE those below it too. Needs CAP_SYS_ADMIN.

    Raises:
        OSError: The kernel refused, or is older than 5.12.
    """
    attributes = MountAttr(MOUNT_ATTR_RDONLY, 0, 0, 0)
    address, size = ctypes.addressof(attributes), ctypes.sizeof(attributes)
    _checked(_syscall(SYSCALL_MOUNT_SETATTR, AT_FDCWD, mount.encode(), flags, address, size), f"mount_setattr {mount}")


def _checked(answer: int, what: str) -> None:
    if answer != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


class Outside:
    """The folder that a zygote's owner made, as it was reachable before `isolate`: for its removal at the end."""

    def __init__(self, scratch: str) -> None:
        self.scratch = scratch
        self.folder = Path(scratch).parent
        self.parent = os.open(self.folder.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def remove(self) -> None:
        """Unmount the scratch and remove the folders, which are empty on that side."""
        libc.umount2(self.scratch.encode(), MNT_DETACH)
        with suppress(OSError):  # the owner was quicker
            os.rmdir(f"{self.folder.name}/{Path(self.scratch).name}", dir_fd=self.parent)
            os.rmdir(self.folder.name, dir_fd=self.parent)
