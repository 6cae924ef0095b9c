"""A fresh child -> a confined one: limits, uid, no_new_privs, Landlock, seccomp, in the order that the kernel needs.

Everything expensive is built or put on once, in the zygote; the child only makes a few system calls. Runs inside the
zygote: standard library and the `landlock` package only.
"""

import ctypes
import fcntl
import importlib
import os
import resource
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_SECUREBITS = 1, 4, 24, 28
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 36, 38, 47, 4
SECBIT_NOROOT_LOCKED = 0b11  # uid 0 means nothing special any more
SIGKILL = 9
SECCOMP_SET_MODE_FILTER = 1
MNT_DETACH = 2
HARMLESS_DEVICES = ("null", "zero", "full", "random", "urandom")
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
CAPABILITY_VERSION_3 = 0x20080522
CAP_SYS_ADMIN = 21
# root's: to hand over and sweep the scratch, to end what runs as somebody else, to become somebody else
ROOT_CAPABILITIES = {
    "CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
}  # fmt: skip
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
CAPABILITY_VERSION_3 = 0x20080522
CAP_SYS_ADMIN = 21
# root's: to hand over and sweep the scratch, to become somebody else and to end what has become so
ROOT_CAPABILITIES = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_FOWNER": 3, "CAP_KILL": 5} | {
    "CAP_SETGID": 6, "CAP_SETUID": 7, "CAP_SETPCAP": 8,
}  # fmt: skip
SYSCALL_RESTRICT_SELF = 446  # of every architecture
HIGH_FD = 8  # a descriptor that must survive dup2 in the child has this number or a higher one; few may be allowed
LANDLOCK_SCOPE_ALL = 0b11  # abstract unix sockets and signals, ABI 6
LANDLOCK_NET_ALL = 0b11  # bind and connect over TCP, ABI 4

libc = ctypes.CDLL(None, use_errno=True)
# typed once: converting arguments on the way would touch, and so copy, many more pages of a freshly forked child
_prctl = libc.prctl
_prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_syscall = libc.syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_long)
_syscall.restype = ctypes.c_long
_SECCOMP = SYS_SECCOMP.get(os.uname().machine, -1)
_CAPSET = SYS_CAPSET.get(os.uname().machine, -1)
_CAPSET_HEADER = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION_3, 0))
_NO_CAPABILITIES = ctypes.create_string_buffer(24)


class SockFprog(ctypes.Structure):
    """`struct sock_fprog`: what seccomp(2) takes."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


class WholeRulesetAttr(ctypes.Structure):
    """`struct landlock_ruleset_attr` up to ABI 6; the package knows only its first field."""

    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


def prctl(option: int, argument: int) -> None:
    """prctl(2).

    Raises:
        OSError: The kernel refused.
    """
    if _prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def build_ruleset(read_paths: Iterable[str], scratch: str, networked: bool) -> int:
    """A Landlock ruleset: everything denied but reading these paths and using the scratch.

    Made in a process of its own, which alone pays for importing the `landlock` package: each fork of this one would
    cost a tenth more.

    Returns:
        Its descriptor, HIGH_FD or more.

    Raises:
        OSError: The kernel has no Landlock, or it is off.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if pid == 0:
            try:
                socket.send_fds(theirs, [b"made"], [_build_ruleset(read_paths, scratch, networked)])
            except Exception as error:  # told to the one who waits
                theirs.sendall(f"{type(error).__name__}: {error}".encode())
            finally:
                os._exit(0)
        said, descriptors, _, _ = socket.recv_fds(ours, 1000, 1)
        os.waitpid(pid, 0)
    if not descriptors:
        raise OSError(f"Landlock: {said.decode()}")
    ruleset = fcntl.fcntl(descriptors[0], fcntl.F_DUPFD_CLOEXEC, HIGH_FD)  # a free number: the socket may have any
    os.close(descriptors[0])
    return ruleset


