"""Tool calls -> results as a Ray actor: bounded queue, per-tool concurrency and rates, watchdog, metrics.

Three clocks, each ending the layer below: the child's wall time (`deadline_s` of the tool), the sandbox's own wait for
its zygote, and this actor's for the call; the rollout's own time limit is longer still.
"""

import asyncio
import contextlib
import logging
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError

from rayplay.credentials import with_secrets
from rayplay.errors import ResourceError
from rayplay.mcp_tools import McpToolbox
from rayplay.records import Json, Status, ToolCall, ToolResult, ToolSpec
from rayplay.sandbox import IsolationReport, Level, Limits, Sandbox, neutralise, shorten
from rayplay.toolbox import find_tool

log = logging.getLogger(__name__)

DEFAULT_LIMITS = Limits()
MARGIN_S = 10.0  # by which this actor outwaits the sandbox, and the rollout should outwait this actor
PURE_AT_ONCE = 64  # calls of pure tools that go to the sandbox together
LATENCY_BOUNDS_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000)


class ToolWorker:
    """Executes the calls of many episodes at once. `ToolActor` is the same as a Ray actor.

    Args:
        modules: Import names of the tools' files.
        require: The lowest level that is acceptable ("L0" only by an explicit setting).
        limits: Bounds of a call.
        search_paths: Folders to find the modules in.
        size: Calls that run at once, over all tools.
        queue: Calls that may wait; one more is answered `unavailable`.
        concurrency: Most calls at once, by tool.
        per_second: Most calls started within a second, by tool.
        special_tokens: Of the model's tokenizer; broken wherever a tool writes them.
        text_chars: Most characters of a result that the model is shown.
        allow: Of the tools' `needs`, what they may have: "network", "files".
        mcp_servers: Settings of each server whose tools are offered too, with names in place of secrets; trusted code.
    """

    def __init__(
        self,
        modules: Sequence[str],
        require: str = "L2",
        limits: Limits = DEFAULT_LIMITS,
        search_paths: Sequence[str] = (),
        size: int = 4,
        queue: int = 1024,
        concurrency: dict[str, int] | None = None,
        per_second: dict[str, float] | None = None,
        special_tokens: Sequence[str] = (),
        text_chars: int = 8000,
        allow: Sequence[str] = (),
        mcp_servers: Sequence[Json] = (),
    ) -> None:
        self.sandbox = Sandbox(
            modules, require=require, limits=limits, search_paths=search_paths, size=size, allow=allow
        )
        self.isolation = self.sandbox.isolation
        if self.sandbox.level is Level.L0:
            log.warning("TOOLS RUN WITHOUT ISOLATION (level L0): %s", self.isolation.why_not_higher)
        self.mcp = tuple(McpToolbox(**with_secrets(server)) for server in mcp_servers)
        self.owners = {spec.name: box for box in self.mcp for spec in box.describe()}
        self.specs = (*self.sandbox.describe(), *(spec for box in self.mcp for spec in box.describe()))
        self.threads = ThreadPoolExecutor(max_workers=size, thread_name_prefix="tool-call")
        self.limits = limits
        self.queue = queue
        self.waiting = 0
        self.gates = {name: asyncio.Semaphore(n) for name, n in (concurrency or {}).items()}
        self.rates = {name: Rate(n) for name, n in (per_second or {}).items()}
        self.special_tokens = tuple(special_tokens)
        self.text_chars = text_chars
        self.pure: list[tuple[ToolSpec, ToolCall, asyncio.Future]] = []
        self.counts: dict[str, Counter] = {}
        self.latency: dict[str, list[int]] = {}

    def describe(self) -> tuple[ToolSpec, ...]:
        """The tools of the modules."""
        return self.specs

    def report(self) -> IsolationReport:
        """What the canaries proved at the start."""
        return self.isolation

    def mcp_report(self) -> list[Json]:
        """Which MCP servers run here, and that nothing holds them."""
        return [box.report() for box in self.mcp]

    async def call(self, call: ToolCall, state: str | None = None) -> ToolResult:
        """Run one call. Never raises for what a call does; `unavailable` is our own fault."""
        started = time.monotonic()
        if self.waiting >= self.queue:
            result = failed(call, Status.UNAVAILABLE, f"{self.queue} calls are waiting already")
        else:
            self.waiting += 1
            try:
                result = await self._admitted(call, state)
            finally:
                self.waiting -= 1
        name = call.name if find_tool(self.specs, call.name) else "(unknown)"
        self.counts.setdefault(name, Counter())[result.status.value] += 1
        buckets = self.latency.setdefault(name, [0] * (len(LATENCY_BOUNDS_MS) + 1))
        buckets[bisect_left(LATENCY_BOUNDS_MS, (time.monotonic() - started) * 1000)] += 1
        text = neutralise(shorten(result.text, self.text_chars), self.special_tokens)
        return result.model_copy(update={"text": text})

    async def _admitted(self, call: ToolCall, state: str | None) -> ToolResult:
        spec = find_tool(self.specs, call.name)
        if spec is None:
            spec = ToolSpec(name="")  # the sandbox words the refusal
        async with self.gates.get(call.name, contextlib.nullcontext()):
            if rate := self.rates.get(call.name):
                if (delay_s := rate.delay_s(time.monotonic())) > self.limits.queue_s:
                    return failed(call, Status.UNAVAILABLE, f"{call.name} is asked for more often than it may run")
                rate.reserve(time.monotonic())
                await asyncio.sleep(delay_s)
            timeout_s = self._timeout_s(spec)
            try:
                return await asyncio.wait_for(self._run(spec, call, state), timeout_s)
            except TimeoutError:
                return failed(call, Status.UNAVAILABLE, f"no result within the actor's {timeout_s:g} s")

    def _timeout_s(self, spec: ToolSpec) -> float:
        """How long a call may take, its wait for a free process included; a tool's own, so that rollouts outwait it."""
        owner = self.owners.get(spec.name)
        longest_s = owner.longest_s if owner else min(spec.deadline_s, self.limits.deadline_s)
        return self.limits.queue_s + longest_s + MARGIN_S

    async def _run(self, spec: ToolSpec, call: ToolCall, state: str | None) -> ToolResult:
        loop = asyncio.get_running_loop()
        if not spec.pure or spec.toolset:
            owner = self.owners.get(call.name, self.sandbox)
            return await loop.run_in_executor(self.threads, partial(owner.run, spec, call, state=state))
        # calls that arrive while a batch runs make the next one: nobody waits for a batch to fill
        answer = loop.create_future()
        self.pure.append((spec, call, answer))
        if len(self.pure) == 1:
            self.pure_task = asyncio.create_task(self._run_pure())  # of nobody's: callers may give up
        return await answer

    async def _run_pure(self) -> None:
        try:
            while self.pure:
                batch = self.pure[:PURE_AT_ONCE]
                job = partial(self.sandbox.run_many, [(spec, call) for spec, call, _ in batch])
                results = await asyncio.get_running_loop().run_in_executor(self.threads, job)
                del self.pure[: len(batch)]
                for (_, _, answer), result in zip(batch, results, strict=True):
                    if not answer.done():
                        answer.set_result(result)
        finally:
            for _, call, answer in self.pure:  # only where the sandbox is being closed
                if not answer.done():
                    answer.set_result(failed(call, Status.UNAVAILABLE, "the tool actor is closing"))
            self.pure.clear()

    def metrics(self) -> dict:
        """Per tool: calls, results by status, latency histogram (upper bounds in ms, the last one open)."""
        tools = {
            name: {"calls": sum(counts.values()), "status": dict(counts), "latency": self.latency[name]}
            for name, counts in self.counts.items()
        }
        return {"tools": tools, "latency_bounds_ms": list(LATENCY_BOUNDS_MS), "level": self.sandbox.level.value}

    def close(self) -> None:
        """End all processes."""
        self.sandbox.close()
        for box in self.mcp:
            box.close()
        self.threads.shutdown(wait=False, cancel_futures=True)


