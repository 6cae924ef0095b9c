"""A sampler that answers by rule: it reads the request and the seed, and is right more or less often."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path

import psutil

from rayplay.dialects import Dialect
from rayplay.models.sampler import EngineDied, ScriptedSampler

WRONG = ("no_call", "wrong_tool", "broken_json", "wrong_arguments")


def answer(prompt: str, seed: int) -> str:
    """What the scripted policy says: a right call for three seeds of eight, then the result as the answer."""
    last = prompt.rsplit("<|im_start|>", 2)[1]
    if "<tool_response>" in last:
        result = re.search(r"<tool_response>\n(.*?)\n</tool_response>", last, re.DOTALL)
        return f"It is {result.group(1) if result else '?'}.<|im_end|>"
    request = last.partition("\n")[2].partition("<|im_end|>")[0]
    numbers = re.findall(r"\d+", request)
    expression = " + ".join(numbers) or "1"
    kind = seed % 8
    if kind < 3:
        return call("calculator", {"expression": expression})
    if kind == 3:
        return "I would rather not.<|im_end|>"
    if kind == 4:
        return call("weather", {"city": "Oslo"})
    if kind == 5:
        return '<tool_call>\n{"name": "calculator", "arguments": {"expression"\n</tool_call><|im_end|>'
    if kind == 6:
        return call("calculator", {"expression": expression + " + 1"})
    return call("calculator", {"formula": expression})


def call(name: str, arguments: dict) -> str:
    """A call as the ChatML family writes it."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call><|im_end|>"


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
