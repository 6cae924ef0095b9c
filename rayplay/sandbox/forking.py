"""A zygote's children: forked cheaply, waited for unseen, ended; and work that it must not see the results of.

Standard library only.
"""

import ctypes
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rayplay.sandbox import confine

_libc = ctypes.PyDLL(None)
wait4 = _libc.wait4  # takes addresses: what it says of a call goes to where they point, and nowhere in Python
wait4.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_waitid = _libc.waitid
_waitid.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_signal = ctypes.create_string_buffer(128)  # siginfo_t
_signal_address = ctypes.addressof(_signal)


def end_child(pid: int, pidfd: int, why: str) -> str:
    """Kill a child that has not been waited for; returns `why`."""
    if pidfd >= 0:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
    return why


def has_ended(pid: int) -> bool:
    """Whether a child is a zombie by now."""
    _waitid(os.P_PID, pid, _signal_address, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    ended = _signal[0] != b"\0"  # the number of a signal; none = nothing to tell
    ctypes.memset(_signal_address, 0, len(_signal))  # the exit code is in it
    return ended


class Helper:
    """A process of its own that does what leaves the words of a call in memory, and says only whether it succeeded.

    Names of files are what a call wrote: whoever lists them has them in its memory, which the next call would get a
    copy of. Nothing is ever forked from this process. It ends with the one that started it.
    """

    def __init__(self, fork: Callable[[], int], close: int, *works: Callable[[], bool]) -> None:
        self.sock, theirs = socket.socketpair()
        self.pid = fork()
        if self.pid == 0:
            try:
                confine.prctl(confine.PR_SET_PDEATHSIG, confine.SIGKILL)
                self.sock.close()
                os.close(close)
                while asked := theirs.recv(1):
                    theirs.send(bytes([works[asked[0]]()]))
            finally:
                os._exit(0)
        theirs.close()

    def __call__(self, number: int) -> bool:
        """Have it do one of its works; False where that, or the process, failed."""
        try:
            self.sock.send(bytes([number]))
            return self.sock.recv(1) == b"\1"
        except OSError:
            return False


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


def reap_strays(keep: int) -> None:
    """Kill and collect what a call left behind, all but one process; with seccomp there cannot be any."""
    while True:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        strays = [int(child) for child in children if int(child) != keep]
        if not strays:
            return
        for stray in strays:
            os.kill(stray, signal.SIGKILL)
        time.sleep(0.001)
