"""One zygote as its owner sees it: start, exchange a call for a reply within a deadline, end."""

import os
import socket
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import IO, Any, NamedTuple

from rayplay.errors import SandboxError, ToolboxError
from rayplay.records import ToolSpec
from rayplay.sandbox import scratch
from rayplay.sandbox.launch import Launch, Setup, prepare, readable_paths
from rayplay.sandbox.levels import Level
from rayplay.sandbox.seccomp import build_filters
from rayplay.sandbox.wire import receive_frame, send_frame

START_S = 60.0  # importing a user's modules may be slow
FRAME_BYTES = 9  # of a result, before its state and text
GRACE_S = 2.0  # by how much the owner outwaits the zygote's own deadline

# The kernel's parent-death signal follows the *thread* that started a process: zygotes are started by one that stays.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-starter")


class Reply(NamedTuple):
    """How a call ended, as the zygote saw it; printed and result are bytes that the child wrote."""

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
    with Zygote(setup, 0, "rayplay.sandbox.describe") as process:
        return tuple(ToolSpec.model_validate(spec) for spec in process.introduction["specs"])


class ZygoteGoneError(Exception):
    """The zygote died or stopped answering in the middle of a call."""


class Zygote:
    """A running zygote. Not thread-safe: one call at a time."""

    def __init__(self, setup: Setup, slot: int, program: str = "rayplay.sandbox.zygote") -> None:
        self.calls = 0
        self.renewed = False  # whether a successor has been ordered
        self.process: subprocess.Popen | None = None
        self.launch = prepare(setup, slot, program)
        self.held = self.launch.held
        self.folder_id = scratch.identity(self.launch.folder) if self.launch.folder else None
        self.complaints = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self.sock, self.process = _starter.submit(start, self.launch, self.complaints).result(START_S)
            self.introduction = self._greet(setup)
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
        limits, networked = setup.limits, "network" in setup.grants
        filters = filters_of(networked) if setup.level is not Level.L0 else (b"", b"", b"")
        config = {
            "modules": setup.modules,
            "search_paths": setup.search_paths,
            "level": setup.level.value,
            "limits": limits.model_dump(),
            "result_bytes": limits.output_bytes + limits.state_bytes + FRAME_BYTES,
            "scratch": self.launch.scratch,
            "uid": self.launch.uid,
            "read_paths": readable_paths(setup),
            "grants": sorted(setup.grants),
        }
        try:
            self.sock.settimeout(START_S)
            send_frame(self.sock, config, *filters)
            header, _ = receive_frame(self.sock)
        except (EOFError, OSError) as error:
            raise SandboxError(f"{setup.level.value} cannot start here: {self.complaint() or error}") from error
        if "failed" in header:
            raise ToolboxError(f"tools {', '.join(setup.modules)} cannot be loaded: {header['failed']}")
        return header

    def exchange(self, request: dict[str, Any], *blobs: bytes) -> Reply:
        """Run one call, or a batch of pure ones; `blobs` are the arguments of each, then the state.

        Raises:
            ZygoteGoneError: No answer in time; the zygote has been ended.
        """
        self.calls += len(request["tools"])
        try:
            self.sock.settimeout(request["deadline_s"] * len(request["tools"]) + GRACE_S)
            send_frame(self.sock, request, *blobs)
            header, (printed, result) = receive_frame(self.sock)
        except (EOFError, OSError, ValueError) as error:
            self.close()
            raise ZygoteGoneError(str(error) or "closed") from error
        return Reply(**header, printed=printed, result=result)

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
        self.complaints.close()
        folder = self.launch.folder
        if folder and self.folder_id and scratch.identity_or_none(folder) == self.folder_id:
            scratch.sweep(folder, self.folder_id)
            with suppress(OSError):  # something that a child of ours cannot have left; better a folder than a crash
                folder.rmdir()
        if self.held >= 0:
            os.close(self.held)
            self.held = -1


def start(launch: Launch, complaints: IO[bytes]) -> tuple[socket.socket, subprocess.Popen]:
    """Exec the zygote with an empty environment but for what the launch names, and a socket to talk on."""
    ours, theirs = socket.socketpair()
    with theirs:
        own = () if launch.socket_is_stdin else (str(theirs.fileno()),)
        process = subprocess.Popen(
            [*launch.command, *own],
            env=launch.environment,
            cwd="/",
            stdin=theirs if launch.socket_is_stdin else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            pass_fds=[theirs.fileno()] if own else [],
            start_new_session=True,
        )
    return ours, process


@cache
def filters_of(networked: bool) -> tuple[bytes, ...]:
    """The seccomp filters of zygote, child, and child where not all outside is read-only; built once for each kind."""
    return (*build_filters(networked), build_filters(networked, owner=True)[1])
