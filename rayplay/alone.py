"""One stage at a time: sample without training, score old trajectories anew, pair what is there, and explain it.

Each reads the run folder and writes into it, so that a stage can be looked at, run on other machines, or run again.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import fmean, median
from typing import Protocol, TypeVar

from pydantic import BaseModel

from rayplay.console import Say
from rayplay.errors import RunFolderError
from rayplay.judge import Judge
from rayplay.metrics import grouped
from rayplay.opening import open_run
from rayplay.pairs import balance_reasons
from rayplay.recipe import JudgeSettings, Pairs, Recipe
from rayplay.records import Json, Pair, Record, Trajectory
from rayplay.rewards import find_rewards, score
from rayplay.run import demonstrated, pairs_in
from rayplay.store import (
    PAIRED_AGAIN,
    RESCORED,
    RunFolder,
    Stage,
    read_lines,
    read_marked,
    round_name,
    stage_order,
    write_lines,
)

R = TypeVar("R", bound=BaseModel)


class OverShards(Protocol):
    """Applies a function to every shard and gives the records of all, in order."""

    def __call__(self, work: Callable[[Path], Iterable[R]], shards: Iterable[Path], kind: type[R]) -> Iterator[R]:
        """The records of all shards."""


def roll_out(recipe: Recipe, folder: RunFolder, say: Say, number: int = 1) -> Stage:
    """Sample the trajectories of one round from the newest committed policy; nothing is trained."""
    stage = folder.stage(round_name(number))
    with open_run(recipe, folder, say) as run:
        earlier = [s for s in folder.stages() if stage_order(s.name) < stage_order(stage.name)]
        policy = next((p for s in reversed(earlier) if (p := s.read_adapter()) is not None), None)
        run.load(policy)
        run.roll_out(stage, run.plan(stage, number, policy.version if policy else "base"))
    return stage


class GroupPairs(Record):
    """The pairs of one group, and whether all its rewards are alike."""

    dead: bool
    pairs: tuple[Pair, ...]


def one_by_one(work: Callable[[Path], Iterable[R]], shards: Iterable[Path], kind: type[R]) -> Iterator[R]:
    """`work` of every shard in this process; `rayplay.actors.shards.over_shards` does the same on all cores."""
    for shard in shards:
        yield from work(shard)


def score_again(
    folder: RunFolder, weights: dict[str, float], judge: JudgeSettings | None = None, each: OverShards = one_by_one
) -> dict[str, Json]:
    """New rewards over all sealed trajectories, beside the old ones: STAGE/rescored.jsonl and its means.

    Args:
        folder: A run.
        weights: Rewards by name.
        judge: The recipe's judge, where `weights` names it.
        each: Goes over the shards: here, or spread over a cluster.
    """
    cache = folder.path.absolute() / "judge.jsonl"
    find_rewards(weights, Judge(judge, cache) if judge else None)
    found = {}
    for stage in rounds_with_trajectories(folder):
        work = functools.partial(_score_shard, weights=weights, judge=judge, cache=cache)
        scored = list(each(work, stage.shards(), Trajectory))
        write_lines(stage.path / RESCORED, scored)
        graded = {name: [t.rewards[name] for t in scored if name in t.rewards] for name in weights}
        parts = {name: fmean(values) for name, values in graded.items() if values}
        found[stage.name] = {"n": len(scored), "reward": fmean(t.reward for t in scored), "parts": parts}
    return found


def _score_shard(
    shard: Path, *, weights: dict[str, float], judge: JudgeSettings | None, cache: Path
) -> list[Trajectory]:
    grader = Judge(judge, cache) if judge else None
    samples = read_marked(shard, Trajectory) or []
    if grader:
        grader.prepare(samples)
    rewards = find_rewards(weights, grader)
    return [score(t, weights, rewards) for t in samples]


def pair_again(
    folder: RunFolder, wanted: Pairs, *, rescored: bool = False, write: bool = True, each: OverShards = one_by_one
) -> Json:
    """Pairs of every round's sealed trajectories, and what they are made of: STAGE/paired_again.jsonl.

    The pairs that a round was, or will be, trained on stay as they are.

    Args:
        folder: A run.
        wanted: How to pair.
        rescored: By the rewards that `score_again` gave, not those of the run; demonstrations, which it does not
            score, are left out.
        write: Whether to write the pairs.
        each: Goes over the shards: here, or spread over a cluster.

    Returns:
        {"groups", "dead_groups", "pairs", "by_reason", "margins": {"min", "median", "max"}, "rounds": {name: pairs}}

    Raises:
        RunFolderError: Nothing has been sampled, or a round has not been scored again.
    """
    groups = dead = 0
    reasons: Counter[str] = Counter()
    margins: list[float] = []
    rounds = {}
    for stage in rounds_with_trajectories(folder):
        shards = [scored_again(stage)] if rescored else stage.shards()
        found = list(each(functools.partial(_pair_shard, wanted=wanted, rescored=rescored), shards, GroupPairs))
        pairs = [pair for group in found for pair in group.pairs]
        if wanted.balance_reasons:
            pairs = balance_reasons(pairs)
        if write:
            write_lines(stage.path / PAIRED_AGAIN, pairs)
        groups += len(found)
        dead += sum(group.dead for group in found)
        reasons.update(pair.reason.value for pair in pairs)
        margins += [pair.margin for pair in pairs]
        rounds[stage.name] = len(pairs)
    spread = {"min": min(margins), "median": median(margins), "max": max(margins)} if margins else {}
    return {
        "groups": groups,
        "dead_groups": dead,
        "pairs": len(margins),
        "by_reason": dict(reasons.most_common()),
        "margins": spread,
        "rounds": rounds,
    }


def _pair_shard(shard: Path, *, wanted: Pairs, rescored: bool) -> list[GroupPairs]:
    unwanted = rescored or wanted.demonstrations == "never"
    shown = {} if unwanted else demonstrated(Stage(shard.parents[1]))
    samples = read_lines(shard, Trajectory) if rescored else read_marked(shard, Trajectory) or ()
    alone = wanted.model_copy(update={"balance_reasons": False})  # balanced over all shards, not within one
    found = []
    for name, group in grouped(samples, lambda t: t.group).items():
        dead = max(t.reward for t in group) == min(t.reward for t in group)
        found.append(GroupPairs(dead=dead, pairs=tuple(pairs_in(shown, {name: group}, alone))))
    return found


def scored_again(stage: Stage) -> Path:
    """The trajectories of a round under other rewards.

    Raises:
        RunFolderError: There are none.
    """
    path = stage.path / RESCORED
    if not path.is_file():
        raise RunFolderError(f"{path} is not there; `rayplay score RUN --reward NAME=WEIGHT` writes it")
    return path


def rounds_with_trajectories(folder: RunFolder) -> list[Stage]:
    """Rounds that have sealed trajectories, first to last.

    Raises:
        RunFolderError: There is none.
    """
    paths = sorted(p.parent for p in Path(folder.path).glob("round-*/trajectories"))
    if not paths:
        raise RunFolderError(f"{folder.path} has no sampled rounds; `rayplay rollout CONFIG` makes one")
    return [Stage(path) for path in paths]
