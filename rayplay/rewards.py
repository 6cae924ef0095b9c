"""Trajectory -> scores in [0, 1], by name from a table; the recipe gives the weights.

A trajectory stores its parts and their weighted mean. Rewards read what the parent process saw (statuses, token
counts) and what the model said, never a status that a tool printed.
"""

import importlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

from rayplay.arguments import argument_verdicts, expected_arguments
from rayplay.errors import RecipeError
from rayplay.matching import answer_found, end_state_reached, match_calls, pair_calls
from rayplay.records import (
    DEFAULT_RULE,
    ExpectedCall,
    Rule,
    Status,
    StopReason,
    ToolCall,
    ToolResult,
    ToolSpec,
    Trajectory,
)
from rayplay.toolbox import find_tool

# None: this sample cannot be judged so. The part is left out, and the sample is not compared with judged siblings.
Reward = Callable[[Trajectory], float | None]

UNREADABLE = (Status.INVALID_JSON, Status.UNKNOWN_TOOL, Status.BAD_ARGUMENTS)


def calls_of(trajectory: Trajectory) -> list[ToolCall]:
    """All calls of an episode, in order."""
    return [call for turn in trajectory.turns for call in turn.calls]


def results_of(trajectory: Trajectory) -> list[ToolResult]:
    """All results of an episode, in order."""
    return [result for turn in trajectory.turns for result in turn.results]


def final_answer(trajectory: Trajectory) -> str:
    """The text of the last message where the episode ended with an answer, else ""."""
    return trajectory.turns[-1].content if trajectory.stop_reason is StopReason.ANSWERED else ""


def format_correct(trajectory: Trajectory) -> float:
    """Share of assistant messages that end by themselves and whose calls all parse and satisfy a schema."""
    if not trajectory.turns:
        return 0.0
    good = 0
    for turn in trajectory.turns:
        readable = not any(c.problem for c in turn.calls) and not any(r.status in UNREADABLE for r in turn.results)
        good += readable and turn.finish == "stop"
    return good / len(trajectory.turns)


def tool_choice(trajectory: Trajectory) -> float:
    """F1 between the names of expected and made calls; 1.0 for rightly none, 0.0 where none should be made."""
    expected, made = trajectory.task.expected, calls_of(trajectory)
    if not expected.calls or not made:
        return float(len(expected.calls) == len(made))
    names_right = match_calls(expected, made, trajectory.task.tools).names_right
    return 2 * names_right / (len(expected.calls) + len(made))


def arguments_match(trajectory: Trajectory) -> float:
    """Mean share of right arguments over expected calls, extra calls counted as wrong."""
    expected, made = trajectory.task.expected, calls_of(trajectory)
    if not expected.calls:
        return float(not made)
    scores = match_calls(expected, made, trajectory.task.tools).argument_scores
    return math.fsum(scores) / max(len(scores), len(made))


def calls_succeed(trajectory: Trajectory) -> float:
    """Share of calls that ran without error; without calls, whether none was expected."""
    results = results_of(trajectory)
    if not results:
        return float(not trajectory.task.expected.calls and not calls_of(trajectory))
    return sum(r.status is Status.OK for r in results) / len(calls_of(trajectory))


def answer_matches(trajectory: Trajectory) -> float:
    """Share of expected answers found in the final message; 0.0 where the episode did not end with one."""
    if trajectory.stop_reason is not StopReason.ANSWERED or not final_answer(trajectory):
        return 0.0
    return answer_found(trajectory.task.expected, final_answer(trajectory))


def end_state_matches(trajectory: Trajectory) -> float:
    """Whether the toolset's state ended as expected."""
    return float(end_state_reached(trajectory.task.expected, trajectory.end_state))


def no_extra_calls(trajectory: Trajectory) -> float:
    """1.0 where no more calls were made than expected, less by the share of those beyond."""
    made = len(calls_of(trajectory))
    return 1.0 - max(0, made - len(trajectory.task.expected.calls)) / max(made, 1)


def irrelevance(trajectory: Trajectory) -> float:
    """Right to not call: 0.0 where a call was made and none was expected, or none made and some expected; else 1.0."""
    return float(bool(trajectory.task.expected.calls) == bool(calls_of(trajectory)))


def brevity(trajectory: Trajectory) -> float:
    """1.0 up to 64 sampled tokens, falling to 0.0 at 512."""
    return min(1.0, max(0.0, (512 - sum(trajectory.sampled_mask)) / (512 - 64)))


def success(trajectory: Trajectory) -> float:
    """1.0 where the answer, the end state and (unless the task says otherwise) exactly the expected calls are right.

    A task that expects calls and no answer is also done where the turn limit ends the episode behind them.
    """
    expected = trajectory.task.expected
    answered = trajectory.stop_reason is StopReason.ANSWERED
    calls_alone = bool(expected.calls) and expected.check_calls and not expected.answer
    if not answered and not (calls_alone and trajectory.stop_reason is StopReason.TURN_LIMIT):
        return 0.0
    calls_right = not expected.check_calls or match_calls(expected, calls_of(trajectory), trajectory.task.tools).exact
    answer_right = not answered or answer_matches(trajectory) == 1.0
    return float(calls_right and answer_right and end_state_matches(trajectory) == 1.0)


