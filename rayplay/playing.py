"""Planned groups -> their trajectories, played, scored and sealed. What is sealed is never sampled again."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rayplay.actors.pool import GroupResult, RolloutPool
from rayplay.actors.rollout import GroupPlan
from rayplay.console import Say
from rayplay.errors import AlarmError
from rayplay.judge import Judge
from rayplay.recipe import Recipe
from rayplay.records import Record, StopReason, Trajectory
from rayplay.rewards import find_rewards, score
from rayplay.store import Stage

SHARD_GROUPS = 8  # groups of one shard: what a kill can lose at most, per worker


class Quarantined(Record):
    """A group that was given up, and why."""

    group: str
    reason: str


@dataclass
class Player:
    """The rollout workers, and what scores what they sample."""

    pool: RolloutPool
    weights: Mapping[str, float]  # of the rewards
    judge: Judge | None
    say: Say
    _generated: int = 0

    def take_generated(self) -> int:
        """Tokens sampled since the last call."""
        taken, self._generated = self._generated, 0
        return taken

    def play(
        self, stage: Stage, plans: list[GroupPlan], into: str, what: str = "", stop: threading.Event | None = None
    ) -> list[Trajectory]:
        """Play what is not sealed yet, seal it in shards, and return all in the order of the plans.

        With `stop` it works in the background: without a bar, and some groups may be missing in the end.
        """
        played = {t.sample_id: t for t in stage.sealed(Trajectory, into)}
        given_up = {q.group for q in stage.sealed(Quarantined, f"{into}-quarantined")}
        have = {t.group for t in played.values()} | given_up
        missing = [plan for plan in plans if plan.group not in have]
        if missing and stop is not None:
            self._seal_as_they_come(stage, self.pool.play(missing, stop), into, lambda: None, played)
        elif missing:
            with self.say.stage(f"{stage.name}/{into}", what, len(plans)) as bar:
                bar.advance(len(plans) - len(missing))
                self._seal_as_they_come(stage, self.pool.play(missing), into, bar.advance, played)
        if stop is None:
            self._check_losses(stage, into, len(plans))
        planned = (f"{plan.group}/{k}" for plan in plans for k in range(len(plan.seeds)))
        return [played[sample] for sample in planned if sample in played]

    def _check_losses(self, stage: Stage, into: str, planned: int) -> None:
        """Say how many groups were given up; a stage that lost them all must not look like a result."""
        lost = stage.sealed(Quarantined, f"{into}-quarantined")
        if len(lost) == planned:
            raise AlarmError(f"{stage.name}: all {planned} groups were given up: {lost[0].reason}; see the run's logs/")
        if lost:
            self.say.line(f"{'':<10} {len(lost)} of {planned} groups were given up, the first because {lost[0].reason}")

    def _seal_as_they_come(
        self,
        stage: Stage,
        results: Iterable[GroupResult],
        into: str,
        advance: Callable[[], None],
        played: dict[str, Trajectory],
    ) -> None:
        rewards = find_rewards(self.weights, self.judge)
        buffer: list[Trajectory] = []
        groups = 0
        sealed = {t.group for t in played.values()}
        doubled = 0
        for result in results:
            if result.plan.group in sealed:  # the first result of a group counts
                doubled += 1
                continue
            sealed.add(result.plan.group)
            advance()
            reason = result.quarantined or _never_fitted(result.trajectories)
            if reason:
                stage.seal([Quarantined(group=result.plan.group, reason=reason)], f"{into}-quarantined")
                continue
            if self.judge:
                self.judge.prepare(result.trajectories)
            buffer += [score(t, self.weights, rewards) for t in result.trajectories]
            groups += 1
            if groups >= SHARD_GROUPS:
                self._seal(stage, buffer, into, played)
                buffer, groups = [], 0
        self._seal(stage, buffer, into, played)
        if doubled:
            self.say.line(f"{'':<10} {doubled} groups came a second time and were dropped")
        if self.judge and self.judge.failures:
            self.say.line(f"{'':<10} warning: the judge gave no grade for {self.judge.failures} answers so far")

    def _seal(self, stage: Stage, scored: list[Trajectory], into: str, played: dict[str, Trajectory]) -> None:
        if scored:
            self._generated += sum(sum(t.sampled_mask) for t in scored)
            stage.seal(scored, into)
            played.update({t.sample_id: t for t in scored})


def judge_of(recipe: Recipe, folder: Path) -> Judge | None:
    """The recipe's judge, which remembers in the run folder what it has graded; None where no reward asks for it."""
    wanted = recipe.judge and "judge" in recipe.rewards
    return Judge(recipe.judge, folder / "judge.jsonl") if wanted else None


def _never_fitted(group: list[Trajectory]) -> str:
    """Why a group could not be sampled at all; "" where it could."""
    if any(t.turns or t.stop_reason is not StopReason.PROMPT_TOO_LONG for t in group):
        return ""
    return f"the prompt has {group[0].prompt_length} tokens, no room for an answer; raise model.max_length"
