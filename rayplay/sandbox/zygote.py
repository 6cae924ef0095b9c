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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rayplay import marks
from rayplay.sandbox import confine, mounts, passage, scratch
from rayplay.sandbox.child import Table, load_table, run_child
from rayplay.sandbox.loading import failure
from rayplay.sandbox.wire import CHUNK, receive_frame, send_frame

SWEEP_FILES_MAX = 300  # more are left to the parent, which has no deadline to keep
TICK_S = 0.02  # how often a running call's threads are counted and its scratch weighed
FIRST_TICK_S = 0.01  # how long a call may write into its pipes before anyone reads them
WEIGHING_SHARE = 10  # a weighing that takes long is not repeated before this many times as long


class Zygote:
    """Holds the loaded tools and the confinement, and serves calls."""

    def __init__(self, sock: socket.socket, config: dict[str, Any], filters: list[bytes], table: Table) -> None:
        self.sock = sock
        self.config = config
        self.limits = config["limits"]
        self.table = table
        self.scratch = config["scratch"]
        self.outside = mounts.Outside(self.scratch)
        self.isolated = False  # whether all but the scratch is read-only, and the scratch of bounded size
        self.fork = choose_fork()
        self.confinement = self._build_confinement(*filters)
        scratch.give(self.scratch, self.confinement.uid)
        self.scratch_id = scratch.identity(self.scratch)
        self.scratch_size = os.stat(self.scratch).st_size

    def _build_confinement(self, inherited: bytes, added: bytes, added_if_not_isolated: bytes) -> confine.Confinement:
        level = self.config["level"]
        reads = [*self.config["read_paths"], *self.table.read_paths]
        networked = "network" in self.config["grants"]
        if os.geteuid() == 0 and level in ("L1", "L2"):
            passage.open_passage([*reads, self.scratch])
        if level in ("L1", "L2", "L3"):
            self._isolate(level)
        ruleset = confine.build_ruleset(reads, self.scratch, networked) if level in ("L2", "L3") else -1
        if os.geteuid() == 0:
            confine.drop_bounding_set()
        uid = self.config["uid"] if os.geteuid() == 0 and level != "L0" else -1
        self.kernel_counts_threads = uid >= 0 or level == "L3"  # of this user or user namespace alone
        return confine.Confinement(
            inherited=inherited,
            added=confine.program_of(added if self.isolated or level == "L4" else added_if_not_isolated),
            ruleset=ruleset,
            uid=uid,
            counted=level == "L2" and uid < 0 and not self.isolated,
            base_bytes=confine.own_address_space(),
            threads=self.limits["threads"] if self.kernel_counts_threads else 0,
            rlimits=confine.rlimits(self.limits["file_bytes"], self.limits["open_files"], level != "L4"),
        )

    def _isolate(self, level: str) -> None:
        """Make all but the scratch read-only, and keep no more capabilities than the work and its end need."""
        self.isolated = mounts.isolate(self.scratch, self.limits["scratch_bytes"], self.limits["scratch_files"])
        needed = set(confine.ROOT_CAPABILITIES.values()) if os.geteuid() == 0 else set()
        if level != "L3":  # there the scratch ends with bubblewrap; elsewhere it is unmounted, and its folder removed
            needed |= {confine.CAP_SYS_ADMIN}
        confine.set_capabilities(confine.mask_of(needed))

    def introduction(self) -> dict[str, Any]:
        """What the parent wants to know first: where this process lives."""
        return {
            "uid": self.confinement.uid if self.confinement.uid >= 0 else os.getuid(),
            "isolated": self.isolated,
            "counted": self.confinement.counted,
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
        printed_r, printed_w = pipe_of_a_call()
        result_r, result_w = pipe_of_a_call()
        zygote_pid = os.getpid()
        pid = self.fork()
        if pid == 0:
            run_child(self, request, blobs, zygote_pid, (printed_w, result_w))
        os.close(printed_w)
        os.close(result_w)
        pidfd = open_pidfd(pid)
        calls = len(request["tools"])
        bounds = {printed_r: self.limits["output_bytes"], result_r: self.config["result_bytes"] * calls}
        heads: dict[int, bytes] = {}
        ended_by = ""
        if not self._ends_soon(pidfd):
            watch = Watch(self, pid, pidfd, bounds)
            ended_by = watch.until_end(request["deadline_s"], request["deadline_s"] * calls)
            heads = watch.heads
        _, code, usage = os.wait4(pid, 0)
        outputs = []
        for fd, bound in bounds.items():
            outputs.append(drain(fd, bound, heads.get(fd, b"")))
            os.close(fd)
            if len(outputs[-1]) > bound and not ended_by:
                ended_by = "output"
        if pidfd >= 0:
            os.close(pidfd)
        if not self.confinement.inherited:
            reap_strays()
        header = {
            "ended_by": ended_by,
            "exit": os.waitstatus_to_exitcode(code),
            "cpu_s": usage.ru_utime + usage.ru_stime,
        }
        return header, outputs

    def _ends_soon(self, pidfd: int) -> bool:
        """Whether a child ends within the first tick, as most do: one waking, and few objects.

        The zygote shares its pages with the child that it just forked; each that it writes to is copied.
        """
        if pidfd < 0:
            return False
        poll = select.poll()
        poll.register(self.sock.fileno(), select.POLLRDHUP)
        poll.register(pidfd, select.POLLIN)
        return poll.poll(FIRST_TICK_S * 1000) == [(pidfd, select.POLLIN)]

    def _tidy(self) -> bool:
        """Empty the scratch; False where it takes too long or cannot be done, and the parent had better replace us."""
        if not scratch.is_empty(self.scratch, self.scratch_id):
            files, _ = scratch.weigh(self.scratch, SWEEP_FILES_MAX)
            if files > SWEEP_FILES_MAX or not scratch.sweep(self.scratch, self.scratch_id):
                return False
        os.utime(self.scratch)  # the next call must not even read what the last one set it to
        return os.stat(self.scratch).st_size == self.scratch_size  # folders of some file systems never shrink

    def excess(self, pid: int) -> str:
        """What a running call has too much of, told at once: "threads", "disk" or "" = nothing."""
        if not self.kernel_counts_threads and confine.threads_of(pid) > self.limits["threads"]:
            return "threads"
        return "disk" if not self.isolated and confine.written_by(pid) > self.limits["scratch_bytes"] else ""

    def overfilled(self) -> bool:
        """Whether a running call has too many files or bytes in a scratch whose size the kernel does not bound."""
        files, size = scratch.weigh(self.scratch, self.limits["scratch_files"])
        return files > self.limits["scratch_files"] or size > self.limits["scratch_bytes"]


class Watch:
    """Waits for a child, reading what it writes within bounds; ends it at a deadline or over a bound."""

    def __init__(self, zygote: Zygote, pid: int, pidfd: int, bounds: dict[int, int]) -> None:
        self.zygote, self.pid, self.pidfd, self.bounds = zygote, pid, pidfd, bounds
        self.heads = dict.fromkeys(bounds, b"")

    def until_end(self, silence_s: float, in_all_s: float) -> str:
        """Return "" where the child ended by itself, else why it was ended; something may be left in its pipes.

        That is "deadline", "output", "threads", "disk" or "parent" (who has gone).

        Args:
            silence_s: Seconds without a word from the child.
            in_all_s: Seconds in all.
        """
        now = time.monotonic()
        last, deadline, look_at, weigh_at = now + in_all_s, now + silence_s, now + TICK_S, now + TICK_S
        poll = select.poll()
        control = self.zygote.sock.fileno()
        poll.register(control, select.POLLRDHUP)
        if self.pidfd >= 0:
            poll.register(self.pidfd, select.POLLIN)
        for fd in self.bounds:
            poll.register(fd, select.POLLIN)
        while True:
            now = time.monotonic()
            left_ms = (deadline - now) * 1000
            if left_ms <= 0:
                return self._end("deadline")
            events = dict(poll.poll(min(left_ms, TICK_S * 1000) + 1))
            for fd in self.bounds.keys() & events.keys():
                part = read_some(fd, self.bounds[fd] + 1 - len(self.heads[fd]))
                self.heads[fd] += part
                if part:
                    deadline = min(last, now + silence_s)
                else:
                    poll.unregister(fd)
                if len(self.heads[fd]) > self.bounds[fd]:
                    return self._end("output")
            if control in events:
                return self._end("parent")
            if self.pidfd in events or (self.pidfd < 0 and self._has_ended()):
                return ""
            if (looked := time.monotonic()) > look_at:
                if too_much := self.zygote.excess(self.pid):
                    return self._end(too_much)
                look_at = looked + TICK_S
            if looked > weigh_at and not self.zygote.isolated:
                if self.zygote.overfilled():
                    return self._end("disk")
                weigh_at = looked + max(TICK_S, WEIGHING_SHARE * (time.monotonic() - looked))

    def _has_ended(self) -> bool:
        """Whether the child is a zombie by now; its closing pipes wake the poll."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _end(self, why: str) -> str:
        if self.pidfd >= 0:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        else:
            os.kill(self.pid, signal.SIGKILL)  # not reaped yet, so the number is still its own
        return why


def drain(fd: int, bound: int, head: bytes) -> bytes:
    """What came out of a pipe and what is still in it, at most one byte over the bound."""
    while part := read_some(fd, bound + 1 - len(head)):
        head += part
        if len(part) < CHUNK:
            break
    return head


def read_some(fd: int, most: int) -> bytes:
    """What is in the pipe, as far as it goes at once; nothing at its end, or where nothing is in it."""
    try:
        return os.read(fd, min(most, CHUNK))
    except BlockingIOError:
        return b""


def pipe_of_a_call() -> tuple[int, int]:
    """A pipe whose read end never makes the reader wait."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read_end, False)
    return read_end, write_end


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
    config, filters = receive_frame(sock)
    sys.path[:0] = config["search_paths"]
    try:
        zygote = Zygote(sock, config, filters, load_lean_table(config["modules"]))
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
    confine.libc.malloc_trim(0)  # a fork copies the tables of free pages too
    confine.prctl(confine.PR_SET_PDEATHSIG, 0)  # from here on the closing socket says it, and leaves time to tidy up
    introduction = zygote.introduction()
    if config["level"] == "L4":
        confine.take_away("/proc")  # gVisor shows every process to every user there
        confine.close_devices()
    zygote.prepare()
    send_frame(sock, introduction)
    zygote.serve()
    os.close(read_end)
    if zygote.isolated:
        zygote.outside.remove()
    else:
        scratch.remove(zygote.scratch, zygote.scratch_id)
