"""Attempts to break out, run as tools inside a confined child: each returns "" where it failed, else what it reached.

The probe runs these at the start; the level in force is what they prove, not what is installed.
"""

import ctypes
import mmap
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rayplay.toolbox import tool

ENVIRONMENT_ALLOWED = 16  # names; the zygote sets fewer
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (*(ctypes.c_void_p, ctypes.c_size_t), *(ctypes.c_int,) * 3, ctypes.c_long)
# x86_64 and, where it differs, aarch64 numbers of calls that must not work
FORBIDDEN = {
    "memfd_create": (319, 279),
    "unshare": (272, 97),
    "mount": (165, 40),
    "ptrace": (101, 117),
    "bpf": (321, 280),
    "keyctl": (250, 219),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "perf_event_open": (298, 241),
    "process_vm_readv": (310, 270),
    "clone3": (435, 435),
    "setns": (308, 268),
    "pidfd_send_signal": (424, 424),
}


def attempt(action: Callable[[], Any]) -> str:
    """What an action reached; "" where the kernel refused it."""
    try:
        return f"got {str(action())[:60]!r}"
    except (OSError, MemoryError, ValueError):
        return ""


@tool
def read_outside(path: str) -> str:
    """Read a world-readable file outside."""
    return attempt(Path(path).read_text) or attempt(lambda: os.listdir(Path(path).parent))


@tool
def write_outside(path: str) -> str:
    """Write into a world-writable folder outside."""
    return attempt(lambda: Path(path, "escaped").write_text("x"))


@tool
def network(port: int, abstract: str, path: str) -> str:
    """Reach a TCP port, an abstract and a named unix socket that are listening."""
    reached = ""
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", port)),
        (socket.AF_UNIX, "\0" + abstract),
        (socket.AF_UNIX, path),
    ):
        reached = reached or attempt(lambda f=family, a=address: socket.socket(f, socket.SOCK_STREAM).connect(a))
    return reached


@tool
def processes() -> str:
    """Fork and exec."""
    return attempt(os.fork) or attempt(lambda: subprocess.run(["/bin/true"], check=True))


@tool
def signals() -> str:
    """Ask whether the parent may be signalled, in two ways."""
    parent = os.getppid()
    return (
        attempt(lambda: os.kill(parent, 0)) or attempt(lambda: os.kill(-1, 0)) or attempt(lambda: os.pidfd_open(parent))
    )


@tool
def environment() -> str:
    """Look for more environment than a tool needs."""
    return (
        f"got {len(os.environ)} names"
        if len(os.environ) > ENVIRONMENT_ALLOWED or "RAYPLAY_CANARY" in os.environ
        else ""
    )


@tool
def other_processes(pid: int) -> str:
    """Read the environment and memory map of the caller, the zygote and pid 1."""
    for other in (pid, os.getppid(), 1):
        for name in ("environ", "maps", "cmdline"):
            if got := attempt(lambda p=f"/proc/{other}/{name}": Path(p).read_bytes()[:20] or [][0]):
                return got
    return ""


@tool
def descriptors() -> str:
    """Look for open files that were not meant for the call."""
    found = []
    for fd in range(4, 1024):
        try:
            os.fstat(fd)
            found.append(fd)
        except OSError:
            continue
    return f"got {found}" if found else ""


@tool
def memory(mb: int) -> str:
    """Map more than the limit, at once and after trying to raise it."""
    raised = attempt(lambda: resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)))
    return raised or attempt(lambda: len(bytearray(mb * 1024 * 1024)))


@tool
def kernel() -> str:
    """Call what no tool needs of the kernel."""
    column = 0 if os.uname().machine == "x86_64" else 1
    # bad arguments: a call that exists and is permitted answers EFAULT or EINVAL, a refused one ENOSYS or EPERM
    reached = []
    for name, numbers in FORBIDDEN.items():
        result = _libc.syscall(ctypes.c_long(numbers[column]), ctypes.c_long(-1), ctypes.c_long(-1), ctypes.c_long(-1))
        if result >= 0 or ctypes.get_errno() not in (1, 38):
            reached.append(name)
    return f"got {', '.join(reached)}" if reached else ""


@tool
def privileges() -> str:
    """Be root, become root, or hold a capability."""
    if os.geteuid() == 0 or os.getuid() == 0:
        return "got uid 0"
    return attempt(lambda: os.setuid(0)) or attempt(lambda: os.chown(".", 0, 0)) or attempt(lambda: os.setgroups([0]))


@tool
def endless_loop() -> str:
    """Never end."""
    while True:
        pass


@tool
def endless_output() -> str:
    """Print for ever."""
    while True:
        print("x" * 1000)


@tool
def fill_disk(mb: int) -> str:
    """Write far more than the scratch may hold."""
    piece = b"x" * (1024 * 1024)
    written = 0
    for number in range(mb):
        if not attempt(lambda n=number: Path(f"fill-{n}").write_bytes(piece)):
            break
        written += 1
    return f"got {written} MiB" if written == mb else ""


def map_page(fd: int) -> None:
    """Map the first page of a file, for good; Python's own mapping would keep a descriptor too.

    Raises:
        OSError: The kernel refused.
    """
    no_address, shared = ctypes.c_void_p(-1).value, mmap.MAP_SHARED
    if _libc.mmap(None, mmap.PAGESIZE, mmap.PROT_READ, shared, fd, 0) == no_address:
        raise OSError(ctypes.get_errno(), "mmap")


@tool
def fill_disk_without_names(mb: int) -> str:
    """Write far more than the scratch may hold, into files that lose their names and live on in a mapped page."""
    piece = b"x" * (1024 * 1024)

    def fill() -> None:
        with open("nameless", "w+b", buffering=0) as file:
            os.unlink("nameless")
            if file.write(piece) < len(piece):
                raise OSError("written in part")
            map_page(file.fileno())

    return f"got {mb} MiB" if all(attempt(fill) for _ in range(mb)) else ""


@tool
def fill_names(count: int) -> str:
    """Make far more names than the scratch may hold, long ones, which take whoever counts them time."""
    reached = all(attempt(lambda n=number: os.symlink("t", f"{n:0240}")) for number in range(count))
    return f"got {count} names" if reached else ""


@tool
def leave_traces(path: str, folder: str) -> str:
    """Leave a time stamp or a mode on a device and on what others may write outside."""
    for target in (os.devnull, path, folder, "/tmp"):
        for action in (lambda t: os.utime(t, (1, 1)), os.utime, lambda t: os.chmod(t, os.stat(t).st_mode)):
            if got := attempt(lambda a=action, t=target: a(t)):
                return f"{got} of {target}"
    return ""


@tool
def poison() -> str:
    """Leave a file and a changed module behind."""
    Path("left").write_text("left")
    sys.modules["rayplay_left"] = sys
    return ""


@tool
def find_poison() -> str:
    """Look for what `poison` left."""
    return "got state of another call" if os.listdir(".") or "rayplay_left" in sys.modules else ""
