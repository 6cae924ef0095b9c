import asyncio
import json
from itertools import pairwise

import pytest
from trl import add_response_schema

from rayplay.dialects import FAMILIES, Dialect
from rayplay.episode import Completion, EpisodeLimits, play_episode
from rayplay.models.micro import micro_tokenizer
from rayplay.models.scripted_policy import call
from rayplay.records import Expected, ExpectedCall, Message, Status, StopReason, Task, ToolResult, ToolSpec

SPEC = ToolSpec(name="echo", description="Echo.", parameters={"type": "object", "properties": {"x": {}}})
COUNTER = ToolSpec(name="count", description="Count.", toolset="Counter")
DIALECT = Dialect(add_response_schema(micro_tokenizer()), FAMILIES["chatml"])
LIMITS = EpisodeLimits(max_turns=3, max_calls=4, max_new_tokens=400, max_length=4000, deadline_s=5)


def task(**rest) -> Task:
    return Task.build("test", (Message(role="user", content="Echo it."),), (SPEC, COUNTER), **rest)


def play(texts: list[str], use=None, limits=LIMITS, the_task=None):
    said = iter(texts)

    async def speak(prompt_ids, room, seed):
        ids = DIALECT.tokenizer(next(said))["input_ids"]
        return Completion(ids[:room], "length" if len(ids) > room else "stop")

    async def echo(tool_call, state):
        return ToolResult(
            call_id=tool_call.call_id, name=tool_call.name, status=Status.OK, text=str(tool_call.arguments)
        )

    return asyncio.run(
        play_episode(
            the_task or task(),
            "g/0",
            dialect=DIALECT,
            speak=speak,
            use=use or echo,
            limits=limits,
            policy="base",
            seed=1,
        )
    )


def test_mask_times_ids_is_exactly_what_was_sampled():
    texts = ["thinking\n" + call("echo", {"x": "é😀"}), call("echo", {"x": 2}), "Done.<|im_end|>"]
    trajectory = play(texts)
    sampled = [t for t, m in zip(trajectory.token_ids, trajectory.sampled_mask, strict=True) if m]
    assert sampled == [t for text in texts for t in DIALECT.tokenizer(text)["input_ids"]]
    assert len(trajectory.token_ids) == len(trajectory.sampled_mask)
    for turn, text in zip(trajectory.turns, texts, strict=True):
        assert list(trajectory.token_ids[turn.start : turn.end]) == DIALECT.tokenizer(text)["input_ids"]


def test_each_prompt_extends_what_was_sampled_before():
    prompts = []

    async def speak(prompt_ids, room, seed):
        prompts.append(list(prompt_ids))
        text = call("echo", {"x": 1}) if len(prompts) < 3 else "Done.<|im_end|>"
        return Completion(DIALECT.tokenizer(text)["input_ids"], "stop")

    async def use(tool_call, state):
        return ToolResult(call_id=tool_call.call_id, status=Status.OK, text="ok")

    trajectory = asyncio.run(
        play_episode(task(), "g/0", dialect=DIALECT, speak=speak, use=use, limits=LIMITS, policy="base", seed=1)
    )
    for shorter, longer in pairwise(prompts):
        assert longer[: len(shorter)] == shorter
    assert list(trajectory.token_ids[: len(prompts[-1])]) == prompts[-1]


@pytest.mark.parametrize(
    ("texts", "limits", "reason"),
    [
        (["Hello.<|im_end|>"], {}, StopReason.ANSWERED),
        ([call("echo", {"x": n}) for n in range(3)], {}, StopReason.TURN_LIMIT),
        ([call("echo", {"x": 1}).replace("<|im_end|>", "") * 5 + "<|im_end|>"], {}, StopReason.CALL_LIMIT),
        (["word " * 200], {"max_new_tokens": 20}, StopReason.TOKEN_LIMIT),
        (["x"], {"max_length": 10}, StopReason.PROMPT_TOO_LONG),
    ],
)
def test_each_limit_ends_the_episode_with_its_own_reason(texts, limits, reason):
    settings = {**LIMITS.__dict__, **limits}
    assert play(texts, limits=EpisodeLimits(**settings)).stop_reason is reason


def test_a_hanging_tool_ends_the_episode_at_its_deadline():
    async def hang(tool_call, state):
        await asyncio.sleep(60)

    limits = EpisodeLimits(**{**LIMITS.__dict__, "deadline_s": 0.2})
    assert play([call("echo", {})], hang, limits).stop_reason is StopReason.TIME_LIMIT


def test_an_unavailable_tool_ends_the_episode_as_our_own_fault():
    async def lost(tool_call, state):
        return ToolResult(call_id=tool_call.call_id, status=Status.UNAVAILABLE)

    assert play([call("echo", {})], lost).stop_reason is StopReason.UNAVAILABLE


def test_parallel_calls_run_at_once_and_results_keep_call_order():
    running = 0
    peak = 0

    async def slow_first(tool_call, state):
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.05 if tool_call.arguments["x"] == 0 else 0)
        running -= 1
        return ToolResult(call_id=tool_call.call_id, status=Status.OK, text=f"r{tool_call.arguments['x']}")

    both = call("echo", {"x": 0}).replace("<|im_end|>", "\n") + call("echo", {"x": 1})
    trajectory = play([both, "Done.<|im_end|>"], slow_first)
    assert peak == 2
    assert [r.text for r in trajectory.turns[0].results] == ["r0", "r1"]


def test_a_stateful_toolset_sees_the_state_of_the_call_before():
    async def count(tool_call, state):
        number = json.loads(state)["n"] + 1
        return ToolResult(
            call_id=tool_call.call_id, status=Status.OK, text=str(number), state=json.dumps({"n": number})
        )

    start = task(state=json.dumps({"Counter": {"n": 0}}))
    both = call("count", {}).replace("<|im_end|>", "\n") + call("count", {})
    trajectory = play([both, call("count", {}), "3<|im_end|>"], count, the_task=start)
    assert json.loads(trajectory.end_state) == {"Counter": {"n": 3}}
    assert [r.text for turn in trajectory.turns for r in turn.results] == ["1", "2", "3"]


def test_a_token_that_only_the_tool_knows_proves_the_whole_path():
    secret = "tk-91c4e0"

    async def reveal(tool_call, state):
        return ToolResult(call_id=tool_call.call_id, status=Status.OK, text=secret)

    the_task = task(expected=Expected(calls=(ExpectedCall(name="echo"),), answer=(secret,)))
    trajectory = play([call("echo", {}), f"It is {secret}.<|im_end|>"], reveal, the_task=the_task)
    assert secret not in DIALECT.tokenizer.decode(trajectory.token_ids[: trajectory.prompt_length])
    assert trajectory.stop_reason is StopReason.ANSWERED
