"""A policy that answers by rule, more or less often right: everything around a model can be run without one."""

import json
import re

from rayplay.dialects import Dialect
from rayplay.models.sampler import ScriptedSampler

PAUSE_S = 0.1  # of a completion: an engine that takes its time, without taking a core


def answer(prompt: str, seed: int) -> str:
    """A ChatML completion: a right call for three seeds of eight, then the result as the answer."""
    last = prompt.rsplit("<|im_start|>", 2)[1]
    if "<tool_response>" in last:
        result = re.search(r"<tool_response>\n(.*?)\n</tool_response>", last, re.DOTALL)
        return f"It is {result.group(1) if result else '?'}.<|im_end|>"
    request = last.partition("\n")[2].partition("<|im_end|>")[0]
    expression = " + ".join(re.findall(r"\d+", request)) or "1"
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


def make_sampler(settings: object, dialect: Dialect) -> ScriptedSampler:
    """For a recipe's `rollout.engine`."""
    return ScriptedSampler(dialect.tokenizer, answer, PAUSE_S)
