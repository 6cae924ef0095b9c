"""Trajectories -> what share of a task set goes right, with 95 % intervals and n.

Every metric is a mean over tasks of a number in [0, 1], or of a count. Means of numbers in [0, 1] carry Wilson's
interval where each value is 0 or 1, else a bootstrap interval. A sample that ended through our own fault
(`unavailable`) is left out of every metric, so its n is smaller.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rayplay.matching import match_calls
from rayplay.records import StopReason, Trajectory
from rayplay.rewards import (
    answer_matches,
    arguments_match,
    calls_of,
    calls_succeed,
    end_state_matches,
    format_correct,
    success,
)
from rayplay.statistics import bootstrap_mean_interval, wilson_interval

Measure = Callable[[Trajectory], float | None]


def success_rate(t: Trajectory) -> float:
    """The whole task is right: exactly the expected calls with the right arguments, and the right answer or end state.

    An episode that did not end with an answer fails. Where a task says that its calls are not checked, the answer and
    the end state alone decide.
    """
    return success(t)


def tool_accuracy(t: Trajectory) -> float:
    """The right tools were called, each as often as expected, whatever the arguments; or rightly none.

    A call that cannot be read counts as a call of no tool, so it is wrong.
    """
    expected, made = t.task.expected, calls_of(t)
    return float(match_calls(expected, made, t.task.tools).names_right == len(expected.calls) == len(made))


def argument_accuracy(t: Trajectory) -> float | None:
    """Share of right arguments over expected calls; not defined (left out of n) where no call is expected."""
    return arguments_match(t) if t.task.expected.calls else None


def format_correctness(t: Trajectory) -> float:
    """Every message of the episode ended by itself, and every call parsed, named a tool and satisfied its schema.

    An episode without calls is well-formed if its message was not cut off.
    """
    return float(format_correct(t) == 1.0)


def execution_success(t: Trajectory) -> float | None:
    """Share of calls that ran without error; 0.0 where a call was expected and none made; undefined if rightly none."""
    return None if not t.task.expected.calls and not calls_of(t) else calls_succeed(t)


def response_quality(t: Trajectory) -> float:
    """Share of the expected answers found in the final message (numbers within tolerance, text contained), times
    whether the expected end state was reached. 0.0 without a final message; 1.0 for any answer where none is expected.
    Where the recipe names the reward `judge`, its grade of the final message stands in the place of the first factor,
    but for messages that it gave no grade in time.
    """
    return t.rewards.get("judge", answer_matches(t)) * end_state_matches(t)


def unneeded_call_rate(t: Trajectory) -> float | None:
    """A call was made although none was expected; undefined where one was."""
    return None if t.task.expected.calls else float(bool(calls_of(t)))


def missed_call_rate(t: Trajectory) -> float | None:
    """At least one expected call was not made with the right arguments; undefined where none was expected."""
    if not t.task.expected.calls:
        return None
    return float(match_calls(t.task.expected, calls_of(t), t.task.tools).missing > 0)


MEASURES: dict[str, Measure] = {
    "success_rate": success_rate,
    "tool_accuracy": tool_accuracy,
    "argument_accuracy": argument_accuracy,
    "format_correctness": format_correctness,
    "execution_success": execution_success,
    "response_quality": response_quality,
    "unneeded_call_rate": unneeded_call_rate,
    "missed_call_rate": missed_call_rate,
}

COUNTS: dict[str, Measure] = {
    "turns": lambda t: float(len(t.turns)),
    "calls": lambda t: float(len(calls_of(t))),
    "sampled_tokens": lambda t: float(sum(t.sampled_mask)),
    "seconds": lambda t: t.seconds,
}


def measure(trajectories: Iterable[Trajectory]) -> dict[str, dict[str, float]]:
    """Every metric as {"mean", "low", "high", "n"}; counts as {"mean", "n"}; metrics without a value are left out."""
    judged = counted(trajectories)
    table: dict[str, dict[str, float]] = {}
    for name, function in MEASURES.items():
        values = _values(judged, function)
        if values:
            table[name] = mean_with_interval(values)
    for name, function in COUNTS.items():
        values = _values(judged, function)
        if values:
            table[name] = {"mean": sum(values) / len(values), "n": len(values)}
    return table


GROUPINGS: dict[str, Callable[[Trajectory], str]] = {
    "kind": lambda t: t.task.kind or "-",
    "tool": lambda t: "+".join(sorted({c.name for c in t.task.expected.calls})) or "no tool",  # of the expected calls
    "calls": lambda t: str(len(t.task.expected.calls)),  # expected
    "turns": lambda t: str(len(t.turns)),  # messages that the model wrote
}


def measure_by(grouping: str, trajectories: Iterable[Trajectory]) -> dict[str, dict[str, dict[str, float]]]:
    """`measure` of each group apart; `grouping` is a row of GROUPINGS."""
    return {name: measure(group) for name, group in sorted(grouped(trajectories, GROUPINGS[grouping]).items())}


def pass_rates(trajectories: Iterable[Trajectory]) -> dict[str, dict[str, float]]:
    """pass@1, pass@2, pass@4, ... and pass@k of all k samples: means over tasks of `pass_at_k`, intervals over tasks.

    Samples that our own faults ended do not count; a task with fewer than k others is left out of pass@k.
    """
    tasks = grouped(counted(trajectories), lambda t: t.task.task_id).values()
    most = max((len(task) for task in tasks), default=0)
    found = {}
    for k in sorted({2**power for power in range(most.bit_length())} | {most} - {0}):
        enough = [task for task in tasks if len(task) >= k]
        values = [pass_at_k(sum(success_rate(t) == 1.0 for t in task), len(task), k) for task in enough]
        found[f"pass@{k}"] = mean_with_interval(values)
    return found


def counted(trajectories: Iterable[Trajectory]) -> list[Trajectory]:
    """The samples that say something about the policy: all that our own faults did not end."""
    return [t for t in trajectories if t.stop_reason is not StopReason.UNAVAILABLE]


def mean_with_interval(values: Sequence[float]) -> dict[str, float]:
    """{"mean", "low", "high", "n"} with a 95 % interval."""
    mean = sum(values) / len(values)
    if all(value in (0.0, 1.0) for value in values):
        low, high = wilson_interval(int(sum(values)), len(values))
    else:
        low, high = bootstrap_mean_interval(values, seed=0)
    return {"mean": mean, "low": low, "high": high, "n": len(values)}


def pass_at_k(correct: int, samples: int, k: int) -> float:
    """Probability that at least one of k samples is right, unbiased (Chen et al. 2021, equation 1)."""
    if samples - correct < k:
        return 1.0
    missed = 1.0
    for i in range(samples - correct + 1, samples + 1):
        missed *= 1 - k / i
    return 1 - missed


def grouped(trajectories: Iterable[Trajectory], key: Callable[[Trajectory], Any]) -> dict[Any, list[Trajectory]]:
    """Trajectories by a key, in the order of first appearance."""
    groups: dict[Any, list[Trajectory]] = defaultdict(list)
    for trajectory in trajectories:
        groups[key(trajectory)].append(trajectory)
    return dict(groups)


def _values(trajectories: list[Trajectory], function: Measure) -> list[float]:
    return [value for t in trajectories if (value := function(t)) is not None]
