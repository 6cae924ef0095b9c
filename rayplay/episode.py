"""Task -> Trajectory: who speaks and who computes are arguments.

The same function runs under pytest with a scripted speaker and under vLLM in a rollout worker. Whatever the model does
is data: no completion makes it raise.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from rayplay.dialects import Dialect
from rayplay.records import Status, StopReason, Task, ToolCall, ToolResult, Trajectory, Turn, seed_of
from rayplay.strict_json import as_unicode, is_unicode
from rayplay.toolbox import find_tool


class Completion(NamedTuple):
    """What the engine sampled for one assistant message, end-of-turn token included."""

    token_ids: list[int]
    finish: str  # "stop" or "length"
    logprobs: list[float] = []  # noqa: RUF012  (one per token where asked for; a NamedTuple's default is never changed)


Speak = Callable[[list[int], int, int], Awaitable[Completion]]  # (prompt ids, max new tokens, seed)
Use = Callable[[ToolCall, str | None], Awaitable[ToolResult]]  # (call, JSON state of its toolset)


@dataclass(frozen=True)
class EpisodeLimits:
    """Each bound ends the episode with its own stop reason."""

    max_turns: int = 4
    max_calls: int = 6
    max_new_tokens: int = 96  # of one assistant message
    max_length: int = 2048  # tokens in all
    deadline_s: float = 120.0


@dataclass
class _Play:
    """The growing record of one episode."""

    token_ids: list[int]
    mask: list[int]
    logprobs: list[float]
    states: dict[str, object]
    with_logprobs: bool = False
    turns: list[Turn] = field(default_factory=list)

    def add(self, ids: list[int], sampled: int, logprobs: list[float]) -> None:
        self.token_ids += ids
        self.mask += [sampled] * len(ids)
        self.logprobs += logprobs or [0.0] * len(ids)
        self.with_logprobs |= bool(logprobs)


async def play_episode(
    task: Task,
    sample: str,
    *,
    dialect: Dialect,
    speak: Speak,
    use: Use,
    limits: EpisodeLimits,
    policy: str,
    seed: int,
) -> Trajectory:
    """Play one task to its end.

    The prompt of every next turn is all token ids so far plus the rendered results: nothing is tokenised again. Calls
    of one turn run at the same time, except those of stateful toolsets, which run in order; results keep call order.
    """
    started = time.monotonic()
    prompt = dialect.render(task.messages, task.tools)
    play = _Play(list(prompt), [0] * len(prompt), [0.0] * len(prompt), json.loads(task.state) if task.state else {})
    try:
        async with asyncio.timeout(limits.deadline_s):
            reason = await _play_turns(play, task, sample, dialect, speak, use, limits, seed)
    except TimeoutError:
        reason = StopReason.TIME_LIMIT
    return Trajectory(
        sample_id=sample,
        group=sample.rpartition("/")[0],
        task=task,
        policy=policy,
        seed=seed,
        prompt_length=len(prompt),
        token_ids=tuple(play.token_ids),
        sampled_mask=tuple(play.mask),
        logprobs=tuple(play.logprobs) if play.with_logprobs else (),
        turns=tuple(play.turns),
        stop_reason=reason,
        seconds=time.monotonic() - started,
        end_state=json.dumps(play.states, sort_keys=True) if play.states else None,
    )


async def _play_turns(
    play: _Play,
    task: Task,
    sample: str,
    dialect: Dialect,
    speak: Speak,
    use: Use,
    limits: EpisodeLimits,
    seed: int,
) -> StopReason:
    calls_made = 0
    for number in range(limits.max_turns):
        room = min(limits.max_new_tokens, limits.max_length - len(play.token_ids))
        if room < 1:
            return StopReason.PROMPT_TOO_LONG
        start = len(play.token_ids)
        completion = await speak(play.token_ids, room, seed_of(seed, number))
        content, calls = dialect.parse(play.token_ids, completion.token_ids, f"{sample}#{number}", task.tools)
        play.add(completion.token_ids, 1, completion.logprobs)
        turn = Turn(start=start, end=len(play.token_ids), content=content, calls=calls, finish=completion.finish)
        play.turns.append(turn)
        if completion.finish == "length":
            return StopReason.TOKEN_LIMIT
        if not calls:
            return StopReason.ANSWERED
        calls_made += len(calls)
        if calls_made > limits.max_calls:
            return StopReason.CALL_LIMIT
        results = tuple(map(_storable, await _use_all(play, task, calls, use)))
        play.turns[-1] = turn.model_copy(update={"results": results})
        if any(r.status is Status.UNAVAILABLE for r in results):
            return StopReason.UNAVAILABLE
        if number + 1 < limits.max_turns:
            suffix = dialect.results_suffix(calls, [r.text for r in results], completion.token_ids)
            play.add(suffix, 0, [])
    return StopReason.TURN_LIMIT


def _storable(result: ToolResult) -> ToolResult:
    """The result, with text that a record can hold: tools may answer with halves of surrogate pairs."""
    return result if is_unicode(result.text) else result.model_copy(update={"text": as_unicode(result.text)})


async def _use_all(play: _Play, task: Task, calls: tuple[ToolCall, ...], use: Use) -> tuple[ToolResult, ...]:
    toolsets = [spec.toolset if (spec := find_tool(task.tools, call.name)) else "" for call in calls]
    if not any(toolsets):
        return tuple(await asyncio.gather(*(use(call, None) for call in calls)))
    results = []
    for call, toolset in zip(calls, toolsets, strict=True):
        state = json.dumps(play.states.get(toolset)) if toolset else None
        result = await use(call, state)
        if toolset and result.state is not None:
            play.states[toolset] = json.loads(result.state)
        results.append(result.model_copy(update={"state": None}))
    return tuple(results)
