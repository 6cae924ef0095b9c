"""Rollout speed as ratios within one run: episodes and the bare engine, slow and instant tools, the controller.

- `engine_ratio`: tokens per second of two-turn episodes with instant tools, over the same engine given the same prompts
  and lengths at once. Both sides are played twice in turn, and the totals compared, since a machine's speed drifts.
- `slow_tool_ratio`: simulated engine (steps of a realistic length, a bounded batch), tools of 0.5 s with a heavy tail
  over instant ones; `lockstep_factor`: how much longer a loop takes that waits for each turn's slowest tool.
- `controller_episodes_per_s`: scripted sampler and instant tools over a local Ray with 4 workers.
"""

import argparse
import asyncio
import json
import os
import random
import time
from pathlib import Path

import psutil
import ray

from rayplay.actors.cluster import open_cluster
from rayplay.actors.pool import PoolSettings, RolloutPool
from rayplay.actors.rollout import Admission, EngineSettings, plan_group
from rayplay.actors.tools import ToolActor
from rayplay.dialects import Dialect
from rayplay.episode import Completion, EpisodeLimits, Speak, Use, play_episode
from rayplay.models.device import choose_dtype
from rayplay.models.resolve import resolve_model
from rayplay.models.sampler import ScriptedSampler
from rayplay.models.tokenizers import load_dialect
from rayplay.models.vllm_sampler import VllmSampler
from rayplay.records import Json, Message, Status, Task, ToolCall, ToolResult, ToolSpec, Trajectory

EPISODES = 96
BATCH = 32
TURN_TOKENS = 24
STEP_S = 0.03  # one engine step of the simulated engine, about that of a small model on two cores
TOOL_S = 0.5

ECHO = ToolSpec(
    name="lookup",
    description="Look a number up.",
    parameters={"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]},
)


def make_task(number: int) -> Task:
    """One of many requests over the same tool."""
    return Task.build("bench", (Message(role="user", content=f"Look up entry number {number}, please."),), (ECHO,))


def measure_engine(model_dir: str, dtype: str) -> Json:
    """Episodes against the bare engine, in this process."""
    base = load_dialect(model_dir)
    sampler = VllmSampler(model_dir, dtype=dtype, max_length=1024, max_in_flight=BATCH, fixed_length=True)
    first_end = {"ids": 0}

    def call_once(prompt_ids: list[int], sampled_ids: list[int]) -> Json:
        """Reads a call out of any first message and text out of any second: lengths are the same on both sides."""
        if len(prompt_ids) > first_end["ids"]:
            return {"content": "done"}
        return {"content": "", "tool_calls": [{"function": {"name": "lookup", "arguments": {"key": "1"}}}]}

    dialect = Dialect(base.tokenizer, base.family, call_once)
    tasks = [make_task(n) for n in range(EPISODES)]
    first_end["ids"] = max(len(dialect.render(t.messages, t.tools)) for t in tasks)
    prompts: list[list[int]] = []

    async def through_episodes() -> float:
        prompts.clear()
        admission = Admission(BATCH)
        started = time.monotonic()

        async def speak(prompt_ids: list[int], room: int, seed: int) -> Completion:
            prompts.append(list(prompt_ids))
            async with admission.speaking():
                return await sampler.generate(prompt_ids, TURN_TOKENS, seed, 1.0)

        async def play(task: Task) -> Trajectory:
            async with admission.episode():
                return await play_episode(
                    task,
                    f"b/{task.task_id}",
                    dialect=dialect,
                    speak=speak,
                    use=instantly,
                    limits=limits(),
                    policy="",
                    seed=1,
                )

        await asyncio.gather(*(play(task) for task in tasks))
        return time.monotonic() - started

    async def alone() -> float:
        started = time.monotonic()
        await asyncio.gather(*(sampler.generate(ids, TURN_TOKENS, 1, 1.0) for ids in prompts))
        return time.monotonic() - started

    async def both() -> tuple[float, float, Json]:
        await through_episodes()  # warms the kernels
        spent = [0.0, 0.0]
        for _ in range(2):
            for side, run in enumerate((through_episodes, alone)):
                sampler.forget_prefixes()
                spent[side] += await run()
        return spent[0], spent[1], sampler.stats()

    episodes_s, alone_s, stats = asyncio.run(both())
    sampler.close()
    tokens = 2 * len(prompts) * TURN_TOKENS
    return {
        "engine_ratio": round(alone_s / episodes_s, 3),
        "rayplay_tok_s": round(tokens / episodes_s, 1),
        "vllm_tok_s": round(tokens / alone_s, 1),
        "prefix_cache_hit_rate": round(stats["prefix_cache_hits"] / max(stats["prefix_cache_queries"], 1), 3),
        "n_episodes": 2 * EPISODES,
    }


async def play_bench(task: Task, dialect: Dialect, speak: Speak, use: Use) -> Trajectory:
    """One episode of a benchmark."""
    sample = f"b/{task.task_id}"
    return await play_episode(
        task, sample, dialect=dialect, speak=speak, use=use, limits=limits(), policy="base", seed=1
    )


def limits() -> EpisodeLimits:
    """Room for two turns."""
    return EpisodeLimits(max_turns=3, max_calls=4, max_new_tokens=64, max_length=1024, deadline_s=300)


async def instantly(call: ToolCall, state: str | None) -> ToolResult:
    """A tool that is done at once."""
    return ToolResult(call_id=call.call_id, name=call.name, status=Status.OK, text="42")


class SimulatedEngine:
    """Batches of at most BATCH, one token each a step, every step takes STEP_S: an engine without a model."""

    def __init__(self, ids: list[list[int]]) -> None:
        self._ids = ids  # what to answer in the first and in any later turn
        self._running: list[list] = []
        self._pump: asyncio.Task | None = None

    async def generate(self, turn: int) -> Completion:
        """The turn's answer, after as many steps as it has tokens."""
        done = asyncio.get_running_loop().create_future()
        ids = self._ids[min(turn, 1)]
        self._running.append([TURN_TOKENS, done])
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())
        await done
        return Completion(ids, "stop")

    async def _run(self) -> None:
        while self._running:
            await asyncio.sleep(STEP_S)
            for entry in self._running[:BATCH]:
                entry[0] -= 1
                if entry[0] == 0:
                    entry[1].set_result(None)
            self._running = [entry for entry in self._running if entry[0] > 0]