def _build_ruleset(read_paths: Iterable[str], scratch: str, networked: bool) -> int:
    plumbing = importlib.import_module("landlock.plumbing")
    FSAccess = plumbing.FSAccess
    ctypes.set_errno(0)  # the package takes any errno left over for a failure
    abi = plumbing.landlock_abi_version()
    net, scoped = (LANDLOCK_NET_ALL if abi >= 4 and not networked else 0), (LANDLOCK_SCOPE_ALL if abi >= 6 else 0)
    attr = WholeRulesetAttr(int(FSAccess.all()), net, scoped)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ctypes.set_errno(0)
    pointer = ctypes.cast(ctypes.byref(attr), ctypes.POINTER(plumbing.RulesetAttr))
    ruleset = plumbing.get_create_ruleset()(pointer, size, 0)
    read = FSAccess.READ_FILE | FSAccess.READ_DIR
    write = read | FSAccess.WRITE_FILE | FSAccess.REMOVE_DIR | FSAccess.REMOVE_FILE
    write |= FSAccess.MAKE_DIR | FSAccess.MAKE_REG | FSAccess.MAKE_SYM
    write |= (FSAccess.TRUNCATE if abi >= 3 else FSAccess(0)) | (FSAccess.REFER if abi >= 2 else FSAccess(0))
    rules = [(path, read) for path in read_paths] + [(scratch, write)]
    for path, access in [*rules, ("/dev/null", FSAccess.READ_FILE | FSAccess.WRITE_FILE)]:
        if Path(path).exists():
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            granted = access if Path(path).is_dir() else access & FSAccess.all_file()
            ctypes.set_errno(0)
            plumbing.get_add_rule()(ruleset, 1, ctypes.byref(plumbing.PathBeneathAttr(int(granted), fd)), 0)
            os.close(fd)
    return ruleset


class Confinement(NamedTuple):
    """Built once in the zygote; `enter` is what each child calls.

    Attributes:
        inherited: The seccomp filter of zygote and children, as bytes of `struct sock_filter`; empty at L0.
        added: The filter that each child adds, as the kernel takes it.
        ruleset: Descriptor of the Landlock ruleset; -1 below L2.
        uid: User and group to become, or -1 to stay.
        counted: Whether the bytes that a call writes are counted in /proc, which only its own user may read.
        base_bytes: Address space that the zygote maps already.
        threads: How many the user may have; 0 where the kernel counts them by a user who is not this call's own.
        rlimits: (resource, (soft, hard)), soft = hard, that zygote and children share.
    """

    inherited: bytes
    added: SockFprog
    ruleset: int
    uid: int
    counted: bool
    base_bytes: int
    threads: int
    rlimits: tuple[tuple[int, tuple[int, int]], ...]

    def prepare(self) -> None:
        """Put on the calling zygote, for good, what its children are to inherit: each would pay for it anew.

        Raises:
            OSError: A step was refused; the caller must not go on.
        """
        if not self.inherited:
            return
        for what, values in self.rlimits:
            resource.setrlimit(what, values)
        if self.uid >= 0:
            os.setgroups([])
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        add_filter(program_of(self.inherited))

    def enter(self, memory_mb: int, cpu_s: int, zygote_pid: int) -> None:
        """Confine the calling process, a child of a prepared zygote, for good.

        Raises:
            OSError: A step was refused; the caller must not go on.
        """
        if not self.inherited:
            prctl(PR_SET_PDEATHSIG, SIGKILL)
            return
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
        memory = self.base_bytes + memory_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        if self.threads:
            resource.setrlimit(resource.RLIMIT_NPROC, (self.threads, self.threads))
        if self.uid >= 0:
            os.setresgid(self.uid, self.uid, self.uid)
            os.setresuid(self.uid, self.uid, self.uid)  # leaving uid 0 empties the capability sets
        else:
            set_capabilities()  # the zygote has some in a user namespace of its own
        prctl(PR_SET_DUMPABLE, int(self.counted))
        prctl(PR_SET_PDEATHSIG, SIGKILL)  # after the change of uid, which clears it
        if os.getppid() != zygote_pid:
            os._exit(1)  # the zygote ended before the line above
        if self.ruleset >= 0 and _syscall(SYSCALL_RESTRICT_SELF, self.ruleset, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock")
        add_filter(self.added)


def add_filter(program: SockFprog) -> None:
    """seccomp(2), on the calling thread.

    Raises:
        OSError: The kernel refused.
    """
    if _syscall(_SECCOMP, SECCOMP_SET_MODE_FILTER, 0, ctypes.addressof(program)) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def rlimits(file_bytes: int, open_files: int, all_kinds: bool) -> tuple[tuple[int, tuple[int, int]], ...]:
    """The limits that are the same for every call, and that its zygote can live with.

    Args:
        file_bytes: Of one file.
        open_files: At a time.
        all_kinds: False: leave out what this kernel does not let anyone set (gVisor has its own bounds there).
    """
    stack = 8 * 1024 * 1024
    limits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_STACK, stack),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 64),
    ]
    return tuple((what, (value, value)) for what, value in limits if all_kinds or can_set(what))


