"""Orders on a socket -> reports on the same socket: a warm process that forks a fresh, confined child per call.

Started by exec with a clean environment, never by forking the caller. It imports the tools, builds the confinement
once, and serves one call at a time. It never holds what a call is given or what it writes: a child reads its arguments
from a pipe and writes its results to others, past this process, whose memory the next child gets a copy of. What that
child can tell of the ones before is how many there were. Ends when its socket closes.
"""

import array
import ctypes
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rayplay import marks
from rayplay.sandbox import confine, mounts, passage, scratch
from rayplay.sandbox.child import Table, load_table, rehearse, run_child
from rayplay.sandbox.control import (
    CLEAN,
    DESCRIPTORS_BYTES,
    END,
    ENDINGS,
    ORDER_BYTES,
    REPORT_BYTES,
    RUN,
    SPOILT,
    SWEEPING,
    Order,
    Report,
    decode_order,
)
from rayplay.sandbox.forking import Helper, choose_fork, end_child, has_ended, open_pidfd, reap_strays, wait4
from rayplay.sandbox.loading import failure
from rayplay.sandbox.wire import receive_frame, send_frame

TICK_S = 0.02  # how often a running call's threads are counted and its scratch weighed
TICK_WITHOUT_PIDFD_S = 0.002  # how often to ask whether a child has ended, where nothing says so
SWEEP, WEIGH = 0, 1  # what the helper is asked for
WEIGHING_SHARE = 10  # a weighing that takes long is not repeated before this many times as long


class Zygote:
    """Holds the loaded tools and the confinement, and forks a child for each call."""

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
        self.report = Report()
        self.report_address = ctypes.addressof(self.report)
        self.status_address = self.report_address + Report.status.offset
        self.usage_address = self.report_address + Report.usage.offset

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
        uid = self.config["uid"]
        self.kernel_counts_threads = uid >= 0 or level == "L3"  # of this user or user namespace alone
        return confine.Confinement(
            inherited=inherited,
            added=confine.program_of(added if self.isolated else added_if_not_isolated),
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
        self.helper = Helper(self.fork, self.sock.fileno(), self._empty_scratch, self._is_within_bounds)

    def serve(self) -> None:
        """Follow orders until the socket closes."""
        while True:
            try:
                raw, ancillary, _, _ = self.sock.recvmsg(ORDER_BYTES, DESCRIPTORS_BYTES, socket.MSG_CMSG_CLOEXEC)
                if not raw:
                    return
                order = decode_order(raw)
                if order.what == RUN:
                    self.call(order, array.array("i", ancillary[0][2]))
            except OSError:
                return

    def call(self, order: Order, pipes: Sequence[int]) -> None:
        """Fork a child for a call (or a batch of pure ones), watch it to its end, report how it ended, tidy up.

        Args:
            order: Whose number the report bears.
            pipes: What the child reads its request from, prints to, and writes its results to.
        """
        zygote_pid = os.getpid()
        pid = self.fork()
        if pid == 0:
            run_child(self, zygote_pid, *pipes)
        for pipe in pipes:
            os.close(pipe)
        pidfd = open_pidfd(pid)
        ending = self._watch(pid, pidfd, order)
        report = self.report
        # the kernel writes exit status and times where nothing of Python sees them, and keeps a copy
        wait4(pid, self.status_address, 0, self.usage_address)
        if pidfd >= 0:
            os.close(pidfd)
        if not self.confinement.inherited:
            reap_strays(self.helper.pid)
        report.number, report.ending = order.number, ENDINGS.index(ending)
        report.scratch = CLEAN if self._is_clean() else SWEEPING
        self.sock.send(report)
        dirty = report.scratch == SWEEPING
        ctypes.memset(self.report_address, 0, REPORT_BYTES)
        if dirty:  # the owner has its result meanwhile, and gives other zygotes its next calls
            report.number, report.scratch = order.number, CLEAN if self._sweep() else SPOILT
            self.sock.send(report)
            ctypes.memset(self.report_address, 0, REPORT_BYTES)

    def _watch(self, pid: int, pidfd: int, order: Order) -> str:
        """Wait for a child; end it at its deadline, over a bound, by order, or where the owner has gone.

        The zygote shares its pages with the child that it just forked; each that it writes to is copied. So it sleeps
        as long as it can, and most children end before it wakes for the first time.

        Returns:
            One of ENDINGS: "" where it ended by itself.
        """
        deadline, look_at, weigh_at = time.monotonic() + order.deadline_s, 0.0, 0.0
        poll = select.poll()
        poll.register(self.sock.fileno(), select.POLLIN)
        tick_s = TICK_S
        if pidfd >= 0:
            poll.register(pidfd, select.POLLIN)
        else:
            tick_s = TICK_WITHOUT_PIDFD_S
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return end_child(pid, pidfd, "deadline")
            events = [fd for fd, _ in poll.poll(min(left_s, tick_s) * 1000 + 1)]
            if pidfd in events or (pidfd < 0 and has_ended(pid)):
                return ""
            if events and self._is_to_end(order):
                return end_child(pid, pidfd, "order")
            if (looked := time.monotonic()) > look_at:
                if too_much := self.excess(pid):
                    return end_child(pid, pidfd, too_much)
                look_at = looked + TICK_S
            if looked > weigh_at and not self.isolated:
                if self.overfilled():
                    return end_child(pid, pidfd, "disk")
                weigh_at = looked + max(TICK_S, WEIGHING_SHARE * (time.monotonic() - looked))

    def _is_to_end(self, running: Order) -> bool:
        """Whether what is on the socket means the running call: an order to end it, or that the owner has gone."""
        raw = self.sock.recv(ORDER_BYTES)
        return not raw or decode_order(raw)[:2] == (END, running.number)

    def _is_clean(self) -> bool:
        """Whether the scratch is as the next call must find it, its size and time stamps included."""
        # folders of some file systems never shrink
        return scratch.is_empty(self.scratch, self.scratch_id) and os.stat(self.scratch).st_size == self.scratch_size

    def _sweep(self) -> bool:
        """Empty the scratch; False where that cannot be done, and the owner must replace us."""
        return self.helper(SWEEP) and self._is_clean()

    def excess(self, pid: int) -> str:
        """What a running call has too much of, told at once: "threads", "disk" or "" = nothing."""
        if not self.kernel_counts_threads and confine.threads_of(pid) > self.limits["threads"]:
            return "threads"
        return "disk" if not self.isolated and confine.written_by(pid) > self.limits["scratch_bytes"] else ""

    def overfilled(self) -> bool:
        """Whether a running call has too many files or bytes in a scratch whose size the kernel does not bound."""
        return not self.helper(WEIGH)

    def _empty_scratch(self) -> bool:
        return scratch.sweep(self.scratch, self.scratch_id)

    def _is_within_bounds(self) -> bool:
        files, size = scratch.weigh(self.scratch, self.limits["scratch_files"])
        return files <= self.limits["scratch_files"] and size <= self.limits["scratch_bytes"]


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
    rehearse()
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