def measure_slow_tools(dialect: Dialect) -> Json:
    """Seconds of the same episodes with slow and with instant tools, and of a lock-step loop with slow ones."""
    said = ['<tool_call>\n{"name": "lookup", "arguments": {"key": "1"}}\n</tool_call><|im_end|>', "It is 42.<|im_end|>"]
    ids = [dialect.tokenizer(text, add_special_tokens=False)["input_ids"] for text in said]
    tasks = [make_task(n) for n in range(24 * BATCH)]  # so many that the last, slow ones hardly count

    def slowly(rng: random.Random) -> Use:
        async def use(call: ToolCall, state: str | None) -> ToolResult:
            await asyncio.sleep(min(TOOL_S * rng.paretovariate(2.0) / 2, 10 * TOOL_S))  # Pareto: mean 0.5 s, heavy tail
            return await instantly(call, state)

        return use

    async def rollout(use: Use) -> float:
        engine, admission = SimulatedEngine(ids), Admission(BATCH)
        started = time.monotonic()

        async def play(task: Task) -> None:
            turns = iter(range(9))

            async def speak(prompt_ids: list[int], room: int, seed: int) -> Completion:
                async with admission.speaking():
                    return await engine.generate(next(turns))

            async with admission.episode():
                await play_bench(task, dialect, speak, use)

        await asyncio.gather(*(play(task) for task in tasks))
        return time.monotonic() - started

    async def lockstep(use: Use) -> float:
        engine = SimulatedEngine(ids)
        started = time.monotonic()
        for first in range(0, len(tasks), BATCH):
            batch = tasks[first : first + BATCH]
            await asyncio.gather(*(engine.generate(0) for _ in batch))
            await asyncio.gather(*(use(ToolCall(call_id=t.task_id, name="lookup"), None) for t in batch))
            await asyncio.gather(*(engine.generate(1) for _ in batch))
        return time.monotonic() - started

    instant_s = asyncio.run(rollout(instantly))
    slow_s = asyncio.run(rollout(slowly(random.Random(0))))
    lockstep_s = asyncio.run(lockstep(slowly(random.Random(0))))
    return {
        "slow_tool_ratio": round(instant_s / slow_s, 3),
        "lockstep_factor": round(lockstep_s / slow_s, 2),
        "n_slow_tool_episodes": len(tasks),
    }


def measure_controller(model_dir: str, episodes: int = 20_000, samples: int = 8, workers: int = 4) -> Json:
    """Episodes per second through the pool with a scripted sampler; the driver's memory after 1,000 and after all."""
    with open_cluster(num_cpus=workers):
        tools = [ToolActor.options(num_cpus=0, max_concurrency=64).remote(("tools.calculator",), "L0")]
        engine = EngineSettings(model_dir=model_dir, max_in_flight=64, sampler="rayplay.actors.bench:make_scripted")
        pool = RolloutPool(PoolSettings(num_workers=workers, groups_per_worker=16), engine, limits(), tools)
        pool.start()
        plans = [
            plan_group(0, f"b/{n}", make_task(n), samples=samples, temperature=1.0, policy="base")
            for n in range(episodes // samples)
        ]
        for _ in pool.play(plans[: 1000 // samples]):
            pass  # warm
        memory = [psutil.Process(os.getpid()).memory_info().rss]
        started = time.monotonic()
        done = sum(len(result.trajectories) for result in pool.play(plans))
        spent = time.monotonic() - started
        memory.append(psutil.Process(os.getpid()).memory_info().rss)
        pool.close()
        for actor in tools:
            ray.kill(actor)
    return {
        "controller_episodes_per_s": round(done / spent, 1),
        "n_controller_episodes": done,
        "driver_mib": [round(m / 2**20) for m in memory],
    }


def make_scripted(settings: EngineSettings, dialect: Dialect) -> ScriptedSampler:
    """A sampler that answers at once and calls no tool."""
    return ScriptedSampler(dialect.tokenizer, lambda prompt, seed: "It is 42.<|im_end|>")


def measure_rollout(model_dir: Path, dtype: str) -> Json:
    """All of it, as one dictionary."""
    found = measure_engine(str(model_dir), dtype)
    found |= measure_slow_tools(load_dialect(model_dir))
    return found | measure_controller(str(model_dir))


def main() -> None:
    """`python -m rayplay.actors.bench --model NAME`: in a process of its own, under the engine's environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    folder = resolve_model(arguments.model)
    print(json.dumps(measure_rollout(folder, choose_dtype("auto", gpu=False))))


if __name__ == "__main__":
    main()