def written_by(pid: int) -> int:
    """Bytes that a process wrote to disks, or has yet to; -1 where that is not told.

    One read, whatever its files look like and whether they still have names; what was taken back before it reached the
    disk does not count.
    """
    try:
        text = Path(f"/proc/{pid}/io").read_text()
    except OSError:
        return -1
    counts = dict(line.split(": ") for line in text.splitlines())
    return int(counts["write_bytes"]) - int(counts["cancelled_write_bytes"])


def threads_of(pid: int) -> int:
    """How many threads a child that has not been waited for has."""
    return os.stat(f"/proc/{pid}/task").st_nlink - 2


def can_set(what: int) -> bool:
    """Whether this kernel lets a process set the limit, by setting it to what it is."""
    try:
        resource.setrlimit(what, resource.getrlimit(what))
    except (ValueError, OSError):
        return False
    return True


def program_of(seccomp: bytes) -> SockFprog:
    """The filter as seccomp(2) takes it."""
    return SockFprog(len(seccomp) // 8, seccomp)


def drop_bounding_set() -> None:
    """Empty the capability bounding set, so that nothing run later could regain any; needs CAP_SETPCAP."""
    for capability in range(64):
        if _prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            return  # past the last capability, or not ours to drop


def set_capabilities(mask: int = 0) -> None:
    """Hold these capabilities and no others, of those that are held; none is inherited by exec.

    Raises:
        OSError: The kernel refused.
    """
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    wanted = ctypes.create_string_buffer(data) if mask else _NO_CAPABILITIES
    if _syscall(_CAPSET, ctypes.addressof(_CAPSET_HEADER), ctypes.addressof(wanted), 0) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def mask_of(capabilities: Iterable[int]) -> int:
    """Their numbers as a bit mask, without those that this process does not hold."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapPrm:"))
    return sum(1 << number for number in capabilities) & int(line.split()[1], 16)


def take_away(mount: str) -> None:
    """Unmount a file system from under everybody in this mount namespace; needs CAP_SYS_ADMIN.

    Raises:
        OSError: The kernel refused.
    """
    if libc.umount2(mount.encode(), MNT_DETACH) != 0:
        raise OSError(ctypes.get_errno(), f"umount {mount}")


def close_devices() -> None:
    """Leave the devices that do no harm to the calls; needs to own the others."""
    for folder, _, names in os.walk("/dev"):
        for name in names:
            if name not in HARMLESS_DEVICES:
                with suppress(OSError):
                    os.chmod(os.path.join(folder, name), 0)


def own_address_space() -> int:
    """Bytes that this process maps now."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
