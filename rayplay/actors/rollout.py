"""Groups of tasks -> groups of trajectories: a Ray actor with one engine and many episodes at once.

Every episode is a coroutine. It waits for the engine or for a tool, never for another episode.
"""

import asyncio
import importlib
import os
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError

from rayplay.data.simulator import simulate
from rayplay.dialects import Dialect
from rayplay.episode import Completion, EpisodeLimits, play_episode
from rayplay.models.tokenizers import load_dialect
from rayplay.recipe import Model
from rayplay.records import (
    Adapter,
    Message,
    Record,
    Status,
    Task,
    ToolCall,
    ToolResult,
    ToolSpec,
    Trajectory,
    digest,
    seed_of,
)
from rayplay.toolbox import find_tool

CALL_SLACK_S = 80.0  # above the tool actor's own wait for a free process; past that the actor is taken for lost


@dataclass(frozen=True)
class EngineSettings:
    """What a worker needs to make its sampler. `sampler` names `module:function(settings, dialect) -> Sampler`."""

    model_dir: str
    model: Model | None = None  # how to speak with it
    dtype: str = "float32"
    gpu: bool = False
    max_length: int = 2048
    max_in_flight: int = 64
    gpu_memory_utilization: float = 0.8
    max_lora_rank: int = 16
    top_p: float = 1.0
    logprobs: bool = False
    constrained: bool = False
    trust_remote_code: bool = False
    sampler: str = "rayplay.models.vllm_sampler:make_sampler"


class GroupPlan(Record):
    """All samples of one task: who is to be sampled, with which seeds, at which temperature."""

    group: str
    task: Task
    seeds: tuple[int, ...]  # one per sample
    temperature: float = 1.0
    policy: str = "base"


class Admission:
    """Opens as many episodes as keep the engine's batch full, however long the others wait for their tools.

    An episode may begin while fewer than `batch` are with the engine. Those that wait for a tool do not count, so slow
    tools open more episodes, up to `MOST_OPEN` batches; with instant ones the groups finish early, one after another.
    """

    MOST_OPEN = 4

    def __init__(self, batch: int) -> None:
        self._batch, self._open, self._speaking = batch, 0, 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def episode(self) -> AsyncIterator[None]:
        """Wait for room, and hold it until the episode ends."""
        async with self._changed:
            await self._changed.wait_for(self._has_room)
            self._open += 1
            self._speaking += 1  # it will speak at once; counted here, so that no more are let in than fit
        self._speaking -= 1
        try:
            yield
        finally:
            self._open -= 1
            await self._tell()

    @asynccontextmanager
    async def speaking(self) -> AsyncIterator[None]:
        """Count as one that is with the engine."""
        self._speaking += 1
        try:
            yield
        finally:
            self._speaking -= 1
            await self._tell()

    def _has_room(self) -> bool:
        return self._speaking < self._batch and self._open < self.MOST_OPEN * self._batch

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify()  # each end makes room for one


