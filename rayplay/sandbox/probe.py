"""Canaries in a real child -> the level that holds here, and what does not hold and why.

A level counts only if every attempt that it promises to stop was stopped. Packages, versions and exit codes prove
nothing: bubblewrap, for one, exits 0 as root where user namespaces are off.
"""

import ctypes
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from secrets import token_hex
from typing import Any

from landlock import landlock_abi_version

from rayplay.errors import SandboxError, ToolboxError
from rayplay.sandbox import scratch
from rayplay.sandbox.folders import room_for_sockets
from rayplay.sandbox.launch import Setup
from rayplay.sandbox.levels import IsolationReport, Level, Limits
from rayplay.sandbox.report import Untested, next_step, refusal, scratch_bound
from rayplay.sandbox.verdict import split_frame
from rayplay.sandbox.warm import Reply, Zygote, ZygoteGoneError

CANARY_S = 20.0
LIMITS = Limits(
    deadline_s=CANARY_S, memory_mb=256, output_bytes=4096, scratch_bytes=4 * 1024 * 1024, file_bytes=2 * 1024 * 1024
)
PROMISES: dict[Level, tuple[str, ...]] = {
    Level.L1: (
        "processes", "network", "signals", "environment", "descriptors", "memory", "kernel", "privileges",
        "time", "output", "disk", "no_state", "other_calls",
    ),
    Level.L2: ("read_outside", "write_outside", "other_processes"),
    Level.L3: ("namespaces", "minimal_root", "disk_without_names", "names", "traces"),
    Level.L4: ("own_kernel",),
}  # fmt: skip
UNBOUNDED: dict[Level, frozenset[str]] = {Level.L4: frozenset(("names",))}  # gVisor's tmpfs counts bytes alone
LADDER = (Level.L4, Level.L3, Level.L2, Level.L1)


def promised(level: Level) -> tuple[str, ...]:
    """What a level promises: what it adds, and what the levels below promise."""
    names = (name for lower, names in PROMISES.items() if lower <= level for name in names)
    return tuple(name for name in names if name not in UNBOUNDED.get(level, ()))


def isolation_report(highest: Level = Level.L3) -> IsolationReport:
    """The highest level up to `highest` at which every promise holds. Takes about a second; kept for the process.

    L4 is tried on request only: there every system call is dearer, and few tools need it.
    """
    return _isolation_report(highest)


@cache
def _isolation_report(highest: Level) -> IsolationReport:
    """The same, once for each level: a second try could get another user for its calls."""
    why = {Level.L4: "", Level.L3: no_gvisor()}.get(highest, f"asked for {highest.value} at most")
    for level in LADDER:
        if level > highest:
            continue
        tested = True
        try:
            found, introduction = try_level(level)
        except SandboxError as error:
            why = f"{level.value} does not hold: {error}{next_step(level, str(error))}"
            continue
        except (ToolboxError, ZygoteGoneError, OSError) as error:
            tested = False
            why = f"{level.value} could not be tested: {error}{next_step(level, '')}"
            continue
        failing = {name: found[name] for name in promised(level)}
        if reason := refusal(level, failing):
            why, tested = reason, any(text and not isinstance(text, Untested) for text in failing.values())
            continue
        untested = tuple(name for name, text in found.items() if isinstance(text, Untested))
        return IsolationReport(
            level=level,
            held=tuple(name for name, text in found.items() if not text),
            not_held=tuple(name for name, text in found.items() if text and name not in untested),
            not_tested=untested,
            why_not_higher=why,
            scratch_bound=scratch_bound(introduction, level, Limits(), nameless=found["disk_without_names"] == ""),
            uid=introduction["uid"],
            landlock_abi=landlock_abi(),
        )
    everything = tuple(name for names in PROMISES.values() for name in names)
    return IsolationReport(
        level=Level.L0,
        not_held=everything if tested else (),
        not_tested=() if tested else everything,
        why_not_higher=why,
        scratch_bound=scratch_bound({}, Level.L0, Limits()),
        uid=os.getuid(),
        landlock_abi=landlock_abi(),
    )


def require_level(required: str) -> IsolationReport:
    """The report, where it satisfies `required`.

    Raises:
        SandboxError: It does not; the message names what does not hold.
    """
    report = isolation_report(max(Level.L3, Level(required)))
    if report.level >= Level(required):
        return report
    missing = [name for name in promised(Level(required)) if name not in report.held]
    untested = [name for name in missing if name in report.not_tested]
    broken = [name for name in missing if name not in untested]
    lacking = [f"{how}: {', '.join(names)}" for how, names in (("not held", broken), ("not tested", untested)) if names]
    raise SandboxError(
        f"sandbox.require is {required} but only {report.level.value} holds here; {'; '.join(lacking)} "
        f"({report.why_not_higher}). Repair that, or --set sandbox.require={report.level.value} and miss that"
    )


