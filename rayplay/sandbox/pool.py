"""Calls -> results: argument checks, a zygote for each call, one re-issue where a zygote is lost."""

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from rayplay.errors import SandboxError
from rayplay.records import Status, ToolCall, ToolResult, ToolSpec
from rayplay.sandbox import probe
from rayplay.sandbox.launch import Setup
from rayplay.sandbox.levels import Level, Limits
from rayplay.sandbox.stock import Kind, Stock
from rayplay.sandbox.verdict import Outcome, encode_arguments, read_batch, read_reply, refuse, result_of
from rayplay.sandbox.warm import Reply, Zygote, ZygoteGoneError, describe, no_resources

RECYCLE_AFTER = 1000
BATCH_MAX = 32  # pure calls that share one child
DEFAULT_LIMITS = Limits()


def default_search_paths() -> list[Path]:
    """The working directory and, where rayplay runs from its source, the folder that holds its own tools."""
    home = Path(__file__).resolve().parents[2]
    return list(dict.fromkeys([Path.cwd(), *([home] if (home / "pyproject.toml").is_file() else [])]))


class Sandbox:
    """Tools of some modules, each call in a fresh confined process. Thread-safe.

    Args:
        modules: Import names of the tools' files.
        require: The lowest level that is acceptable. The highest that the canaries prove here is used; where that is
            lower, there is no sandbox.
        level: Exactly this level instead, proven or not: for tests and measurements.
        limits: Bounds of a call.
        recycle_after: Calls after which a zygote is replaced.
        search_paths: Folders to find the modules in, besides what is installed; default: `default_search_paths`.
        size: Calls that may run at once.
        allow: Of the tools' `needs`, what they may have: "network", "files".

    Raises:
        SandboxError: The required level does not hold here, or could not be tested, or a process cannot start.
        ToolboxError: A module cannot be loaded.
    """

    def __init__(
        self,
        modules: Sequence[str],
        *,
        require: str = Level.L2,
        level: Level | None = None,
        limits: Limits = DEFAULT_LIMITS,
        recycle_after: int = RECYCLE_AFTER,
        search_paths: Sequence[str] = (),
        size: int = 4,
        allow: Sequence[str] = (),
    ) -> None:
        self.isolation = probe.require_level(require) if level is None else None
        self.level = self.isolation.level if self.isolation else Level(level)
        self.limits = limits
        self.allow = frozenset(allow)
        paths = tuple(str(Path(p).resolve()) for p in search_paths or default_search_paths())
        self._setup = Setup(tuple(modules), self.level, limits, paths)
        self._stock = Stock(lambda kind: Zygote(self._setup.for_tools(*kind)), size, recycle_after)
        self._slots = threading.BoundedSemaphore(size)
        self._size = size
        self._threads = ThreadPoolExecutor(max_workers=size + 1, thread_name_prefix="sandbox")
        self._specs = self._first_start((modules[0], frozenset())) if modules else {}

    def describe(self) -> tuple[ToolSpec, ...]:
        """The tools of the modules, as read in the zygote: nothing of theirs is imported here."""
        return tuple(self._specs.values())

    def run(
        self, spec: ToolSpec, call: ToolCall, *, state: str | None = None, deadline_s: float | None = None
    ) -> ToolResult:
        """Run one call; blocks until its result is there. Every way to end is a status, none is an exception.

        `spec` decides the schema that arguments must fit; how the tool runs is what its own file says.
        """
        started = time.monotonic()
        if (outcome := self._refuse(spec, call)) is None:
            with self._slot() as free:
                outcome = self._run_one(call, state or "", deadline_s) if free else self._crowded()
        return result_of(call, outcome, time.monotonic() - started, self.level)

    def run_many(self, calls: Sequence[tuple[ToolSpec, ToolCall]]) -> list[ToolResult]:
        """Run independent, stateless calls; results in the order of the calls.

        Calls of pure tools share children, in turn, up to BATCH_MAX. Each still has its own deadline and its own
        verdict: whatever ends or taints the child, the calls after it get a fresh one. All others have their own child.
        """
        results: list[ToolResult | None] = [None] * len(calls)
        pure: dict[str, list[int]] = {}
        for i, (_, call) in enumerate(calls):
            if self._is_pure(call.name):
                pure.setdefault(self._specs[call.name].module, []).append(i)
        share = max(1, min(BATCH_MAX, math.ceil(sum(map(len, pure.values())) / self._size)))
        groups = [kin[n : n + share] for kin in pure.values() for n in range(0, len(kin), share)]
        groups += [[i] for i, (_, call) in enumerate(calls) if not self._is_pure(call.name)]
        jobs: list[tuple[list[int], Future]] = [
            (group, self._threads.submit(self._run_group, [calls[i] for i in group])) for group in groups
        ]
        for group, job in jobs:
            for i, result in zip(group, job.result(), strict=True):
                results[i] = result
        return [result for result in results if result is not None]

    def idle(self) -> list[Zygote]:
        """The zygotes that wait for a call, for those who look after what calls leave behind."""
        return self._stock.idle()

    def close(self) -> None:
        """End all zygotes. Calls that are running get `unavailable`."""
        self._stock.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _first_start(self, kind: Kind) -> dict[str, ToolSpec]:
        """The tools by name, read while a first zygote starts."""
        warming = self._threads.submit(self._stock.take, kind)
        try:
            specs = {spec.name: spec for spec in describe(self._setup)}
        finally:
            wait([warming])
            if warming.exception() is None:
                self._stock.give_back(warming.result(), kind, worn=False)
        warming.result()
        return specs

    def _slot(self) -> "_Slot":
        return _Slot(self._slots, self.limits.queue_s)

    def _crowded(self) -> Outcome:
        return Outcome(Status.UNAVAILABLE, f"no free sandbox within {self.limits.queue_s:g} s")

    def _is_pure(self, name: str) -> bool:
        own = self._specs.get(name)
        return own is not None and own.pure and own.idempotent and not own.toolset

    def _refuse(self, spec: ToolSpec, call: ToolCall) -> Outcome | None:
        """Why a call never reaches a child, or None."""
        return refuse(spec, call, self._specs, self.allow)

    def _run_group(self, group: list[tuple[ToolSpec, ToolCall]]) -> list[ToolResult]:
        """One call alone, or pure calls in shared children."""
        if len(group) == 1:
            return [self.run(*group[0])]
        started = time.monotonic()
        outcomes: dict[int, Outcome] = {}
        for i, (spec, call) in enumerate(group):
            if refused := self._refuse(spec, call):
                outcomes[i] = refused
        with self._slot() as free:
            while waiting := [i for i in range(len(group)) if i not in outcomes]:
                if not free:
                    outcomes.update(dict.fromkeys(waiting, self._crowded()))
                    continue
                done = self._run_batch([group[i][1] for i in waiting])
                outcomes.update(zip(waiting, done, strict=False))
        each = (time.monotonic() - started) / len(group)
        return [result_of(call, outcomes[i], each, self.level) for i, (_, call) in enumerate(group)]

    def _run_one(self, call: ToolCall, state: str, deadline_s: float | None) -> Outcome:
        own = self._specs[call.name]
        request = self._request([own], deadline_s)
        for attempt in (1, 2):
            try:
                reply = self._exchange(request, own, encode_arguments(call), state.encode())
                if reply.tainted and attempt == 1:
                    continue  # the tool never began
                return read_reply(reply, request, self.limits, bool(own.toolset))
            except ZygoteGoneError as error:
                if attempt == 2 or not own.idempotent:
                    return Outcome(
                        Status.UNAVAILABLE, f"the sandbox lost this call ({error}); the call is not to blame"
                    )
            except SandboxError as error:
                return Outcome(Status.UNAVAILABLE, f"no sandbox: {error}")
        raise AssertionError("unreachable")

    def _run_batch(self, calls: list[ToolCall]) -> list[Outcome]:
        """Outcomes of the first few calls, at least one."""
        if len(calls) > 1:
            specs = [self._specs[call.name] for call in calls]
            request = self._request(specs, None)
            try:
                reply = self._exchange(request, specs[0], *map(encode_arguments, calls), b"")
                if done := read_batch(reply, request, self.limits):
                    return done
            except (ZygoteGoneError, SandboxError):
                pass  # alone, the call at fault gets its own verdict
        return [self._run_one(calls[0], "", None)]

    def _request(self, specs: list[ToolSpec], deadline_s: float | None) -> dict:
        longest = min(max(s.deadline_s for s in specs), self.limits.deadline_s, deadline_s or math.inf)
        return {
            "tools": [s.name for s in specs],
            "deadline_s": longest,
            "cpu_s": math.ceil(min(longest, self.limits.cpu_s)) * len(specs) + 1,
            "memory_mb": min(max(s.memory_mb for s in specs), self.limits.memory_mb),
        }

    def _exchange(self, request: dict, spec: ToolSpec, *blobs: bytes) -> Reply:
        kind = (spec.module, self.allow & set(spec.needs))
        zygote = self._stock.take(kind)
        worn = True
        try:
            reply = zygote.exchange(request, *blobs)
            worn = reply.tainted
            return reply
        except OSError as error:
            worn = False
            raise no_resources(error) from error
        finally:
            self._stock.give_back(zygote, kind, worn)


class _Slot:
    """A place among the calls that run at once; entering says whether one came free in time."""

    def __init__(self, slots: threading.BoundedSemaphore, wait_s: float) -> None:
        self.slots, self.wait_s, self.got = slots, wait_s, False

    def __enter__(self) -> bool:
        self.got = self.slots.acquire(timeout=self.wait_s)
        return self.got

    def __exit__(self, *_: object) -> None:
        if self.got:
            self.slots.release()
