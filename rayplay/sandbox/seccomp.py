"""Names of system calls -> BPF programs that together allow these and nothing else.

An allow-list: what is not named answers ENOSYS, as on a kernel that does not have it, so libraries fall back instead of
dying. Calls of another ABI (32 bit, x32) end the process. Some calls are allowed for certain arguments only.

The list is what a trace shows that tools need, and the file, time and signal calls behind the functions of Python's
`os`, `time` and `signal` that a program may use. The trace: `strace -ff` of `tests/sandbox/test_calls.py` and
`test_stateful_episodes.py`, 228 confined processes; of good calls only clone3 met ENOSYS, and libc falls back to clone.

Left out on purpose, though they do the machine no harm: mincore and fadvise64 tell and change which pages of shared
files are in memory, membarrier interrupts other processes' cores, get_robust_list is for debuggers.
"""

import errno
import tempfile

import pyseccomp
from pyseccomp import EQ, MASKED_EQ, NE, Arg

# fmt: off
ALLOWED = (
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "lseek", "close", "close_range",
    "sendfile", "copy_file_range", "open", "openat", "access", "faccessat", "faccessat2", "stat", "lstat", "fstat",
    "newfstatat", "statx", "statfs", "fstatfs", "getdents64", "getcwd", "chdir", "fchdir", "readlink", "readlinkat",
    "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2", "symlink", "symlinkat",
    "truncate", "ftruncate", "fsync", "fdatasync", "flock", "chmod", "fchmod", "fchmodat",
    "utimensat", "umask", "dup", "dup2", "dup3", "pipe", "pipe2", "poll", "ppoll", "select", "pselect6",
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2", "mmap", "munmap", "mprotect", "mremap",
    "madvise", "brk", "msync", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "rt_sigpending", "rt_sigtimedwait", "rt_sigsuspend", "sigaltstack", "pause", "alarm", "setitimer", "getitimer",
    "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "times", "getpid",
    "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups", "getpgrp",
    "getpgid", "getsid", "getrusage", "getrlimit", "sysinfo", "uname", "getcpu", "getpriority", "sched_yield",
    "sched_getaffinity", "sched_getparam", "sched_getscheduler", "futex", "set_robust_list", "rseq",
    "set_tid_address", "restart_syscall", "exit", "exit_group", "getrandom", "wait4", "waitid", "recvfrom",
    "shutdown", "getsockname", "getpeername",
)
# fmt: on

# fcntl: no F_SETOWN, F_SETSIG or F_NOTIFY, which make the kernel send signals; no leases, seals or pipe sizes
FCNTL = {"F_DUPFD": 0, "F_GETFD": 1, "F_SETFD": 2, "F_GETFL": 3, "F_GETLK": 5, "F_SETLK": 6, "F_SETLKW": 7}
FCNTL |= {"F_OFD_GETLK": 36, "F_OFD_SETLK": 37, "F_DUPFD_CLOEXEC": 1030}
# ioctl: ask a terminal what it is, set blocking and close-on-exec; never TIOCSTI, FIOSETOWN, FS_IOC_SETFLAGS
IOCTL = {"TCGETS": 0x5401, "TIOCGWINSZ": 0x5413, "FIONREAD": 0x541B, "FIONBIO": 0x5421}
IOCTL |= {"FIONCLEX": 0x5450, "FIOCLEX": 0x5451}
PRCTL = {"PR_GET_DUMPABLE": 3, "PR_SET_NAME": 15, "PR_GET_NAME": 16, "PR_GET_NO_NEW_PRIVS": 39}