def try_level(level: Level) -> tuple[dict[str, str], dict[str, Any]]:
    """Run every canary at a level -> ({guarantee: "", what got through, or `Untested`}, how the zygote lives).

    Raises:
        SandboxError: The level cannot even start here.
        OSError: There is no place for what the canaries are to reach.
    """
    with tempfile.TemporaryDirectory(prefix="rayplay-canary-", dir=room_for_sockets()) as folder:
        secret, open_folder = Path(folder, "secret"), Path(folder, "open")
        secret.write_text("canary")
        open_folder.mkdir()
        for path, mode in ((folder, 0o755), (secret, 0o644), (open_folder, 0o777)):
            os.chmod(path, mode)
        run = Canary(Setup(("rayplay.sandbox.canaries", "rayplay.sandbox.remains"), level, LIMITS))
        try:
            with listeners(folder) as (port, abstract, unix_path):
                found = {
                    "processes": run("processes"),
                    "network": run("network", port=port, abstract=abstract, path=unix_path),
                    "signals": run("signals"),
                    "environment": run("environment"),
                    "descriptors": run("descriptors"),
                    "memory": run("memory", mb=LIMITS.memory_mb + 1),
                    "kernel": run("kernel"),
                    "privileges": run("privileges"),
                    "time": run.ended_by("endless_loop", "deadline"),
                    "output": run.ended_by("endless_output", "output"),
                    "disk": run("fill_disk", mb=512),
                    "disk_without_names": run("fill_disk_without_names", mb=16 * LIMITS.scratch_bytes >> 20),
                    "names": run("fill_names", count=4 * LIMITS.scratch_files),
                    "traces": run("leave_traces", path=str(secret), folder=str(open_folder)),
                    "no_state": run("poison") or run("find_poison"),
                    "other_calls": remains_of_other_calls(run),
                    "read_outside": run("read_outside", path=str(secret)),
                    "write_outside": run("write_outside", path=str(open_folder)),
                    "other_processes": run("other_processes", pid=os.getpid()),
                    "namespaces": shared_namespaces(run.zygote.introduction["namespaces"]),
                    "minimal_root": "the zygote sees this machine's files"
                    if run.zygote.introduction["root"] == root_identity()
                    else "",
                    "own_kernel": "the zygote runs on this machine's kernel"
                    if run.zygote.introduction["kernel"] == Path("/proc/version").read_text()
                    else "",
                }
            return found, run.zygote.introduction
        finally:
            run.zygote.close()


class Canary:
    """Runs canaries in a zygote's children; a zygote that is not left clean is replaced, as the pool does it."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.zygote = Zygote(setup)

    def __call__(self, name: str, **arguments: Any) -> str:
        """ "" where the attempt failed, else what it reached."""
        reply = self._reply(name, arguments, deadline_s=CANARY_S)
        if reply.ended_by == "deadline":
            return Untested(f"the canary did not finish within {CANARY_S:g} s")  # on a busy machine
        if not reply.tainted and (reply.ended_by or reply.exit != 0):
            return ""  # ended for going over a bound, or by the kernel: it did not get through
        frame = split_frame(reply.result)
        text = frame.text.decode(errors="replace")
        return text if frame.kind == b"R" else Untested(f"the canary did not run: {text or 'no result'}")

    def ended_by(self, name: str, expected: str) -> str:
        """ "" where the parent ended the call for the expected reason."""
        reply = self._reply(name, {}, deadline_s=0.3)
        return "" if reply.ended_by == expected else f"ended by {reply.ended_by or 'itself'}, not {expected}"

    def _reply(self, name: str, arguments: dict[str, Any], deadline_s: float) -> Reply:
        request = {"tools": [name], "deadline_s": deadline_s, "cpu_s": 6, "memory_mb": LIMITS.memory_mb}
        reply = self.zygote.exchange(request, json.dumps(arguments).encode(), b"")
        if reply.tainted or not self.zygote.settle():  # some file systems keep the size that a folder once had
            self.zygote.close()
            self.zygote = Zygote(self.setup)
        return reply


def remains_of_other_calls(run: Canary) -> str:
    """ "" where a call finds nothing of those before it, however they ended, in all that it can read."""
    for how in ("returned value", "tool error", "error", "exit", "state"):
        mark = token_hex(16)
        if how == "state":
            run("keep", mark=mark)
        else:
            run("leave", mark=mark, how=how)
        if found := run("look", backwards=mark[::-1]):
            return found if isinstance(found, Untested) else f"{found}, of a call that ended by {how}"
    return ""


@contextmanager
def listeners(folder: str) -> Iterator[tuple[int, str, str]]:
    """Things to reach: a TCP port, an abstract and a named unix socket, all listening."""
    abstract, path = f"rayplay-canary-{os.getpid()}", str(Path(folder, "socket"))
    with socket.create_server(("127.0.0.1", 0)) as tcp, unix_server("\0" + abstract), unix_server(path):
        os.chmod(path, 0o777)
        yield tcp.getsockname()[1], abstract, path


def unix_server(address: str) -> socket.socket:
    """A listening unix socket."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(1)
    return server


def shared_namespaces(theirs: dict[str, str]) -> str:
    """ "" where the zygote shares none of these namespaces with this process, else which."""
    same = [name for name, number in theirs.items() if number == os.readlink(f"/proc/self/ns/{name}")]
    return f"shares {', '.join(same)}" if same or not theirs else ""


def root_identity() -> list[int]:
    """Device and inode of this process's root folder."""
    return list(scratch.identity("/"))


def landlock_abi() -> int:
    """Version of the kernel's Landlock interface, by asking the kernel; 0 = none."""
    ctypes.set_errno(0)
    try:
        return landlock_abi_version()
    except OSError:
        return 0


def no_gvisor() -> str:
    """Why L4 is not in force."""
    if shutil.which("runsc") is None:
        return "L4: gVisor is not installed (no runsc on PATH)"
    return "L4: only on request (sandbox.require L4, --require L4): every system call is dearer there"