class Rate:
    """At most `per_second` starts a second, evenly spaced; holds a reservation for each caller in turn."""

    def __init__(self, per_second: float) -> None:
        self.gap_s = 1.0 / per_second
        self.next_at = 0.0

    def delay_s(self, now: float) -> float:
        """Seconds until the next start that is free."""
        return max(0.0, self.next_at - now)

    def reserve(self, now: float) -> None:
        """Take the next start that is free."""
        self.next_at = max(now, self.next_at) + self.gap_s


def failed(call: ToolCall, status: Status, text: str) -> ToolResult:
    """A result that never came from a child."""
    return ToolResult(call_id=call.call_id, name=call.name, status=status, text=text)


ToolActor = ray.remote(ToolWorker)
ToolHandle = ActorHandle  # of a ToolActor


def start_actors(count: int, start_deadline_s: float, *args: Any, **kwargs: Any) -> list[ToolHandle]:
    """Actors that are ready to answer; the other arguments are those of `ToolWorker`.

    Raises:
        ResourceError: They were not up in time.
    """
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": 0, "max_concurrency": 256}
    spread = ToolActor.options(**options, scheduling_strategy="SPREAD")
    actors = [spread.remote(*args, **kwargs) for _ in range(count)]
    try:
        ray.get([actor.describe.remote() for actor in actors], timeout=start_deadline_s)
    except GetTimeoutError as error:
        raise ResourceError("the tool actors did not start in time; raise resources.start_deadline_s") from error
    return actors


def call_tool(actor: ToolHandle, call: ToolCall, state: str | None = None, timeout_s: float = 60.0) -> ToolResult:
    """One call by a tool actor, waited for."""
    return ray.get(actor.call.remote(call, state), timeout=timeout_s)
