"""Scored siblings -> Pairs, each with the reason why its rejected side is worse.

A group is all samples of one task in one round. Samples that ended through our fault (`unavailable`), or that the clock
or a token limit cut off, teach nothing and are left out; so are those that a reward could not judge while siblings
could be.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from rayplay.matching import match_calls
from rayplay.records import (
    Demonstration,
    Expected,
    ExpectedCall,
    Pair,
    Reason,
    Row,
    Status,
    StopReason,
    Task,
    Trajectory,
    Turn,
    digest,
)
from rayplay.rewards import UNREADABLE

UNUSABLE = (StopReason.UNAVAILABLE, StopReason.TIME_LIMIT, StopReason.TOKEN_LIMIT, StopReason.PROMPT_TOO_LONG)
FULL_REWARD = 1.0
SHOWN = "demonstration"  # stands in the place of a sample's number and of a policy's version

Candidate = tuple[Trajectory, Trajectory]  # (chosen, rejected)
Strategy = Callable[[Sequence[Trajectory], float], list[Candidate]]


def usable(group: Iterable[Trajectory]) -> list[Trajectory]:
    """The samples of a group that may become training data: whole ones, all judged by the same rewards."""
    whole = [t for t in group if t.stop_reason not in UNUSABLE and t.turns]
    parts = {name for t in whole for name in t.rewards}
    return [t for t in whole if t.policy == SHOWN or t.rewards.keys() == parts]


def margin(chosen: Trajectory, rejected: Trajectory) -> float:
    """By how much the chosen sample is better, without the last digits of floats: 1.0 is 0.2 above 0.8."""
    return round(chosen.reward - rejected.reward, 9)


def best_vs_rest(group: Sequence[Trajectory], min_margin: float) -> list[Candidate]:
    """The best sample against every one worse by the margin, worst first."""
    ranked = _ranked(group)
    return [(ranked[0], t) for t in reversed(ranked) if margin(ranked[0], t) >= min_margin]


def best_vs_worst(group: Sequence[Trajectory], min_margin: float) -> list[Candidate]:
    """The best sample against the worst."""
    return best_vs_rest(group, min_margin)[:1]


def above_margin(group: Sequence[Trajectory], min_margin: float) -> list[Candidate]:
    """Every two samples that differ by the margin, the widest margin first."""
    ranked = _ranked(group)
    both = [(a, b) for i, a in enumerate(ranked) for b in ranked[i + 1 :] if margin(a, b) >= min_margin]
    return sorted(both, key=lambda pair: -margin(*pair))


# strategy -> (which siblings to compare, whether a pair is one decision or the whole rest of the trajectory)
STRATEGIES: dict[str, tuple[Strategy, bool]] = {
    "first_divergence": (best_vs_rest, True),
    "best_vs_worst": (best_vs_worst, True),
    "above_margin": (above_margin, True),
    "trajectory": (best_vs_rest, False),
}


def make_pairs(
    group: Sequence[Trajectory], strategy: str = "first_divergence", min_margin: float = 0.2, max_per_task: int = 2
) -> list[Pair]:
    """Pairs of one group, independent of the order in which its samples arrived.

    Reasons not seen yet in the group come first, so that two pairs of one task teach two things.

    Args:
        group: Scored samples of one task.
        strategy: A row of STRATEGIES.
        min_margin: Least difference of reward between chosen and rejected.
        max_per_task: At most this many pairs.
    """
    compare, one_decision = STRATEGIES[strategy]
    candidates = usable(group)
    if len(candidates) < 2:
        return []
    found: dict[str, Pair] = {}
    for chosen, rejected in compare(candidates, min_margin):
        pair = pair_at_divergence(chosen, rejected, one_decision=one_decision)
        if pair is not None:
            found.setdefault(pair.pair_id, pair)
    seen: Counter[Reason] = Counter()
    ordered = []
    for pair in found.values():
        ordered.append((seen[pair.reason], len(ordered), pair))
        seen[pair.reason] += 1
    return [pair for _, _, pair in sorted(ordered, key=lambda entry: entry[:2])][:max_per_task]


def needs_demonstration(group: Sequence[Trajectory], when: str, min_margin: float, right: float = FULL_REWARD) -> bool:
    """Whether a group gets its task's demonstration as one more sample.

    Args:
        group: Scored samples of one task.
        when: "never", "dead_groups" (no sample is right and none is better than another by the margin) or
            "unsolved_groups" (no sample is right).
        min_margin: Least difference of reward that makes a pair.
        right: The reward from which a sample is right.
    """
    rewards = [t.reward for t in usable(group)]
    if when == "never" or not rewards or max(rewards) >= right:
        return False
    return when == "unsolved_groups" or max(rewards) - min(rewards) < min_margin


def as_sample(
    group: str, task: Task, demonstration: Demonstration, token_ids: Sequence[int], mask: Sequence[int]
) -> Trajectory:
    """A demonstration in the form of a right sample, labelled as what it is.

    Args:
        group: The group that it joins.
        task: The task that it solves.
        demonstration: The task's messages and those that solve it.
        token_ids: The demonstration as tokens, (T,).
        mask: 1 on what the assistant writes, (T,); one run of 1s for each assistant message.
    """
    said = sum(m.role == "assistant" for m in task.messages)  # before the request: they are prompt
    edges = [i for i in range(len(mask) + 1) if (mask[i - 1] if i else 0) != (mask[i] if i < len(mask) else 0)]
    edges = edges[2 * said :]
    spoken = [m for m in demonstration.messages if m.role == "assistant"][said:]
    turns = [
        Turn(start=start, end=end, content=message.content, calls=message.tool_calls)
        for start, end, message in zip(edges[::2], edges[1::2], spoken, strict=True)
    ]
    return Trajectory(
        sample_id=f"{group}/{SHOWN}",
        group=group,
        task=task,
        policy=SHOWN,
        seed=0,
        prompt_length=edges[0],
        token_ids=tuple(token_ids),
        sampled_mask=(*[0] * edges[0], *mask[edges[0] :]),
        turns=tuple(turns),
        stop_reason=StopReason.ANSWERED,
        reward=FULL_REWARD,
    )


def pairs_of(
    groups: Iterable[Sequence[Trajectory]],
    strategy: str,
    min_margin: float,
    max_per_task: int,
    *,
    balance: bool = False,
) -> list[Pair]:
    """`make_pairs` of every group, in the order of the groups; balanced over reasons when asked."""
    pairs = [pair for group in groups for pair in make_pairs(group, strategy, min_margin, max_per_task)]
    return balance_reasons(pairs) if balance else pairs


def pair_at_divergence(chosen: Trajectory, rejected: Trajectory, *, one_decision: bool = True) -> Pair | None:
    """The pair at the first assistant message that differs, over a token history that both share.

    None where they never differ in a decision over the same history (equal samples, or only other white space).

    Args:
        chosen: The better sample.
        rejected: The worse sample of the same task.
        one_decision: End both sides with that message; else keep all that follows, tool output without loss.
    """
    index = _first_divergence(chosen, rejected)
    if index is None:
        return None
    left, right = chosen.turns[index], rejected.turns[index]
    if decision(left) == decision(right):
        return None
    start = left.start
    ends = (left.end, right.end) if one_decision else (len(chosen.token_ids), len(rejected.token_ids))
    sides = [t.token_ids[start:end] for t, end in zip((chosen, rejected), ends, strict=True)]
    masks = [t.sampled_mask[start:end] for t, end in zip((chosen, rejected), ends, strict=True)]
    return Pair(
        pair_id=digest([chosen.group, chosen.token_ids[:start], sides]),
        task_id=chosen.task.task_id,
        reason=reason_of(left, right, chosen.task, later=index > 0),
        margin=margin(chosen, rejected),
        prompt_ids=chosen.token_ids[:start],
        chosen_ids=sides[0],
        rejected_ids=sides[1],
        chosen_mask=masks[0],
        rejected_mask=masks[1],
        chosen_sample=chosen.sample_id,
        rejected_sample=rejected.sample_id,
        chosen_text=describe(left),
        rejected_text=describe(right),
    )


def reason_of(chosen: Turn, rejected: Turn, task: Task | None = None, *, later: bool = False) -> Reason:
    """Why `rejected` is worse than `chosen` at the same point of one history.

    Args:
        chosen: The better message.
        rejected: The worse one.
        task: Its tools and its rule say which arguments are the same.
        later: Calls were made before.
    """
    if not rejected.calls:
        return Reason.NO_CALL if chosen.calls else Reason.WRONG_ANSWER
    if any(c.problem is Status.INVALID_JSON for c in rejected.calls):
        return Reason.INVALID_JSON
    if not chosen.calls:
        return Reason.EXTRA_CALLS if later else Reason.SHOULD_NOT_CALL
    want, made = (Counter(c.name for c in turn.calls) for turn in (chosen, rejected))
    if want != made:
        if want <= made:
            return Reason.EXTRA_CALLS
        return Reason.MISSING_CALLS if made <= want else Reason.WRONG_TOOL
    statuses = {r.status for r in rejected.results}
    if statuses & set(UNREADABLE):
        return Reason.BAD_ARGUMENTS
    if statuses - {Status.OK}:
        return Reason.EXECUTION_FAILED
    return Reason.OTHER if _same_calls(chosen, rejected, task) else Reason.WRONG_ARGUMENTS


def _same_calls(chosen: Turn, rejected: Turn, task: Task | None) -> bool:
    calls = tuple(ExpectedCall(name=c.name, arguments=c.arguments) for c in chosen.calls)
    expected = Expected(calls=calls, rule=task.expected.rule if task else None)
    return match_calls(expected, rejected.calls, task.tools if task else ()).exact


def decision(turn: Turn) -> tuple:
    """What a message decides, without its wording's white space: its calls, else its text."""
    if turn.calls:
        return tuple((c.name, digest(c.arguments), c.raw if c.problem else "") for c in turn.calls)
    return (" ".join(turn.content.split()),)


