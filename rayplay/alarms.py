"""Rates of a round's samples -> what looks wrong in them, and where to look.

An alarm is a name in the recipe's `alarms` section, which says whether it ends the run, warns, or is off.
"""

from collections.abc import Sequence
from statistics import fmean

from rayplay.metrics import grouped
from rayplay.recipe import Alarms
from rayplay.records import Status, StopReason, Trajectory
from rayplay.rewards import calls_of, format_correct

Rates = dict[str, float]
# Ends that say nothing about the model: such samples stand in no rate.
NOT_ITS_FAULT = (StopReason.UNAVAILABLE, StopReason.TIME_LIMIT)


def measure_rates(samples: Sequence[Trajectory], policy: str) -> Rates:
    """Means over the samples that the model itself ended; a rate without a single case is left out.

    Returns:
        `call_rate` (samples with a call, of those whose task expects one), `format_rate` (well-formed messages),
        `truncated_rate` (samples cut off in a message or before it), `tool_error_rate` (executed calls that failed),
        `spread` (difference between best and worst reward of a group), and `stale_rate` (samples of other weights than
        `policy`, the newest).
    """
    own = [t for t in samples if t.stop_reason not in NOT_ITS_FAULT]
    results = [r.status for t in own for turn in t.turns for r in turn.results if r.status is not Status.UNAVAILABLE]
    cut = (StopReason.TOKEN_LIMIT, StopReason.PROMPT_TOO_LONG)
    groups = grouped(own, lambda t: t.group).values()
    values = {
        "call_rate": [bool(calls_of(t)) for t in own if t.task.expected.calls],
        "format_rate": [format_correct(t) for t in own],
        "truncated_rate": [t.stop_reason in cut for t in own],
        "tool_error_rate": [status is not Status.OK for status in results],
        "stale_rate": [t.policy != policy for t in own],
        "spread": [max(t.reward for t in g) - min(t.reward for t in g) for g in groups if len(g) > 1],
    }
    return {name: fmean(found) for name, found in values.items() if found}


def raised(now: Rates, before: Rates, wanted: Alarms) -> dict[str, str]:
    """Alarm -> what was seen and what to look at, for every alarm that these rates raise.

    Args:
        now: Rates of this round.
        before: Rates of the round before; {} in the first round.
        wanted: The recipe's thresholds.
    """
    found = {}
    if now.get("call_rate") == 0:
        found["no_call"] = (
            "the model made no tool call in any sample that should hold one: nothing to learn from; give "
            "training.warm_start some demonstrations, or look at the transcripts in the run folder"
        )
    if now.get("truncated_rate") == 1:
        found["truncated"] = "every sample was cut off; raise rollout.max_new_tokens or model.max_length"
    if now.get("spread") == 0:
        found["no_spread"] = (
            "within every group all rewards are alike; raise rollout.temperature or rollout.samples_per_task, or take "
            "harder tasks"
        )
    if now.get("tool_error_rate", 0.0) > wanted.tool_error_rate:
        found["tool_errors"] = (
            f"{now['tool_error_rate']:.0%} of the calls failed (alarms.tool_error_rate is {wanted.tool_error_rate:g}); "
            "look at the results in the transcripts"
        )
    for name, rate in (("falling_calls", "call_rate"), ("falling_format", "format_rate")):
        if rate in now and before.get(rate, 0.0) - now[rate] > wanted.fall:
            found[name] = (
                f"{rate} fell from {before[rate]:.2f} to {now[rate]:.2f} in a round (alarms.fall is {wanted.fall:g}); "
                "lower training.learning_rate, raise training.beta, or give the sft loss more weight"
            )
    return found
