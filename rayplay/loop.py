"""The whole game on one screen: sample, execute, score, pair, train, publish, measure; again.

Run it a second time and it goes on where it stopped; run it a third time and it says that it is done.
"""

import functools
import time

from rayplay.console import Say
from rayplay.opening import open_run
from rayplay.recipe import Recipe, Training, WarmStart
from rayplay.records import Adapter, Pair, Row, Trajectory
from rayplay.report import print_table, write_report
from rayplay.run import Run
from rayplay.store import RunFolder, Stage, round_name


def train(recipe: Recipe, folder: RunFolder, say: Say) -> None:
    """Carry a recipe out in a run folder, from wherever that folder stands."""
    if is_complete(recipe, folder):
        say.line(f"{folder.path} is complete: nothing to do. Its report:")
        print_table(folder, say)
        return
    with open_run(recipe, folder, say) as run:
        measure_base(run)
        policy = warm_start(run)
        if recipe.training.compare:
            compare_methods(run, policy)
        for number in range(1, rounds_of(recipe) + 1):
            policy = play_round(run, number, policy)
        write_report(run)
    print_table(folder, say)


def measure_base(run: Run) -> None:
    """How good is the model before it learns anything?"""
    stage = run.folder.stage("base")
    if not stage.committed:
        run.load(None)
        commit(run, stage, lambda: run.evaluate(stage))


def warm_start(run: Run) -> Adapter | None:
    """SFT on demonstrations, so that there are tool calls to compare at all."""
    training = run.recipe.training
    phase = training.warm_start or (training if training.method in ("sft", "teacher_mode") else None)
    if phase is None:
        return None
    stage = run.folder.stage("sft")
    if not stage.committed:
        count = phase.demonstrations if isinstance(phase, WarmStart) else len(run.demonstrations)

        def teach() -> None:
            adapter = stage.read_adapter() or run.train(stage, run.demonstration_rows(count), None, phase=phase)
            run.load(adapter)
            run.evaluate(stage)

        commit(run, stage, teach)
    return stage.read_adapter()


def play_round(run: Run, number: int, policy: Adapter | None) -> Adapter:
    """One round: what the policy does, and what its better samples have over its worse ones, becomes the next policy.

    The reference of the preference loss is the policy before the round.
    """
    stage = run.folder.stage(round_name(number))
    if not stage.committed:

        def learn() -> None:
            lessons = lessons_of(run, stage, number, policy)
            adapter = stage.read_adapter()
            if adapter is None:
                with run.sampling_ahead(number):
                    adapter = run.train(stage, lessons, policy)
            run.load(adapter)
            if run.evaluates(number):
                run.evaluate(stage)

        commit(run, stage, learn)
    return stage.read_adapter()


def lessons_of(run: Run, stage: Stage, number: int, policy: Adapter | None) -> list[Pair] | list[Row]:
    """What a round trains on: pairs of the data sources, or what the policy's own samples give."""
    if run.recipe.data.preferences:
        return run.pair_preferences(stage)
    return run.lessons(stage, sample_round(run, stage, number, policy), run.recipe.training.method)


def sample_round(run: Run, stage: Stage, number: int, policy: Adapter | None) -> list[Trajectory]:
    """The scored samples of a round's tasks."""
    run.load(policy)
    return run.roll_out(stage, run.plan(stage, number, policy.version if policy else "base"))


def compare_methods(run: Run, policy: Adapter | None) -> None:
    """One log, several objectives: every method learns from the same samples, starts from the same policy."""
    log = run.folder.stage(round_name(1))
    if not log.committed:
        commit(run, log, lambda: sample_round(run, log, 1, policy))
    samples = log.sealed(Trajectory)
    for method, training in run.recipe.training.compared().items():
        stage = run.folder.stage(method_name(method))
        if not stage.committed:
            commit(run, stage, functools.partial(learn_by, run, stage, log, samples, training, policy))


def learn_by(
    run: Run, stage: Stage, log: Stage, samples: list[Trajectory], training: Training, policy: Adapter | None
) -> None:
    """One of the compared methods: its lessons, its weights, how good they are."""
    lessons = run.lessons(stage, samples, training.method, log)
    run.load(stage.read_adapter() or run.train(stage, lessons, policy, training=training))
    run.evaluate(stage)


def method_name(method: str) -> str:
    """Stage of a compared method."""
    return f"{round_name(1)}-{method}"


def commit(run: Run, stage: Stage, work) -> None:
    """Do a stage's work, then declare it done."""
    started = time.monotonic()
    work()
    stage.commit(
        recipe=run.recipe.hash(),
        seconds=time.monotonic() - started,
        parts=run.say.take_seconds(stage.name),
        tokens=run.take_tokens(),
    )


def rounds_of(recipe: Recipe) -> int:
    """Rounds of a recipe that follow each other; learning from demonstrations alone has none."""
    alone = recipe.training.compare or recipe.training.method in ("sft", "teacher_mode")
    return 0 if alone else recipe.training.rounds


def last_stages(recipe: Recipe) -> set[str]:
    """The stages that end a run."""
    if recipe.training.compare:
        return {method_name(method) for method in recipe.training.compare}
    return {round_name(rounds_of(recipe)) if rounds_of(recipe) else "sft"}


def is_complete(recipe: Recipe, folder: RunFolder) -> bool:
    """Whether every stage is committed, intact, and reported."""
    if not all((folder.path / name).is_file() for name in ("report.json", "report.html")) or not folder.started:
        return False
    if folder.manifest().get("recipe_hash") != recipe.hash():
        return False
    stages = folder.stages()
    done = {stage.name for stage in stages if not stage.damaged()}
    return len(done) == len(stages) and last_stages(recipe) <= done