def describe(turn: Turn) -> str:
    """One line for people: the calls, or the text."""
    calls = " ".join(c.raw or f"{c.name}({c.arguments})" for c in turn.calls)
    return (calls or turn.content)[:300]


def sft_rows(group: Sequence[Trajectory], right: float = FULL_REWARD) -> list[Row]:
    """Rejection sampling: distinct episodes whose reward reaches `right`, loss on sampled tokens alone."""
    good = {t.token_ids: t for t in _ranked(usable(group)) if t.reward >= right}
    return [Row(row_id=t.sample_id, token_ids=ids, mask=t.sampled_mask) for ids, t in good.items()]


def kto_rows(group: Sequence[Trajectory], right: float = FULL_REWARD) -> list[Row]:
    """Every distinct usable episode, labelled by whether its reward reaches `right`.

    Unlike pairs this uses groups that all pass or all fail (KTO, Ethayarajh et al. 2024).
    """
    distinct = {t.token_ids: t for t in _ranked(usable(group))}
    return [
        Row(row_id=t.sample_id, token_ids=ids, mask=t.sampled_mask, label=t.reward >= right)
        for ids, t in distinct.items()
    ]


def grpo_rows(group: Sequence[Trajectory], right: float = FULL_REWARD) -> list[Row]:
    """Every usable episode with its advantage (reward - mean) / (standard deviation + 1e-4) within the group.

    The standard deviation is the sample's (n - 1), as in TRL. A group whose rewards are all alike teaches nothing and
    gives no rows; `right` does not matter here.
    GRPO: Shao et al. 2024, https://arxiv.org/abs/2402.03300, section 4.1.2.
    """
    samples = _ranked(usable(group))
    rewards = [t.reward for t in samples]
    if len(set(rewards)) < 2:
        return []
    mean, spread = statistics.fmean(rewards), statistics.stdev(rewards) + 1e-4
    return [
        Row(row_id=t.sample_id, token_ids=t.token_ids, mask=t.sampled_mask, advantage=(t.reward - mean) / spread)
        for t in samples
    ]