_32_BITS = 0xFFFFFFFF
# futex without its priority-inheriting kinds, which nothing here needs: wait, wake, requeue twice, wake_op, two bitsets
FUTEX_FLAGS = 128 | 256  # private, real-time clock
FUTEX = (0, 1, 3, 4, 5, 9, 10)
# madvise about the caller's own pages: never to merge them with others', to push shared ones out or to poison them
MADVISE = (0, 1, 2, 3, 4, 8, 10, 11, 14, 15, 16, 17, 18, 19, 22, 23)
OWN = ("getpgid", "getsid", "sched_getparam", "sched_getscheduler")  # of the caller, never of another process
MSG_OOB = 1  # urgent data on unix sockets has been a way into the kernel
# those of ALLOWED, and of NETWORK, that are allowed for some arguments only: each rule is enough
BY_ARGUMENT: dict[str, tuple[tuple[Arg, ...], ...]] = {
    "futex": tuple((Arg(1, MASKED_EQ, _32_BITS & ~FUTEX_FLAGS, kind),) for kind in FUTEX),
    "madvise": tuple((Arg(2, MASKED_EQ, _32_BITS, advice),) for advice in MADVISE),
    **{name: ((Arg(0, MASKED_EQ, _32_BITS, 0),),) for name in OWN},
    "getpriority": ((Arg(0, MASKED_EQ, _32_BITS, 0), Arg(1, MASKED_EQ, _32_BITS, 0)),),
    "recvfrom": ((Arg(3, MASKED_EQ, MSG_OOB, 0),),),
    "sendmsg": ((Arg(2, MASKED_EQ, MSG_OOB, 0),),),
    "recvmsg": ((Arg(2, MASKED_EQ, MSG_OOB, 0),),),
    "sendmmsg": ((Arg(3, MASKED_EQ, MSG_OOB, 0),),),
    "recvmmsg": ((Arg(3, MASKED_EQ, MSG_OOB, 0),),),
}

OWNERS = ("chmod", "fchmod", "fchmodat", "utimensat", "truncate")
# EPERM, where "not implemented" would mislead
REFUSED = ("tgkill", "tkill", "execve")
# what the zygote does and a child may not, with the error that the child gets
ZYGOTE = dict.fromkeys(("fork", "vfork", "kill", "setrlimit"), errno.EPERM)
ZYGOTE |= dict.fromkeys(("pidfd_open", "pidfd_send_signal", "setresgid", "setresuid"), errno.ENOSYS)
ZYGOTE |= dict.fromkeys(("seccomp", "landlock_restrict_self", "capset", "umount2", "recvmsg"), errno.ENOSYS)
ZYGOTE_PRCTL = (1, 4)  # PR_SET_PDEATHSIG, PR_SET_DUMPABLE
# for tools that need the network and may have it
NETWORK = ("connect", "sendmsg", "sendmmsg", "recvmsg", "recvmmsg", "setsockopt", "getsockopt")
AF_INET, AF_INET6 = 2, 10

# clone: threads of this process (bounded by its address space), never processes; namespaces, vfork and ptrace excluded.
# clone3 hides its flags from filters: it is not named here, and the C library falls back to clone
CLONE_THREAD, CLONE_ANYTHING_ELSE = 0x10000, 0x7E020000 | 0x4000 | 0x2000 | 0x800000

O_ASYNC = 0o20000  # would let the kernel signal whoever owns the descriptor
AF_UNIX, SOCK_STREAM, SOCK_DGRAM, SOCK_TYPE_MASK = 1, 1, 2, 0xF


