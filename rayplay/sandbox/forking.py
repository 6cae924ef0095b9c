"""A zygote's children: forked cheaply, waited for unseen, ended; and work that it must not see the results of.

Standard library only.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from rayplay.sandbox import confine

_libc = ctypes.PyDLL(None)
wait4 = _libc.wait4  # takes addresses: what it says of a call goes to where they point, and nowhere in Python
wait4.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def end_child(pid: int, pidfd: int, why: str) -> str:
    """Kill a child that has not been waited for; returns `why`."""
    if pidfd >= 0:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
    return why


def has_ended(pid: int) -> bool:
    """Whether a child is a zombie by now."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def apart(fork: Callable[[], int], work: Callable[[], bool]) -> bool:
    """Have a process of its own do something with what a call left, and say whether it succeeded.

    Names of files are what a call wrote: whoever lists them has them in its memory, which the next call gets a copy of.
    """
    pid = fork()
    if pid == 0:
        succeeded = False
        try:
            confine.prctl(confine.PR_SET_PDEATHSIG, confine.SIGKILL)
            succeeded = work()
        finally:
            os._exit(0 if succeeded else 1)
    return os.waitpid(pid, 0)[1] == 0


def open_pidfd(pid: int) -> int:
    """A descriptor of the process; -1 on a kernel without them (gVisor)."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return -1


def choose_fork() -> Callable[[], int]:
    """fork(2), without Python's at-fork hooks where this process has one thread and so no need of them.

    The hooks of `logging`, `threading` and `random` cost a child 0.5 ms of page faults; it seeds `random` itself.
    """
    if len(os.listdir("/proc/self/task")) > 1:
        return os.fork
    return _libc.fork


def reap_strays() -> None:
    """Kill and collect what a call left behind; with seccomp there cannot be any."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
            time.sleep(0.001)
