"""Calls on a socket -> results on the same socket: a warm process that forks a fresh, confined child per call.

Started by exec with a clean environment, never by forking the caller. It imports the tools, builds the confinement
once, and serves one call at a time. It never parses what a child wrote: bytes go to the parent as they are.
Ends when its socket closes.
"""

import ctypes
import gc
import os
import select
import signal
import socket
import sys
import time
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rayplay import marks
from rayplay.sandbox import confine, passage, scratch
from rayplay.sandbox.child import Table, load_table, run_child
from rayplay.sandbox.loading import failure
from rayplay.sandbox.wire import receive_frame, send_frame

SWEEP_FILES_MAX = 300  # more are left to the parent, which has no deadline to keep
TICK_S = 0.02  # how often a running call's threads are counted and its scratch weighed
FIRST_TICK_S = 0.01  # how long a call may write into its pipes before anyone reads them
WEIGHING_SHARE = 10  # a weighing that takes long is not repeated before this many times as long


class Zygote:
    """Holds the loaded tools and the confinement, and serves calls."""

    def __init__(self, sock: socket.socket, config: dict[str, Any], table: Table) -> None:
        self.sock = sock
        self.config = config
        self.limits = config["limits"]
        self.table = table
        self.scratch = config["scratch"]
        self.fork = choose_fork()
        self.confinement = self._build_confinement()
        scratch.give(self.scratch, self.confinement.uid)
        self.scratch_id = scratch.identity(self.scratch)
        self.scratch_size = os.stat(self.scratch).st_size

    def _build_confinement(self) -> confine.Confinement:
        level = self.config["level"]
        reads = [*self.config["read_paths"], *self.table.read_paths]
        networked = "network" in self.config["grants"]
        if os.geteuid() == 0 and level in ("L1", "L2"):
            passage.open_passage([*reads, self.scratch])
        ruleset = confine.build_ruleset(reads, self.scratch, networked) if level in ("L2", "L3") else -1
        if os.geteuid() == 0:
            confine.drop_bounding_set()
        inherited, added = map(b64decode, self.config["seccomp"])
        uid = self.config["uid"] if os.geteuid() == 0 and level != "L0" else -1
        self.kernel_counts_threads = uid >= 0 or level == "L3"  # of this user or user namespace alone
        return confine.Confinement(
            inherited=inherited,
            added=confine.program_of(added),
            ruleset=ruleset,
            uid=uid,
            base_bytes=confine.own_address_space(),
            threads=self.limits["threads"] if self.kernel_counts_threads else 0,
            rlimits=confine.rlimits(self.limits["file_bytes"], self.limits["open_files"], level != "L4"),
        )

    def introduction(self) -> dict[str, Any]:
        """What the parent wants to know first: where this process lives."""
        return {
            "uid": self.confinement.uid if self.confinement.uid >= 0 else os.getuid(),
            "namespaces": {
                name: str(Path(f"/proc/self/ns/{name}").readlink())
                for name in ("pid", "net", "ipc", "mnt")
                if Path(f"/proc/self/ns/{name}").is_symlink()
            },
            "kernel": Path("/proc/version").read_text(),
            "root": scratch.identity("/"),
        }

    def prepare(self) -> None:
        """Become, for good, what every child would else have to become by itself."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.chdir(self.scratch)
        os.umask(0o077)
        self.confinement.prepare()

    def serve(self) -> None:
        """Answer frames until the socket closes."""
        while True:
            try:
                request, blobs = receive_frame(self.sock)
                header, outputs = self.call(request, blobs)
                header["tainted"] = not self._tidy()
                send_frame(self.sock, header, *outputs)
            except (EOFError, OSError):
                return

    def call(self, request: dict[str, Any], blobs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        """Fork a child for a call (or a batch of pure ones), watch it to its end, and say how it ended."""
        started = time.monotonic()
        printed_r, printed_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        result_r, result_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        zygote_pid = os.getpid()
        pid = self.fork()
        if pid == 0:
            os.set_blocking(printed_w, True)
            os.set_blocking(result_w, True)
            run_child(self, request, blobs, zygote_pid, (printed_w, result_w))
        os.close(printed_w)
        os.close(result_w)
        pidfd = open_pidfd(pid)
        calls = len(request["tools"])
        bounds = {printed_r: self.limits["output_bytes"], result_r: self.config["result_bytes"] * calls}
        deadlines = (request["deadline_s"], request["deadline_s"] * calls)
        watch = Watch(pid, pidfd, bounds, deadlines, self.sock.fileno(), partial(self._excess, pid))
        ended_by = watch.until_end()
        _, code, usage = os.wait4(pid, 0)
        for fd in (printed_r, result_r, *([pidfd] if pidfd >= 0 else [])):
            os.close(fd)
        if not self.confinement.inherited:
            reap_strays()
        header = {
            "ended_by": ended_by,
            "exit": os.waitstatus_to_exitcode(code),
            "seconds": time.monotonic() - started,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "max_rss_kb": usage.ru_maxrss,
        }
        return header, [bytes(watch.heads[printed_r]), bytes(watch.heads[result_r])]

    def _tidy(self) -> bool:
        """Empty the scratch; False where it takes too long or cannot be done, and the parent had better replace us."""
        if not scratch.is_empty(self.scratch, self.scratch_id):
            files, _ = scratch.weigh(self.scratch, SWEEP_FILES_MAX)
            if files > SWEEP_FILES_MAX or not scratch.sweep(self.scratch, self.scratch_id):
                return False
        os.utime(self.scratch)  # the next call must not even read what the last one set it to
        return os.stat(self.scratch).st_size == self.scratch_size  # folders of some file systems never shrink

    def _excess(self, pid: int) -> str:
        """What a running call has too much of: "threads", "disk" or "" = nothing."""
        if not self.kernel_counts_threads and confine.threads_of(pid) > self.limits["threads"]:
            return "threads"
        files, size = scratch.weigh(self.scratch, self.limits["scratch_files"])
        return "disk" if files > self.limits["scratch_files"] or size > self.limits["scratch_bytes"] else ""


class Watch:
    """Waits for a child, reading what it writes within bounds; ends it at the deadline or over a bound.

    `deadlines` are seconds without a word from the child, and seconds in all.
    """

    def __init__(
        self,
        pid: int,
        pidfd: int,
        bounds: dict[int, int],
        deadlines: tuple[float, float],
        control: int,
        excess: Callable[[], str],
    ) -> None:
        self.pid, self.pidfd = pid, pidfd
        self.bounds = bounds
        self.silence_s, in_all_s = deadlines
        self.last = time.monotonic() + in_all_s
        self.deadline = time.monotonic() + self.silence_s
        self.control = control
        self.excess = excess
        self.heads: dict[int, bytearray] = {fd: bytearray() for fd in bounds}

    def until_end(self) -> str:
        """Return "" where the child ended by itself, else why it was ended.

        That is "deadline", "output", "threads", "disk" or "parent" (who has gone).
        """
        poll = select.poll()
        poll.register(self.control, select.POLLRDHUP)
        if self.pidfd >= 0:
            poll.register(self.pidfd, select.POLLIN)
            poll.poll(FIRST_TICK_S * 1000)  # most calls end within it: one waking instead of one for each write
        for fd in self.bounds:
            poll.register(fd, select.POLLIN)
        look_at = time.monotonic() + TICK_S
        while True:
            now = time.monotonic()
            left_ms = (self.deadline - now) * 1000
            if left_ms <= 0:
                return self._end("deadline")
            events = dict(poll.poll(min(left_ms, TICK_S * 1000) + 1))
            for fd in self.bounds.keys() & events.keys():
                if self._read(fd):
                    self.deadline = min(self.last, now + self.silence_s)
                else:
                    poll.unregister(fd)
                if len(self.heads[fd]) > self.bounds[fd]:
                    return self._end("output")
            if self.control in events:
                return self._end("parent")
            if self.pidfd in events or (self.pidfd < 0 and self._has_ended()):
                return self._last_words()
            if (looked := time.monotonic()) > look_at:
                if too_much := self.excess():
                    return self._end(too_much)
                look_at = looked + max(TICK_S, WEIGHING_SHARE * (time.monotonic() - looked))

    def _has_ended(self) -> bool:
        """Whether the child is a zombie by now; its closing pipes wake the poll."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _last_words(self) -> str:
        for fd in self.bounds:
            while self._read(fd):
                if len(self.heads[fd]) > self.bounds[fd]:
                    return "output"
        return ""

    def _end(self, why: str) -> str:
        if self.pidfd >= 0:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        else:
            os.kill(self.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        for fd in self.bounds:
            while len(self.heads[fd]) <= self.bounds[fd] and self._read(fd):
                pass
        return why

    def _read(self, fd: int) -> bool:
        """Read once, at most one byte over the bound; False at end of file or when nothing is there."""
        room = self.bounds[fd] + 1 - len(self.heads[fd])
        try:
            part = os.read(fd, min(max(room, 0), 1 << 16))
        except BlockingIOError:
            return False
        self.heads[fd] += part
        return bool(part)


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
    return ctypes.PyDLL(None).fork


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


def load_lean_table(modules: list[str]) -> Table:
    """The tools, with `rayplay.toolbox` standing for its light half while they are imported.

    That halves what a fork costs. A module that wants more of the toolbox gets the whole.
    """
    sys.modules["rayplay.toolbox"] = marks
    try:
        return load_table(modules)
    except ImportError:
        del sys.modules["rayplay.toolbox"]
        return load_table(modules)


def main() -> None:
    """Serve on the socket whose descriptor is the only argument."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    confine.prctl(confine.PR_SET_PDEATHSIG, confine.SIGKILL)
    confine.prctl(confine.PR_SET_DUMPABLE, 0)
    confine.prctl(confine.PR_SET_CHILD_SUBREAPER, 1)
    config, _ = receive_frame(sock)
    sys.path[:0] = config["search_paths"]
    try:
        zygote = Zygote(sock, config, load_lean_table(config["modules"]))
    except Exception as error:  # the user's modules may raise anything; it is told, not survived
        send_frame(sock, {"failed": failure(error)})
        return
    read_end, write_end = os.pipe()  # printing must never reach whatever the caller's terminal is
    os.dup2(write_end, 1)
    os.dup2(write_end, 2)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    gc.collect()
    gc.freeze()
    confine.prctl(confine.PR_SET_PDEATHSIG, 0)  # from here on the closing socket says it, and leaves time to tidy up
    introduction = zygote.introduction()
    if config["level"] == "L4":
        confine.take_away("/proc")  # gVisor shows every process to every user there
        confine.close_devices()
    zygote.prepare()
    send_frame(sock, introduction)
    zygote.serve()
    os.close(read_end)
    scratch.remove(zygote.scratch, zygote.scratch_id)