# training.method -> what a group, and the reward from which a sample is right, become; dpo takes pairs instead
ROWS: dict[str, Callable[[Sequence[Trajectory], float], list[Row]]] = {
    "rejection_sft": sft_rows,
    "kto": kto_rows,
    "grpo": grpo_rows,
}


def balance_reasons(pairs: Iterable[Pair]) -> list[Pair]:
    """At most twice as many pairs of any reason as of the median reason, first come kept; order is kept."""
    pairs = list(pairs)
    counts = sorted(Counter(p.reason for p in pairs).values())
    if not counts:
        return []
    most, kept, taken = 2 * counts[len(counts) // 2], [], Counter[Reason]()
    for pair in pairs:
        if taken[pair.reason] < most:
            kept.append(pair)
        taken[pair.reason] += 1
    return kept


def _first_divergence(a: Trajectory, b: Trajectory) -> int | None:
    """Index of the first turn whose tokens differ while everything before is the same token by token."""
    if a.token_ids[: a.prompt_length] != b.token_ids[: b.prompt_length]:
        return None
    for index, (left, right) in enumerate(zip(a.turns, b.turns, strict=False)):
        if left.start != right.start or a.token_ids[: left.start] != b.token_ids[: right.start]:
            return None  # the histories differ in what the tools returned, not in what the model decided
        if a.token_ids[left.start : left.end] != b.token_ids[right.start : right.end]:
            return index
    return None


def _ranked(group: Sequence[Trajectory]) -> list[Trajectory]:
    """Best reward first; equal rewards by sample id, so that the order of arrival never matters."""
    return sorted(group, key=lambda t: (-t.reward, t.sample_id))