def toolrl(trajectory: Trajectory) -> float:
    """The graded reward of ToolRL (Qian et al. 2025, https://arxiv.org/abs/2504.13958), mapped from [-3, 4] to [0, 1].

    Format gives 1 where every message ended, every call can be read, and calls were made exactly where some are
    expected; else 0. Correctness is 6 * R / S - 3, and -3 where a call cannot be read or none was made. R sums the
    similarity of the tools' names, as multisets, and for each expected call that of its parameters' names and the
    number of right values in its best partner; S is the most that R can be. Without an expected call that leaves 3
    or -3 (the authors' code leaves 0 there, which would make no right answer a full one).
    What is right is what `rayplay.matching` says: an argument that may be left out counts as given where it is, and
    one that is not expected and says its default as not given.
    """
    expected, made, tools = trajectory.task.expected, calls_of(trajectory), trajectory.task.tools
    if any(call.problem for call in made) or (expected.calls and not made):
        return 0.0
    finished = bool(trajectory.turns) and all(turn.finish == "stop" for turn in trajectory.turns)
    form = float(finished and bool(made) == bool(expected.calls))

    def weigh(want: ExpectedCall, call: ToolCall) -> Fraction:
        return _call_score(want, call, find_tool(tools, want.name), expected.rule or DEFAULT_RULE)

    gained = _similarity([c.name for c in expected.calls], [c.name for c in made])
    gained += sum(weigh(expected.calls[i], made[j]) for i, j in pair_calls(expected.calls, made, weigh).items())
    possible = 1 + sum(1 + len(expected_arguments(c, find_tool(tools, c.name))) for c in expected.calls)
    return float(Fraction(form) + 6 * gained / possible) / 7


def _call_score(want: ExpectedCall, call: ToolCall, spec: ToolSpec | None, rule: Rule) -> Fraction:
    """Similarity of the parameters' names, plus the number of right values."""
    wanted = expected_arguments(want, spec)
    verdicts = argument_verdicts(want, call, spec, rule)
    decided = [key for key, right in verdicts.items() if (key in wanted and right) or (key in call.arguments)]
    meant = [key for key in decided if key in wanted or not verdicts[key]]
    return _similarity(wanted, meant) + sum(verdicts[key] for key in wanted)


def _similarity(a: Iterable[str], b: Iterable[str]) -> Fraction:
    """Jaccard similarity of two multisets; 1 of two empty ones."""
    a, b = Counter(iter(a)), Counter(iter(b))
    return Fraction((a & b).total(), (a | b).total()) if a | b else Fraction(1)


REWARDS: dict[str, Reward] = {
    "format": format_correct,
    "tool_choice": tool_choice,
    "arguments": arguments_match,
    "execution": calls_succeed,
    "answer": answer_matches,
    "end_state": end_state_matches,
    "no_extra_calls": no_extra_calls,
    "irrelevance": irrelevance,
    "brevity": brevity,
    "success": success,
    "toolrl": toolrl,
}


def find_rewards(weights: Mapping[str, float], judge: Reward | None = None) -> dict[str, Reward]:
    """The functions that a recipe's `rewards` names: rows of the table, `judge`, or `module:function`.

    Raises:
        RecipeError: No such row or function, a judge that the recipe does not describe, or no weight above zero.
    """
    if not any(weight > 0 for weight in weights.values()):
        raise RecipeError("rewards has no weight above zero; nothing could be learned")
    if "judge" in weights and judge is None:
        raise RecipeError('rewards.judge: the recipe has no judge; add "judge": {"base_url": ..., "model": ...}')
    return {name: judge if judge and name == "judge" else _find_reward(name) for name in weights}


def _find_reward(name: str) -> Reward:
    if name in REWARDS:
        return REWARDS[name]
    module, colon, function = name.partition(":")
    if not colon:
        known = ", ".join(REWARDS)
        raise RecipeError(f"rewards.{name}: no such reward; known: {known}, or your own as module:function")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"rewards.{name}: cannot load it: {error}") from error


def score(trajectory: Trajectory, weights: Mapping[str, float], rewards: Mapping[str, Reward]) -> Trajectory:
    """The trajectory with its parts and their weighted mean, over the parts that could be judged.

    Raises:
        RecipeError: A reward of the user's own failed, or gave something else than a number or None.
    """
    found = {name: _part(name, reward, trajectory) for name, reward in rewards.items()}
    parts = {name: part for name, part in found.items() if part is not None}
    total = sum(abs(weights[name]) for name in parts)
    mean = sum(weights[name] * part for name, part in parts.items()) / total if total else 0.0
    return trajectory.model_copy(update={"rewards": parts, "reward": mean})


def _part(name: str, reward: Reward, trajectory: Trajectory) -> float | None:
    try:
        found = reward(trajectory)
        part = None if found is None else float(found)
    except Exception as error:  # the user's code may fail in any way
        raise RecipeError(f"rewards.{name} failed on sample {trajectory.sample_id}: {error!r}; mend it") from error
    if part is not None and not math.isfinite(part):
        raise RecipeError(f"rewards.{name} gave {part} for sample {trajectory.sample_id}; give a number, or None")
    return part
