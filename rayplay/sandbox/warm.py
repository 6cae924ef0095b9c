"""One zygote as its owner sees it: start, exchange a call for a reply within a deadline, wait until clean, end."""

import errno
import math
import os
import resource
import select
import socket
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import IO, Any, NamedTuple

from rayplay.errors import SandboxError, ToolboxError
from rayplay.records import ToolSpec
from rayplay.sandbox import scratch
from rayplay.sandbox.control import CLEAN, NOT_STARTED, SWEEPING, receive_report
from rayplay.sandbox.exchange import Bounds, Exchange
from rayplay.sandbox.launch import Launch, Setup, prepare, readable_paths
from rayplay.sandbox.lease import Lease, lease_uid
from rayplay.sandbox.levels import Level
from rayplay.sandbox.request import encode_request
from rayplay.sandbox.seccomp import build_filters
from rayplay.sandbox.wire import receive_frame, send_frame

START_S = 60.0  # importing a user's modules may be slow
SWEEP_S = 10.0  # longest wait for a zygote that empties its scratch
FRAME_BYTES = 9  # of a result, before its state and text
STARTED_BYTES = 1  # before it
FILES_PER_ZYGOTE = 9  # open here, with a call's channels
FILES_LEAST = 32  # that a process which starts zygotes, and each of them, must be allowed
PROGRAM = "rayplay.sandbox.zygote"

# The kernel's parent-death signal follows the *thread* that started a process: zygotes are started by one that stays.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-starter")


class Reply(NamedTuple):
    """How a call ended, as the zygote and the kernel saw it; printed and result are bytes that the child wrote.

    `tainted`: the child could not even start; its zygote had better be replaced.
    """

    ended_by: str
    exit: int
    cpu_s: float
    tainted: bool
    printed: bytes
    result: bytes


def describe(setup: Setup) -> tuple[ToolSpec, ...]:
    """The tools of the modules, read in a process like a zygote and never imported here.

    Raises:
        SandboxError: The process cannot start.
        ToolboxError: A module cannot be loaded, or one of its tools has no schema.
    """
    try:
        with Zygote(setup, "rayplay.sandbox.describe") as process:
            return tuple(ToolSpec.model_validate(spec) for spec in process.introduction["specs"])
    except OSError as error:
        raise no_resources(error) from error


def no_resources(error: OSError | None = None) -> SandboxError:
    """What the user can do where this process may open too few files, or the machine refuses something else."""
    if error is not None and error.errno != errno.EMFILE:
        return SandboxError(f"no sandbox process can be started: {error}")
    return SandboxError(
        f"this process may have {files_allowed()} files open (ulimit -n), too few for what it has and does; a sandbox "
        f"takes about {FILES_PER_ZYGOTE} for each call at once, and {FILES_LEAST} to begin with: raise the limit, or "
        "lower the sandbox's size"
    )


