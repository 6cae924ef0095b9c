"""One stage at a time: sample without training, score old trajectories anew, pair what is there, and explain it.

Each reads the run folder and writes into it, so that a stage can be looked at, run on other machines, or run again.
"""

from collections import Counter
from pathlib import Path
from statistics import median

from rayplay.console import Say
from rayplay.errors import RunFolderError
from rayplay.metrics import grouped
from rayplay.opening import open_run
from rayplay.recipe import Pairs, Recipe
from rayplay.records import Json, Trajectory
from rayplay.rewards import find_rewards, score
from rayplay.run import pairs_in
from rayplay.store import RunFolder, Stage, round_name, stage_order, write_lines


def roll_out(recipe: Recipe, folder: RunFolder, say: Say, number: int = 1) -> Stage:
    """Sample the trajectories of one round from the newest committed policy; nothing is trained."""
    stage = folder.stage(round_name(number))
    with open_run(recipe, folder, say) as run:
        earlier = [s for s in folder.stages() if stage_order(s.name) < stage_order(stage.name)]
        policy = next((p for s in reversed(earlier) if (p := s.read_adapter()) is not None), None)
        run.load(policy)
        run.roll_out(stage, run.plan(stage, number, policy.version if policy else "base"))
    return stage


def score_again(folder: RunFolder, weights: dict[str, float]) -> dict[str, Json]:
    """New rewards over all sealed trajectories, beside the old ones: STAGE/rescored.jsonl and its means."""
    rewards = find_rewards(weights)
    found = {}
    for stage in rounds_with_trajectories(folder):
        scored = [score(t, weights, rewards) for t in stage.sealed(Trajectory)]
        write_lines(stage.path / "rescored.jsonl", scored)
        parts = {name: sum(t.rewards[name] for t in scored) / len(scored) for name in weights}
        found[stage.name] = {"n": len(scored), "reward": sum(t.reward for t in scored) / len(scored), "parts": parts}
    return found


def pair_again(folder: RunFolder, wanted: Pairs, *, write: bool = True) -> Json:
    """Pairs of every round's sealed trajectories, and what they are made of.

    A committed round keeps the pairs that it was trained on; other rounds get pairs.jsonl.

    Returns:
        {"groups", "dead_groups", "pairs", "by_reason", "margins": {"min", "median", "max"}, "rounds": {name: pairs}}
    """
    groups = dead = 0
    reasons: Counter[str] = Counter()
    margins: list[float] = []
    rounds = {}
    for stage in rounds_with_trajectories(folder):
        by_group = grouped(stage.sealed(Trajectory), lambda t: t.group)
        pairs = pairs_in(stage, by_group, wanted)
        if write and not stage.committed:
            write_lines(stage.path / "pairs.jsonl", pairs)
        groups += len(by_group)
        dead += sum(max(t.reward for t in g) == min(t.reward for t in g) for g in by_group.values())
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


def rounds_with_trajectories(folder: RunFolder) -> list[Stage]:
    """Rounds that have sealed trajectories, first to last.

    Raises:
        RunFolderError: There is none.
    """
    paths = sorted(p.parent for p in Path(folder.path).glob("round-*/trajectories"))
    if not paths:
        raise RunFolderError(f"{folder.path} has no sampled rounds; `rayplay rollout CONFIG` makes one")
    return [Stage(path) for path in paths]
