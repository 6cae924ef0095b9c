"""One run: the folder, the actors, and the stages that join them. `loop.py` says in which order.

Every stage reads files and writes files. What is sealed is never sampled again; what is committed is never done again.
"""

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from rayplay.actors.rollout import GroupPlan, plan_group
from rayplay.actors.training import train_policy
from rayplay.alarms import measure_rates, raised
from rayplay.console import Say
from rayplay.data import preference_pairs
from rayplay.data.prepare import read_preferences
from rayplay.dialects import Dialect
from rayplay.errors import AlarmError, ModelError
from rayplay.metrics import grouped, measure, measure_by
from rayplay.pairs import ROWS, as_sample, needs_demonstration, pairs_of
from rayplay.playing import Player
from rayplay.recipe import Optimisation, Pairs, Recipe, Training
from rayplay.records import Adapter, Demonstration, Pair, Row, Task, Trajectory, group_id
from rayplay.store import RunFolder, Stage, read_marked, round_name, write_json, write_lines, write_marked
from rayplay.training.settings import settings_for

RATES = "rates.json"


@dataclass
class Run:
    """Everything that the stages share."""

    recipe: Recipe
    folder: RunFolder
    say: Say
    dialect: Dialect
    model_dir: str
    player: Player
    train_tasks: list[Task] = field(default_factory=list)
    held_out: list[Task] = field(default_factory=list)
    demonstrations: list[Demonstration] = field(default_factory=list)
    benchmark: Callable[[Stage], None] | None = None  # what else is measured wherever the held-out tasks are
    _loaded: str = ""
    _tokens: Counter[str] = field(default_factory=Counter)

    def load(self, adapter: Adapter | None) -> None:
        """Publish weights to the samplers, unless they have them already."""
        wanted = adapter.version if adapter else "base"
        if wanted != self._loaded:
            with self.say.stage("publish", f"weights {wanted}", 1) as bar:
                self.player.pool.load(adapter)
                bar.advance()
            self._loaded = wanted

    def evaluates(self, number: int) -> bool:
        """Whether a round is followed by an evaluation; the last one always is."""
        every = self.recipe.evaluation.every
        return number == self.recipe.training.rounds or bool(every and number % every == 0)

    def take_tokens(self) -> dict[str, int]:
        """Tokens generated and trained since the last call."""
        taken, self._tokens = self._tokens, Counter()
        return {"generated": self.player.take_generated(), **taken}

    def evaluate(self, stage: Stage) -> None:
        """Greedy episodes over the held-out tasks -> evaluation/ and metrics.json."""
        plans = [
            plan_group(self.recipe.seed, f"eval/{task.task_id}", task, samples=1, temperature=0.0, policy=stage.name)
            for task in self.held_out
        ]
        played = self.player.play(stage, plans, "evaluation", f"evaluate {len(plans)} held-out tasks, greedy")
        metrics = {"metrics": measure(played), "by_kind": measure_by("kind", played), "n": len(played)}
        write_json(stage.path / "metrics.json", metrics)
        rate = metrics["metrics"].get("success_rate")
        if rate:
            span = f"[{rate['low']:.2f}, {rate['high']:.2f}]"
            self.say.line(f"{'':<10} success rate {rate['mean']:.2f} {span}, n {rate['n']}")
        if self.benchmark:
            self.benchmark(stage)

    def sample_held_out(self, stage: Stage, samples: int, temperature: float) -> list[Trajectory]:
        """Several samples of every held-out task -> samples-K-TEMPERATURE/."""
        name = f"samples-{samples}-{temperature:g}"
        plans = [
            plan_group(
                self.recipe.seed,
                f"{name}/{task.task_id}",
                task,
                samples=samples,
                temperature=temperature,
                policy=stage.name,
            )
            for task in self.held_out
        ]
        return self.player.play(stage, plans, name, f"{samples} samples of {len(plans)} held-out tasks")

    def plan(self, stage: Stage, number: int, policy: str) -> list[GroupPlan]:
        """The round's groups, written before the first sample. Rounds walk through the tasks without repeating."""
        path = stage.path / "plan.jsonl"
        plans = read_marked(path, GroupPlan)
        if plans is None:
            plans = self._make_plan(number, policy)
            write_marked(path, plans)
        shown = stage.path / "demonstrations.jsonl"
        if self.recipe.pairs.demonstrations != "never" and read_marked(shown, Trajectory) is None:
            write_marked(shown, self._demonstrate(plans))
        return plans

    def _make_plan(self, number: int, policy: str) -> list[GroupPlan]:
        rollout, warm_start = self.recipe.rollout, self.recipe.training.warm_start
        seen = {d.row_id for d in self.demonstrations[: warm_start.demonstrations]} if warm_start else set()
        order = sorted(self.train_tasks, key=lambda task: task.task_id in seen)  # what the warm start has shown is last
        start = (number - 1) * rollout.tasks_per_round
        chosen = [order[(start + i) % len(order)] for i in range(min(rollout.tasks_per_round, len(order)))]
        return [
            plan_group(
                self.recipe.seed,
                group_id(number, task.task_id),
                task,
                samples=rollout.samples_per_task,
                temperature=rollout.temperature,
                policy=policy,
            )
            for task in chosen
        ]

    def _demonstrate(self, plans: list[GroupPlan]) -> list[Trajectory]:
        """What the demonstrations of the planned tasks would be as samples."""
        known = {d.row_id: d for d in self.demonstrations}
        samples = []
        for plan in plans:
            shown = known.get(plan.task.task_id)
            with contextlib.suppress(ModelError):  # a template that cannot say it: that task has no demonstration
                # a message that its author excluded from the loss is no right sample
                if shown is not None and all(m.loss for m in shown.messages):
                    ids, mask = self.dialect.supervise(shown.messages, shown.tools)
                    samples.append(as_sample(plan.group, plan.task, shown, ids, mask))
        return samples

    @contextlib.contextmanager
    def sampling_ahead(self, number: int) -> Iterator[None]:
        """While the block trains on round `number`, sample the rounds that `rollout.staleness` allows after it.

        They are sampled with the weights that are loaded now, so round number + k lags by k rounds. When the block
        ends no further group is begun, and those in flight are awaited: what is missing is sampled in its own round.

        Raises:
            RayplayError: Sampling failed.
        """
        last = min(number + self.recipe.rollout.staleness, self.recipe.training.rounds)
        upcoming = [] if self.recipe.data.preferences else range(number + 1, last + 1)
        stop, failures = threading.Event(), []

        def sample() -> None:
            try:
                for ahead in upcoming:
                    stage = self.folder.stage(round_name(ahead))
                    self.player.play(stage, self.plan(stage, ahead, self._loaded), "trajectories", stop=stop)
            except Exception as error:
                failures.append(error)

        sampling = threading.Thread(target=sample, name="sampling-ahead", daemon=True)
        sampling.start()
        try:
            yield
        except BaseException:
            stop.set()
            sampling.join(1.0)  # the actors are ended next, and it with them
            raise
        stop.set()
        sampling.join()  # bounded by the pool's deadline for a group
        if failures:
            raise failures[0]

    def roll_out(self, stage: Stage, plans: list[GroupPlan]) -> list[Trajectory]:
        """Sampled and scored trajectories of all planned groups, in the order of the plan."""
        episodes = sum(len(plan.seeds) for plan in plans)
        played = self.player.play(stage, plans, "trajectories", f"sample {len(plans)} tasks, {episodes} episodes")
        self._watch(stage, played)
        return played

    def _watch(self, stage: Stage, played: list[Trajectory]) -> None:
        """Keep the round's rates, and say or raise what the recipe wants to hear of them."""
        rates = measure_rates(played, self._loaded)
        write_json(stage.path / RATES, rates)
        earlier = [s.path / RATES for s in self.folder.stages() if (s.path / RATES).is_file() and s.name < stage.name]
        before = json.loads(earlier[-1].read_text(encoding="utf-8")) if earlier else {}
        for name, message in raised(rates, before, self.recipe.alarms).items():
            action = getattr(self.recipe.alarms, name)
            if action == "stop":
                raise AlarmError(f"{stage.name}: {message} (alarms.{name}; {len(played)} samples)")
            if action == "warn":
                self.say.line(f"warning: {stage.name}: {message} (alarms.{name})")

    def lessons(
        self, stage: Stage, trajectories: Iterable[Trajectory], method: str, sampled: Stage | None = None
    ) -> list[Pair] | list[Row]:
        """What a method learns from the samples of all groups: pairs.jsonl or rows.jsonl, from the shards alone.

        Args:
            stage: Where they are written.
            trajectories: Scored samples.
            method: Of the recipe's training section.
            sampled: The stage of the samples, where that is another one.

        Raises:
            AlarmError: They teach nothing.
        """
        groups = grouped(trajectories, lambda t: t.group)
        if method == "dpo":
            return self._pairs(stage, groups, demonstrated(sampled or stage))
        rows = [row for group in groups.values() for row in ROWS[method](group, self.recipe.pairs.right_reward)]
        write_lines(stage.path / "rows.jsonl", rows)
        self.say.line(f"{'':<10} {len(rows)} rows from {len(groups)} groups")
        if not rows:
            raise AlarmError(
                f"{stage.name}: no sample teaches {method} anything: none is right, or all rewards are alike; "
                "raise rollout.temperature or rollout.samples_per_task, lower pairs.right_reward, or give "
                "training.warm_start more demonstrations"
            )
        return rows

    def _pairs(self, stage: Stage, groups: dict[str, list[Trajectory]], shown: dict[str, Trajectory]) -> list[Pair]:
        wanted = self.recipe.pairs
        pairs = pairs_in(shown, groups, wanted)
        write_lines(stage.path / "pairs.jsonl", pairs)
        dead = sum(max(t.reward for t in g) - min(t.reward for t in g) < wanted.min_margin for g in groups.values())
        self.say.line(f"{'':<10} {len(pairs)} pairs from {len(groups)} groups ({dead} without a margin)")
        if not pairs:
            raise AlarmError(
                f"{stage.name}: no pairs: within each group all rewards are alike; raise rollout.temperature or "
                "rollout.samples_per_task, lower pairs.min_margin, or take harder tasks"
            )
        return pairs

    def pair_preferences(self, stage: Stage) -> list[Pair]:
        """The pairs that the data sources hold, as tokens -> pairs.jsonl."""
        recipe = self.recipe
        preferences = read_preferences(recipe.data, recipe.seed)
        pairs, left_out = preference_pairs.pairs_of(
            preferences, self.dialect, recipe.model.max_length, one_decision=recipe.pairs.strategy != "trajectory"
        )
        write_lines(stage.path / "pairs.jsonl", pairs)
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "none"
        self.say.line(f"{'':<10} {len(pairs)} pairs from {len(preferences)} preferences (left out: {why})")
        if not pairs:
            raise AlarmError(f"{stage.name}: no preference fits model.max_length={recipe.model.max_length}; raise it")
        return pairs

    def train(
        self,
        stage: Stage,
        rows: list[Row] | list[Pair],
        start: Adapter | None,
        *,
        training: Training | None = None,
        phase: Optimisation | None = None,
    ) -> Adapter:
        """Train on rows or pairs; the adapter is kept under adapter/.

        Args:
            stage: What the new policy is called after.
            rows: Of the method.
            start: The policy before.
            training: Settings that stand in the place of the recipe's.
            phase: The warm start, which is SFT with an optimisation part of its own.
        """
        training = training or self.recipe.training
        method = "sft" if phase else training.method
        settings = settings_for(training, self.recipe.model, self.recipe.seed, phase)
        steps = settings.max_steps or max(1, round(-(-len(rows) // settings.batch_size) * settings.num_epochs))
        what = f"train {method} on {len(rows)} {'rows' if rows and isinstance(rows[0], Row) else 'pairs'}"
        with self.say.stage(f"{stage.name}/train", what, steps) as bar:
            outcome = train_policy(
                model_dir=self.model_dir,
                rows=rows,
                method=method,
                settings=settings,
                start=start,
                version=stage.name,
                storage_dir=str((stage.path / "training").absolute()),
                num_workers=training.num_workers,
                cpus_per_worker=training.cpus_per_worker,
                gpus_per_worker=training.gpus_per_worker,
                max_failures=training.max_failures,
                on_step=lambda step: bar.advance(note=f"loss {step['loss']:.3f}" if "loss" in step else ""),
            )
        self._tokens["trained"] += outcome.raw_tokens
        self._tokens["trained_unique"] += outcome.unique_tokens
        stage.write_adapter(outcome.adapter)
        write_json(stage.path / "training.json", outcome.model_dump(mode="json", exclude={"adapter"}))
        return outcome.adapter

    def demonstration_rows(self, count: int) -> list[Row]:
        """The first demonstrations as token rows with loss on what the assistant writes.

        Raises:
            ModelError: The model's chat template refuses them all.
        """
        rows, refused = [], []
        for demonstration in self.demonstrations[:count]:
            try:
                ids, mask = self.dialect.supervise(demonstration.messages, demonstration.tools)
            except ModelError as error:
                refused.append(error)
                continue
            rows.append(Row(row_id=demonstration.row_id, token_ids=tuple(ids), mask=tuple(mask)))
        if refused and not rows:
            raise refused[0]
        if refused:
            self.say.line(f"{'':<10} {len(refused)} demonstrations left out; the first: {refused[0]}")
        return rows


def demonstrated(stage: Stage) -> dict[str, Trajectory]:
    """The demonstrations that a round's groups may get as one more sample, by group."""
    return {t.group: t for t in read_marked(stage.path / "demonstrations.jsonl", Trajectory) or ()}


def pairs_in(shown: dict[str, Trajectory], groups: dict[str, list[Trajectory]], wanted: Pairs) -> list[Pair]:
    """Pairs of a round's groups, with the demonstrations `shown` where the recipe wants them."""
    samples = [
        [*group, shown[name]]
        if name in shown and needs_demonstration(group, wanted.demonstrations, wanted.min_margin, wanted.right_reward)
        else group
        for name, group in groups.items()
    ]
    return pairs_of(samples, wanted.strategy, wanted.min_margin, wanted.max_per_task, balance=wanted.balance_reasons)
