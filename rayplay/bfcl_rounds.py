"""A stage's policy -> official BFCL verdicts on a subset, inside the loop: the rollout workers sample, BFCL judges.

Cheaper than `rayplay evaluate --bfcl`, since no server is started; for watching a run, not for publishing: prompts and
bounds are those of the recipe's rollouts, so numbers differ a little from those of the official handler.
"""

from collections.abc import Iterable

from rayplay.actors.rollout import plan_group
from rayplay.data.contamination import overlaps
from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl import accuracy_table, choose_cases, read_cases, read_facts, resolve_categories
from rayplay.evaluation.bfcl_scorer import OfficialScorer, bfcl_tasks
from rayplay.records import Task, Trajectory
from rayplay.run import Run
from rayplay.store import Stage, write_json


def check_bfcl(names: Iterable[str]) -> None:
    """Raises EvaluationError where a category is unknown, has several turns, or BFCL's environment cannot be made."""
    categories = resolve_categories(names, read_facts())
    several = [category for category in categories if category.startswith("multi_turn")]
    if several:
        raise EvaluationError(
            f"evaluation.bfcl: {', '.join(several)} takes several turns, which a run does not play; leave it out and "
            f"measure it afterwards with `rayplay evaluate --model-path RUN --bfcl {several[0]}`"
        )


class BfclRounds:
    """The subset that a recipe names, and the process that judges it, for as long as the run goes on."""

    def __init__(self, run: Run) -> None:
        wanted = run.recipe.evaluation
        folder = run.folder.path / "bfcl"
        facts = read_facts()
        chosen = choose_cases(facts, resolve_categories(wanted.bfcl, facts), wanted.bfcl_limit, run.recipe.seed)
        self._run = run
        self._tasks: list[Task] = bfcl_tasks(read_cases(chosen))
        self._warn()
        self._scorer = OfficialScorer(folder)

    def score(self, stage: Stage) -> None:
        """Sample what this stage has not sealed yet, judge all of it, and write bfcl.json."""
        played = {t.task.task_id: t for t in stage.sealed(Trajectory, "bfcl")}
        seed = self._run.recipe.seed
        plans = [
            plan_group(seed, f"bfcl/{task.task_id}", task, samples=1, temperature=0.0, policy=stage.name)
            for task in self._tasks
            if task.task_id not in played
        ]
        if plans:
            with self._run.say.stage(f"{stage.name}/bfcl", f"{len(plans)} BFCL cases, greedy", len(plans)) as bar:
                fresh: list[Trajectory] = []
                for result in self._run.player.pool.play(plans):
                    fresh += result.trajectories
                    bar.advance()
                stage.seal(fresh, "bfcl")
                played |= {t.task.task_id: t for t in fresh}
        table = accuracy_table(self._scorer.score(played.values(), stage.name))
        write_json(stage.path / "bfcl.json", {category: rows[stage.name] for category, rows in table.items()})
        for category, rows in table.items():
            row = rows[stage.name]
            span = f"({row['low']:.2f}-{row['high']:.2f})"
            self._run.say.line(f"{'':<10} BFCL {category} {row['accuracy']:.2f} {span}, n {row['n']}")

    def close(self) -> None:
        """End the judging process."""
        self._scorer.close()

    def _warn(self) -> None:
        learned = ((t.task_id, m.content) for t in self._run.train_tasks for m in t.messages if m.role == "user")
        seen = [o.train_id for o in overlaps(((t.task_id, t.messages[-1].content) for t in self._tasks), learned)]
        if seen:
            self._run.say.line(f"warning: {len(seen)} BFCL questions resemble training tasks: {', '.join(seen[:6])}")