def files_allowed() -> int:
    """How many files this process, and one that it starts, may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class ZygoteGoneError(Exception):
    """The zygote died, stopped answering in the middle of a call, or never became clean after one."""


class Zygote:
    """A running zygote. Not thread-safe: one call at a time."""

    def __init__(self, setup: Setup, program: str = PROGRAM) -> None:
        self.calls = 0
        self.exchanges = 0
        self.sweeping = False  # its scratch is being emptied; it says when that is done
        self.renewed = False  # whether a successor has been ordered
        self.limits = setup.limits
        self.process: subprocess.Popen | None = None
        self.launch: Launch | None = None
        self.complaints: IO[bytes] | None = None
        if files_allowed() < FILES_LEAST:
            raise no_resources()
        needs_uid = os.geteuid() == 0 and setup.level is not Level.L0 and program == PROGRAM
        self.lease = lease_uid() if needs_uid else Lease(-1, -1)
        try:
            self.launch = prepare(setup, self.lease.uid, program)
            self.folder_id = scratch.identity(self.launch.folder) if self.launch.folder else None
            self.complaints = tempfile.TemporaryFile()  # noqa: SIM115
            self.sock, self.process = _starter.submit(start, self.launch, self.lease, self.complaints).result(START_S)
            self.introduction = self._greet(setup)
            self.complaints.close()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Zygote":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def uid(self) -> int:
        """The user that calls run as."""
        return self.introduction["uid"]

    def _greet(self, setup: Setup) -> dict:
        networked = "network" in setup.grants
        filters = filters_of(networked) if setup.level is not Level.L0 else (b"", b"", b"")
        config = {
            "modules": setup.modules,
            "search_paths": setup.search_paths,
            "level": setup.level.value,
            "limits": setup.limits.model_dump(),
            "scratch": self.launch.scratch,
            "uid": self.launch.uid,
            "read_paths": readable_paths(setup),
            "grants": sorted(setup.grants),
        }
        try:
            self.sock.settimeout(START_S)
            send_frame(self.sock, config, *filters)
            header, _ = receive_frame(self.sock)
            self.sock.setblocking(False)  # from here on poll keeps the time: a timeout costs a poll for each message
        except (EOFError, OSError) as error:
            raise SandboxError(f"{setup.level.value} cannot start here: {self.complaint() or error}") from error
        if "failed" in header:
            raise ToolboxError(f"tools {', '.join(setup.modules)} cannot be loaded: {header['failed']}")
        return header

    def exchange(self, request: dict[str, Any], *blobs: bytes) -> Reply:
        """Run one call, or a batch of pure ones; `blobs` are the arguments of each, then the state.

        Raises:
            ZygoteGoneError: No answer in time; the zygote has been ended.
            OSError: No descriptor is left for the call's channels; nothing has happened.
        """
        calls = len(request["tools"])
        self.calls += calls
        self.exchanges += 1
        bounds = Bounds(
            silence_s=request["deadline_s"] if calls > 1 else math.inf,
            in_all_s=request["deadline_s"] * calls,
            printed=self.limits.output_bytes,
            written=calls * (STARTED_BYTES + FRAME_BYTES + self.limits.output_bytes + self.limits.state_bytes),
        )
        if not self.settle():
            self.close()
            raise ZygoteGoneError("its scratch could not be emptied")
        with Exchange(self.sock, self.exchanges, encode_request(request, blobs), bounds) as exchange:
            try:
                report, ended_by, printed, result = exchange.run()
            except (EOFError, OSError) as error:
                self.close()
                raise ZygoteGoneError(str(error) or "closed") from error
        self.sweeping = report.scratch == SWEEPING
        code = os.waitstatus_to_exitcode(report.status)
        return Reply(ended_by, code, report.cpu_s, code == NOT_STARTED and not result, printed, result)

    def is_ready(self) -> bool:
        """Whether a call would begin at once."""
        return not self.sweeping or self._has_report(0)

    def _has_report(self, within_s: float) -> bool:
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(within_s * 1000))

    def settle(self) -> bool:
        """Wait until the scratch is empty again; False where it does not become so within SWEEP_S."""
        if self.sweeping:
            try:
                if not self._has_report(SWEEP_S) or receive_report(self.sock).scratch != CLEAN:
                    return False
            except (EOFError, OSError):
                return False
            self.sweeping = False
        return True

    def complaint(self) -> str:
        """What the starting command wrote to its standard error."""
        self.complaints.seek(0)
        return self.complaints.read(2000).decode(errors="replace").strip()

    def close(self) -> None:
        """End the zygote, and with it a call that it may be running; remove its folder."""
        if self.process is not None:
            self.sock.close()
            self.process.kill()  # at L3 this is bubblewrap, whose end ends pid 1 of the namespace and so everything
            self.process.wait()
            self.process = None
        if self.complaints is not None:
            self.complaints.close()
        if self.launch is not None:
            self._remove_folder(self.launch)
            self.launch = replace(self.launch, held=-1)
        close_if_open(self.lease.held)
        self.lease = Lease(self.lease.uid, -1)

    def _remove_folder(self, launch: Launch) -> None:
        folder = launch.folder
        if folder and self.folder_id and scratch.identity_or_none(folder) == self.folder_id:
            scratch.sweep(folder, self.folder_id)
            with suppress(OSError):  # something that a child of ours cannot have left; better a folder than a crash
                folder.rmdir()
        close_if_open(launch.held)


def close_if_open(fd: int) -> None:
    """Close a descriptor; -1 = there is none."""
    if fd >= 0:
        os.close(fd)


def start(launch: Launch, lease: Lease, complaints: IO[bytes]) -> tuple[socket.socket, subprocess.Popen]:
    """Exec the zygote with an empty environment but for what the launch names, and a socket to talk on.

    It keeps the lease of its user id too, for the moments that it outlives a killed owner by.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        own = () if launch.socket_is_stdin else (str(theirs.fileno()),)
        inherited = [theirs.fileno()] if own else []
        process = subprocess.Popen(
            [*launch.command, *own],
            env=launch.environment,
            cwd="/",
            stdin=theirs if launch.socket_is_stdin else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            pass_fds=[*inherited, *([lease.held] if lease.held >= 0 else [])],
            start_new_session=True,
        )
    return ours, process


@cache
def filters_of(networked: bool) -> tuple[bytes, ...]:
    """The seccomp filters of zygote, child, and child where not all outside is read-only; built once for each kind."""
    return (*build_filters(networked), build_filters(networked, owner=True)[1])
