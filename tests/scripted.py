"""Samplers of the scripted policy that do harm, or wait behind a gate."""

import asyncio
import os
import signal
from pathlib import Path

import psutil

from rayplay.dialects import Dialect
from rayplay.models.sampler import EngineDied, ScriptedSampler
from rayplay.models.scripted_policy import answer


class FaultySampler(ScriptedSampler):
    """Does harm at completions after the file named in the environment appears, a word of that file each time.

    "kill" and "stop" send that signal to its own process, "tools" kills the tool actors of the same Ray, "engine" is an
    engine that has died: no completion comes from this process any more.
    """

    dead = False

    async def generate(self, prompt_ids, max_new_tokens, seed, temperature, grammar=""):
        """As scripted, unless it is time to fail."""
        trigger = os.environ.get("RAYPLAY_TEST_FAULT", "")
        if trigger and Path(trigger).is_file():
            kind, *rest = Path(trigger).read_text().split()
            Path(trigger).unlink()
            if rest:
                Path(trigger).write_text(" ".join(rest))
            with Path(trigger + ".fired").open("a") as fired:
                fired.write(f"{kind} ")
            self.dead = kind == "engine"
            victims = {"tools": tool_processes, "engine": list}.get(kind, lambda: [os.getpid()])()
            for victim in victims:
                os.kill(victim, signal.SIGSTOP if kind == "stop" else signal.SIGKILL)
        if self.dead:
            raise EngineDied("as scripted")
        return await super().generate(prompt_ids, max_new_tokens, seed, temperature)


def tool_processes() -> list[int]:
    """Process ids of the tool actors under this worker's own raylet."""
    workers = psutil.Process().parent().children()
    found = [process.pid for process in workers if "ToolWorker" in process.name()]
    assert found, [process.name() for process in workers]
    return found


def make_sampler(settings: object, dialect: Dialect) -> ScriptedSampler:
    """For `rollout.engine`."""
    return FaultySampler(dialect.tokenizer, answer)


class GatedSampler(ScriptedSampler):
    """Answers once the file that the environment names is there."""

    async def generate(self, prompt_ids, max_new_tokens, seed, temperature, grammar=""):
        """As scripted, behind the gate."""
        while not Path(os.environ["RAYPLAY_TEST_GATE"]).exists():
            await asyncio.sleep(0.05)
        return await super().generate(prompt_ids, max_new_tokens, seed, temperature)


def make_gated_sampler(settings: object, dialect: Dialect) -> ScriptedSampler:
    """For `EngineSettings.sampler`."""
    return GatedSampler(dialect.tokenizer, lambda prompt, seed: "Neither.<|im_end|>")


async def instantly(value: object) -> object:
    """A coroutine that is done at once."""
    await asyncio.sleep(0)
    return value
