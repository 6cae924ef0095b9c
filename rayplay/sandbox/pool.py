"""Calls -> results: argument checks, a pool of zygotes, and the meaning of every way a call can end."""

import itertools
import json
import math
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rayplay.errors import SandboxError
from rayplay.records import Status, ToolCall, ToolResult, ToolSpec
from rayplay.sandbox import probe
from rayplay.sandbox.hygiene import readable
from rayplay.sandbox.levels import Level, Limits
from rayplay.sandbox.warm import Reply, Zygote, ZygoteGoneError
from rayplay.toolbox import MAX_ARGUMENT_BYTES, check_arguments

RECYCLE_AFTER = 1000
PROBLEMS = {
    Status.INVALID_JSON: "the call is not valid JSON; write one JSON object with name and arguments",
    Status.UNKNOWN_TOOL: "there is no tool of that name",
    Status.BAD_ARGUMENTS: "the arguments do not fit the tool",
}


_slot_numbers = itertools.count(os.getpid())  # concurrent zygotes get different uids, also across processes


class Sandbox:
    """Tools of some modules, each call in a fresh confined process. Thread-safe.

    Args:
        modules: Import names of the tools' files.
        level: Isolation to use; None = the highest that the canaries prove here.
        limits: Bounds of a call.
        recycle_after: Calls after which a zygote is replaced.
        search_paths: Folders to find the modules in, besides what is installed; default: the working directory.
        size: Calls that may run at once.
    """

    def __init__(
        self,
        modules: Sequence[str],
        *,
        level: Level | None = None,
        limits: Limits = Limits(),
        recycle_after: int = RECYCLE_AFTER,
        search_paths: Sequence[str] = (),
        size: int = 4,
    ) -> None:
        self.modules = tuple(modules)
        self.limits = limits
        self.recycle_after = recycle_after
        self.search_paths = tuple(search_paths) or (os.getcwd(),)
        self.level = Level(level) if level is not None else probe.best_level()
        self._free: list[Zygote] = []
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(size)
        self._threads = ThreadPoolExecutor(max_workers=size, thread_name_prefix="sandbox")
        self._closed = False
        first = self._take()
        self._specs, self.uid = first.specs, first.uid
        self._give_back(first)

    def describe(self) -> tuple[ToolSpec, ...]:
        """The tools of the modules, as read in the zygote: nothing of theirs is imported here."""
        return self._specs

    def run(
        self, spec: ToolSpec, call: ToolCall, *, state: str | None = None, deadline_s: float | None = None
    ) -> ToolResult:
        """Run one call; blocks until its result is there. Every way to end is a status, none is an exception."""
        started = time.monotonic()
        refused = self._refuse(spec, call)
        if refused is not None:
            return refused
        if not self._slots.acquire(timeout=self.limits.queue_s):
            return self._result(call, Status.UNAVAILABLE, f"no free sandbox within {self.limits.queue_s:g} s", started)
        try:
            return self._run_in_slot(spec, call, state or "", deadline_s, started)
        finally:
            self._slots.release()

    def run_many(self, calls: Sequence[tuple[ToolSpec, ToolCall]]) -> list[ToolResult]:
        """Run independent calls at once, each in a child of its own; results in the order of the calls."""
        return list(self._threads.map(lambda pair: self.run(*pair), calls))

    def close(self) -> None:
        """End all zygotes."""
        self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            for zygote in self._free:
                zygote.close()
            self._free.clear()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refuse(self, spec: ToolSpec, call: ToolCall) -> ToolResult | None:
        """The result of a call that never reaches a child, or None."""
        started = time.monotonic()
        if call.problem is not None:
            return self._result(call, call.problem, PROBLEMS.get(call.problem, call.problem.value), started)
        if call.name != spec.name or spec.name not in {s.name for s in self._specs}:
            names = ", ".join(s.name for s in self._specs)
            return self._result(
                call, Status.UNKNOWN_TOOL, f"no tool named {call.name[:80]!r}; there are: {names}", started
            )
        try:
            size = len(json.dumps(call.arguments, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            return self._result(call, Status.BAD_ARGUMENTS, f"arguments are not JSON: {str(error)[:200]}", started)
        if size > MAX_ARGUMENT_BYTES:
            text = f"arguments of {size} bytes; at most {MAX_ARGUMENT_BYTES} are taken"
            return self._result(call, Status.BAD_ARGUMENTS, text, started)
        problem = check_arguments(spec, call.arguments)
        return self._result(call, Status.BAD_ARGUMENTS, problem, started) if problem else None

    def _run_in_slot(
        self, spec: ToolSpec, call: ToolCall, state: str, deadline_s: float | None, started: float
    ) -> ToolResult:
        deadline_s = min(spec.deadline_s, self.limits.deadline_s, deadline_s or math.inf)
        request = {
            "tool": spec.name,
            "deadline_s": deadline_s,
            "cpu_s": math.ceil(min(deadline_s, self.limits.cpu_s)) + 1,
            "memory_mb": min(spec.memory_mb, self.limits.memory_mb),
        }
        arguments = json.dumps(call.arguments).encode()
        for attempt in (1, 2):
            zygote = self._take()
            try:
                reply = zygote.exchange(request, arguments, state.encode())
            except ZygoteGoneError as error:
                if spec.idempotent and attempt == 1:
                    continue
                text = f"the sandbox lost this call ({error}); it is not the call's fault"
                return self._result(call, Status.UNAVAILABLE, text, started)
            self._give_back(zygote, tainted=reply.tainted or bool(reply.ended_by) or reply.exit != 0)
            return self._read_reply(call, reply, request)
        raise AssertionError("unreachable")

    def _take(self) -> Zygote:
        with self._lock:
            if self._free:
                return self._free.pop()
        return Zygote(self.modules, self.level, self.limits, self.search_paths, next(_slot_numbers))

    def _give_back(self, zygote: Zygote, tainted: bool = False) -> None:
        if tainted or self._closed or zygote.calls >= self.recycle_after:
            zygote.close()
            return
        with self._lock:
            self._free.append(zygote)

    def _read_reply(self, call: ToolCall, reply: Reply, request: dict) -> ToolResult:
        """What the parent saw -> status; what the child wrote -> text."""
        bound = self.limits.output_bytes
        printed = readable(reply.printed, bound)
        kind, state, text = split_result(reply.result)
        returned = readable(text, bound)
        status, note = verdict(reply, kind, request)
        keep = status in (Status.OK, Status.TOOL_ERROR, Status.BAD_ARGUMENTS, Status.OUTPUT_LIMIT)
        if len(text) > bound and status is Status.OK:
            status = Status.OUTPUT_LIMIT
        body = "\n".join(
            part for part in (printed.rstrip("\n"), returned if keep or kind == b"X" else "", note) if part
        )
        return ToolResult(
            call_id=call.call_id,
            name=call.name,
            status=status,
            text=body,
            seconds=reply.seconds,
            level=self.level.value,
            state=state.decode(errors="replace") if state and status is Status.OK else None,
        )

    def _result(self, call: ToolCall, status: Status, text: str, started: float) -> ToolResult:
        seconds = time.monotonic() - started
        return ToolResult(
            call_id=call.call_id, name=call.name, status=status, text=text, seconds=seconds, level=self.level.value
        )


def split_result(frame: bytes) -> tuple[bytes, bytes, bytes]:
    """(kind, state, text) of a result frame; kind is b"" where the frame is not whole."""
    if len(frame) < 9:
        return b"", b"", b""
    state_size, text_size = int.from_bytes(frame[1:5], "big"), int.from_bytes(frame[5:9], "big")
    state, text = frame[9 : 9 + state_size], frame[9 + state_size :]
    whole = len(text) == text_size
    return (frame[:1] if whole else b""), state, text


def verdict(reply: Reply, kind: bytes, request: dict) -> tuple[Status, str]:
    """The status of a call that ran, and a note for the model where its own words do not say it."""
    if reply.ended_by == "deadline":
        return Status.TIMEOUT, f"[stopped: no result within {request['deadline_s']:g} s]"
    if reply.ended_by == "output":
        return Status.OUTPUT_LIMIT, "[stopped: more output than allowed]"
    if reply.ended_by == "disk":
        return Status.OUTPUT_LIMIT, "[stopped: more files than allowed]"
    if reply.exit < 0 and reply.cpu_s >= request["cpu_s"] - 0.5:
        return Status.TIMEOUT, f"[stopped: {request['cpu_s']} s of processor time used]"
    if kind == b"M":
        return Status.CRASHED, f"[out of memory: {request['memory_mb']} MiB are allowed]"
    if kind == b"X":
        return Status.CRASHED, ""
    known = {b"R": Status.OK, b"E": Status.TOOL_ERROR, b"A": Status.BAD_ARGUMENTS}.get(kind)
    if known is None or reply.exit != 0:
        how = f"signal {-reply.exit}" if reply.exit < 0 else f"exit code {reply.exit}"
        return Status.CRASHED, f"[crashed: ended by {how} without a result]"
    return known, ""