class RolloutWorker:
    """One engine and the episodes that share it."""

    def __init__(
        self, settings: EngineSettings, limits: EpisodeLimits, tool_actors: list[ActorHandle], log_path: str = ""
    ) -> None:
        if log_path:
            send_output_to(log_path)
        self._limits = limits
        self._tools = tool_actors
        self._dialect: Dialect = load_dialect(settings.model_dir, settings.model)
        module, _, function = settings.sampler.partition(":")
        self._sampler = getattr(importlib.import_module(module), function)(settings, self._dialect)
        self._admission = Admission(settings.max_in_flight)
        self._policy = "base"
        self._constrained = settings.constrained
        self._grammars: dict[str, str] = {}

    async def ready(self) -> str:
        """Answers once the engine is up."""
        return self._policy

    async def play(self, plan: GroupPlan) -> list[Trajectory]:
        """All samples of one group, in the order of the plan."""
        return list(await asyncio.gather(*(self._play_one(plan, k, seed) for k, seed in enumerate(plan.seeds))))

    async def load(self, adapter: Adapter | None) -> str:
        """Sample from these weights from now on (None = base); returns the version in force."""
        await self._sampler.load(adapter)
        self._policy = adapter.version if adapter else "base"
        return self._policy

    async def stats(self) -> dict[str, float]:
        """The engine's counters."""
        return self._sampler.stats()

    async def say(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], max_new_tokens: int, seed: int, temperature: float
    ) -> Message:
        """One assistant message outside any episode; an empty one where the conversation leaves no room for it."""
        prompt_ids = self._dialect.render(messages, tools)
        room = min(max_new_tokens, self._limits.max_length - len(prompt_ids))
        if room < 1:
            return Message(role="assistant")
        completion = await self._sampler.generate(prompt_ids, room, seed, temperature)
        address = digest([prompt_ids, seed])  # no two messages of a conversation give their calls the same ids
        content, calls = self._dialect.parse(prompt_ids, completion.token_ids, address, tools)
        return Message(role="assistant", content=content, tool_calls=calls)

    async def score(self, token_ids: Sequence[int]) -> list[float]:
        """As TeachingSampler has it."""
        return await self._sampler.score(token_ids)

    async def next_logprobs(self, token_ids: Sequence[int], token_id: int, least: float) -> list[float]:
        """As TeachingSampler has it."""
        return await self._sampler.next_logprobs(token_ids, token_id, least)

    async def continue_until(
        self, prompt_ids: Sequence[int], count: int, max_new_tokens: int, stop_id: int, seed: int
    ) -> list[list[int]]:
        """As TeachingSampler has it."""
        return await self._sampler.continue_until(prompt_ids, count, max_new_tokens, stop_id, seed)

    async def _play_one(self, plan: GroupPlan, k: int, seed: int) -> Trajectory:
        grammar = self._grammar(plan.task) if self._constrained else ""

        async def speak(prompt_ids: list[int], max_new_tokens: int, turn_seed: int) -> Completion:
            async with self._admission.speaking():
                return await self._sampler.generate(prompt_ids, max_new_tokens, turn_seed, plan.temperature, grammar)

        async def use(call: ToolCall, state: str | None) -> ToolResult:
            return await self._use(plan.task, call, state)

        async with self._admission.episode():
            return await play_episode(
                plan.task,
                f"{plan.group}/{k}",
                dialect=self._dialect,
                speak=speak,
                use=use,
                limits=self._limits,
                policy=self._policy,
                seed=seed,
            )

    def _grammar(self, task: Task) -> str:
        """What constrains the calls of a task; the same tools share one."""
        key = digest([spec.as_function() for spec in task.tools])
        if key not in self._grammars:
            from rayplay.models.vllm_parser import call_grammar

            family = self._dialect.family
            self._grammars[key] = call_grammar(family.vllm_parser, self._dialect.tokenizer, task.tools)
        return self._grammars[key]

    async def _use(self, task: Task, call: ToolCall, state: str | None) -> ToolResult:
        """The tool actor's result. A lost actor gives one new attempt for idempotent tools, else `unavailable`."""
        spec = find_tool(task.tools, call.name)
        if spec is not None and not spec.module and call.problem is None:
            return simulate(spec, call.arguments, call_id=call.call_id)  # a data set's tool, without implementation
        deadline_s = (spec.deadline_s if spec else 5.0) + CALL_SLACK_S
        attempts = 2 if spec is None or spec.idempotent else 1
        start = zlib.crc32(call.call_id.encode())
        for attempt in range(attempts):
            actor = self._tools[(start + attempt) % len(self._tools)]
            try:
                async with asyncio.timeout(deadline_s):
                    return await actor.call.remote(call, state)
            except (RayActorError, TimeoutError):
                continue
        return ToolResult(
            call_id=call.call_id, name=call.name, status=Status.UNAVAILABLE, text="the tool is not available right now"
        )


RolloutActor = ray.remote(RolloutWorker)


def plan_group(run_seed: int, group: str, task: Task, *, samples: int, temperature: float, policy: str) -> GroupPlan:
    """The plan of one group; seeds depend on the run's seed and the samples' addresses alone."""
    seeds = tuple(seed_of(run_seed, group, k) for k in range(samples))
    return GroupPlan(group=group, task=task, seeds=seeds, temperature=temperature, policy=policy)


def send_output_to(path: str) -> None:
    """Send this process's stdout and stderr to a file, where its folder exists on this node."""
    if not Path(path).parent.is_dir():
        return
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