def build_filters(networked: bool = False, owner: bool = False) -> tuple[bytes, bytes]:
    """(what a zygote puts on itself for its children too, what a child adds), as arrays of 8-byte `struct sock_filter`.

    The kernel compiles a filter anew for each process that adds one, which takes half as long as the fork: so the long
    list is added once, and the child's own only takes back what nobody but the zygote needs (ZYGOTE).

    Args:
        networked: Whether to allow TCP and UDP.
        owner: Whether the child is a user who owns files outside. Landlock does not govern what OWNERS may do to these.
    """
    inherited = _new(pyseccomp.ERRNO(errno.ENOSYS))
    for name in (*ALLOWED, *ZYGOTE, "prlimit64"):
        for arguments in BY_ARGUMENT.get(name, ((),)):
            _allow(inherited, name, *arguments)
    for command in FCNTL.values():
        _allow(inherited, "fcntl", Arg(1, MASKED_EQ, 0xFFFFFFFF, command))
    flags_without_async = (Arg(1, MASKED_EQ, 0xFFFFFFFF, 4), Arg(2, MASKED_EQ, O_ASYNC, 0))
    _allow(inherited, "fcntl", *flags_without_async)
    for request in IOCTL.values():
        _allow(inherited, "ioctl", Arg(1, MASKED_EQ, 0xFFFFFFFF, request))
    for option in (*PRCTL.values(), *ZYGOTE_PRCTL):
        _allow(inherited, "prctl", Arg(0, MASKED_EQ, 0xFFFFFFFF, option))
    _allow_sockets(inherited, networked)
    _allow(inherited, "clone", Arg(0, MASKED_EQ, CLONE_ANYTHING_ELSE, 0))
    for name in REFUSED:
        _refuse(inherited, name)
    # it could claim the whole disk in an instant; told so, the C library writes zeros instead
    _refuse(inherited, "fallocate", error=errno.EOPNOTSUPP)

    added = _new(pyseccomp.ALLOW)
    _refuse(added, "clone", Arg(0, MASKED_EQ, CLONE_THREAD, 0))
    _refuse(added, "prlimit64", Arg(2, NE, 0), error=errno.ENOSYS)  # reading limits, never setting them
    _refuse(added, "prlimit64", Arg(0, NE, 0), error=errno.ENOSYS)  # one's own
    for option in ZYGOTE_PRCTL:
        _refuse(added, "prctl", Arg(0, MASKED_EQ, 0xFFFFFFFF, option), error=errno.ENOSYS)
    for name, error in ZYGOTE.items():
        if not (networked and name in NETWORK):
            _refuse(added, name, error=error)
    for name in OWNERS if owner else ():
        _refuse(added, name)
    return _exported(inherited), _exported(added)


def _new(default: int) -> pyseccomp.SyscallFilter:
    bpf = pyseccomp.SyscallFilter(default)
    bpf.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
    return bpf


def _exported(bpf: pyseccomp.SyscallFilter) -> bytes:
    with tempfile.TemporaryFile() as file:
        bpf.export_bpf(file)
        file.seek(0)
        return file.read()


def _allow_sockets(bpf: pyseccomp.SyscallFilter, networked: bool) -> None:
    # asyncio needs a connected pair; a datagram pair could still address other sockets, a stream pair cannot
    _allow(bpf, "socketpair", Arg(0, EQ, AF_UNIX), Arg(1, MASKED_EQ, SOCK_TYPE_MASK, SOCK_STREAM))
    in_band = Arg(3, MASKED_EQ, MSG_OOB, 0)
    _allow(bpf, "sendto", in_band, *(() if networked else (Arg(4, EQ, 0),)))  # without a network to nobody by address
    if networked:
        for name in NETWORK:
            for arguments in BY_ARGUMENT.get(name, ((),)):
                _allow(bpf, name, *arguments)
        for family in (AF_INET, AF_INET6):
            for kind in (SOCK_STREAM, SOCK_DGRAM):
                _allow(bpf, "socket", Arg(0, EQ, family), Arg(1, MASKED_EQ, SOCK_TYPE_MASK, kind))
    else:
        _refuse(bpf, "socket")


def _allow(bpf: pyseccomp.SyscallFilter, name: str, *arguments: Arg) -> None:
    if _exists(name):
        bpf.add_rule(pyseccomp.ALLOW, name, *arguments)


def _refuse(bpf: pyseccomp.SyscallFilter, name: str, *arguments: Arg, error: int = errno.EPERM) -> None:
    """An error of its own, where a library or a reader would be misled by "not implemented"."""
    if _exists(name):
        bpf.add_rule(pyseccomp.ERRNO(error), name, *arguments)


def _exists(name: str) -> bool:
    """Whether this architecture has the call (arm64 has no open, stat, fork, ...)."""
    return pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) >= 0
