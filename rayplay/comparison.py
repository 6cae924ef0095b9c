"""Policies -> how good each is, on tasks of our own and on BFCL: one engine, one handler, one checker for all of them.

What was sampled is kept and never sampled again: the same command with the same folder measures it anew.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from rayplay.actors.cluster import open_cluster
from rayplay.actors.pool import RolloutPool
from rayplay.actors.server import ServerSettings, serve_model
from rayplay.checking import check
from rayplay.console import Say
from rayplay.data.contamination import overlaps
from rayplay.errors import RunFolderError
from rayplay.evaluation.bfcl import (
    Contestant,
    Facts,
    Verdict,
    choose_cases,
    is_answered,
    keep_verdicts,
    official_run,
    read_cases,
    read_facts,
    resolve_categories,
)
from rayplay.evaluation.bfcl_endpoint import Endpoint
from rayplay.evaluation.bfcl_settings import BfclSettings
from rayplay.evaluation.official import changes, compare, table_of_repeats
from rayplay.evaluation.subjects import Subject
from rayplay.metrics import GROUPINGS, counted, measure, measure_by, pass_rates
from rayplay.opening import load_or_make_tasks, open_recipe_cluster, pool_settings, start_tool_actors, teacher_loader
from rayplay.playing import Player, judge_of
from rayplay.recipe import Evaluation, Recipe
from rayplay.records import Demonstration, Json, Task, Trajectory
from rayplay.rewards import success
from rayplay.run import Run
from rayplay.store import PRIVATE_FOLDER, RunFolder, read_lines

NOBODY = Endpoint("http://127.0.0.1:9/v1", "none")  # listens there: nothing is left to be asked


class Questions(NamedTuple):
    """What is asked of BFCL: its facts, and the chosen ids by category."""

    facts: Facts
    chosen: dict[str, list[str]]


def choose_questions(settings: BfclSettings) -> Questions:
    """The random subset that the settings mean.

    Raises:
        EvaluationError: A category is unknown, or BFCL's environment cannot be made.
    """
    facts = read_facts()
    categories = resolve_categories(settings.categories, facts)
    return Questions(facts, choose_cases(facts, categories, settings.limit, settings.seed))


def measure_bfcl(
    subjects: list[Subject],
    questions: Questions,
    folder: Path,
    settings: BfclSettings,
    say: Say,
    system_prompt: str | None = None,
) -> Json:
    """{"bfcl": {category: {label: accuracy, interval, n}}, "bfcl_changes", "data"}.

    Policies on one base model are served by one engine; another base gets an engine of its own, one after the other.
    `system_prompt` is the recipe's, for conversations that bring none.
    """
    facts, chosen = questions
    if not any("irrelevance" in category for category in chosen):
        say.line("irrelevance is not among the categories: a model that always calls looks better than it is")
    folders = [folder / ("bfcl" if k == 0 else f"bfcl-repeat-{k + 1}") for k in range(settings.repeats)]
    repeats: list[list[Verdict]] = [[] for _ in folders]
    groups = _by(lambda subject: subject.weights_dir, subjects)
    done = [all(is_answered(f, chosen, _contestant(s)) for f in folders for s in group) for group in groups]
    with nullcontext() if all(done) else open_cluster():
        for group, answered in zip(groups, done, strict=True):
            if not answered:
                say.line("vLLM's server starts (about a minute on CPU)")
            server = _server(group, folder, settings, system_prompt)
            with nullcontext(NOBODY) if answered else serve_model(server) as endpoint:
                for kept, into in zip(folders, repeats, strict=True):
                    into += _ask(group, kept, chosen, endpoint, settings, say)
    for kept, verdicts in zip(folders, repeats, strict=True):
        keep_verdicts(kept, chosen, verdicts)
        names = {_contestant(s).name: s.label for s in subjects}
        (kept / "models.json").write_text(json.dumps(names, indent=2) + "\n")
    result: Json = {"bfcl": table_of_repeats(repeats), "data": _pinned(facts, settings)}
    if len(subjects) > 1:
        result["bfcl_changes"] = changes(repeats, subjects[0].label, subjects[-1].label)
    return result


def seen_in_training(runs: Iterable[str], asked: Iterable[tuple[str, str]]) -> list[str]:
    """Ids of the (id, text) asked that resemble what one of these runs was trained on (see `overlaps`)."""
    return [overlap.train_id for overlap in overlaps(asked, (text for run in runs for text in _trained_on(Path(run))))]


def texts_of(chosen: dict[str, list[str]]) -> list[tuple[str, str]]:
    """BFCL's questions as (id, text)."""
    return [(c["id"], " ".join(m["content"] for turn in c["turns"] for m in turn)) for c in read_cases(chosen)]


def _trained_on(run: Path) -> Iterator[tuple[str, str]]:
    for name, kind in (("train", Task), ("demonstrations", Demonstration)):
        path = run / "tasks" / f"{name}.jsonl"
        for row in read_lines(path, kind) if path.is_file() else ():
            yield from ((row.origin, m.content) for m in row.messages if m.role == "user")


def played_by(recipe: Recipe, model_dir: str) -> Recipe:
    """The recipe with another model in its place, and no benchmark of its own."""
    model = recipe.model.model_copy(update={"name": model_dir, "revision": None})
    return recipe.model_copy(update={"model": model, "evaluation": Evaluation()})


def measure_own(
    subjects: list[Subject],
    recipe: Recipe,
    folder: Path,
    say: Say,
    *,
    run_folder: str = "",
    tasks: Sequence[Task] = (),
    samples: int = 1,
    temperature: float = 1.0,
) -> tuple[Json, dict[str, list[Trajectory]]]:
    """Own metrics of every policy over the same tasks, greedy, and the trajectories behind them.

    Args:
        subjects: The policies; an engine for each model that they rest on, one after the other.
        recipe: Gives tools, limits, sandbox and, without `tasks`, the held-out tasks.
        folder: Where what is sampled here is kept.
        say: For progress.
        run_folder: The run whose held-out tasks and sealed evaluations are used, where the tasks are its own.
        tasks: Other tasks.
        samples: Of each task, beside the greedy one: more than one give pass@k.
        temperature: Of those.
    """
    played = _sealed_evaluations(subjects, RunFolder(run_folder)) if run_folder else {}
    tries: dict[str, list[Trajectory]] = {}
    missing = [subject for subject in subjects if subject.label not in played or samples > 1]
    for group in _by(lambda subject: subject.model_dir, missing):
        with _opened(group[0].model_dir, recipe, folder, RunFolder(run_folder or folder), tasks, say) as run:
            for subject in group:
                run.load(subject.adapter())
                stage = run.folder.stage(subject.label)
                if subject.label not in played:
                    run.evaluate(stage)
                    wanted = {task.task_id for task in run.held_out}
                    sealed = stage.sealed(Trajectory, "evaluation")
                    played[subject.label] = [t for t in sealed if t.task.task_id in wanted]
                if samples > 1:
                    tries[subject.label] = run.sample_held_out(stage, samples, temperature)
    ordered = {subject.label: played[subject.label] for subject in subjects}
    table: Json = {label: _measured(t, tries.get(label, ())) for label, t in ordered.items()}
    result: Json = {"own": table}
    if len(subjects) > 1:
        first, last = subjects[0].label, subjects[-1].label
        old, new = ({t.task.task_id: success(t) == 1.0 for t in counted(ordered[label])} for label in (first, last))
        both = [task for task in old if task in new]
        result["own_changes"] = {"from": first, "to": last} | compare([old[t] for t in both], [new[t] for t in both])
    return result, ordered


def _measured(greedy: list[Trajectory], tries: Iterable[Trajectory]) -> Json:
    judged = counted(greedy)
    return {
        "metrics": measure(judged) | pass_rates(tries),
        **{f"by_{grouping}": measure_by(grouping, judged) for grouping in GROUPINGS},
        "n": len(judged),
        "unavailable": len(greedy) - len(judged),
    }


def _ask(
    group: list[Subject],
    folder: Path,
    chosen: dict[str, list[str]],
    endpoint: Endpoint,
    settings: BfclSettings,
    say: Say,
) -> list[Verdict]:
    contestants = [_contestant(subject) for subject in group]
    total = sum(map(len, chosen.values())) * len(group)
    with say.stage("bfcl", f"{total} answers of {', '.join(s.label for s in group)}", total) as bar:
        seen = 0

        def progress(answers: int) -> None:
            nonlocal seen
            bar.advance(max(0, answers - seen))
            seen = max(answers, seen)

        return official_run(
            folder,
            chosen,
            contestants,
            endpoint,
            threads=settings.max_in_flight,
            temperature=settings.temperature,
            progress=progress,
        )


def _contestant(subject: Subject) -> Contestant:
    return Contestant(subject.label, subject.label)


def _server(group: list[Subject], folder: Path, settings: BfclSettings, system_prompt: str | None) -> ServerSettings:
    plain = [subject.label for subject in group if not subject.lora_dir]
    return ServerSettings(
        model_dir=group[0].model_dir,
        weights_dir=group[0].weights_dir,
        log_path=str((folder / "server.log").absolute()),
        base_name=plain[0] if plain else "base",
        adapters=tuple((subject.label, subject.lora_dir) for subject in group if subject.lora_dir),
        max_new_tokens=settings.max_new_tokens,
        max_in_flight=settings.max_in_flight,
        **({} if system_prompt is None else {"system_prompt": system_prompt}),
    )


@contextmanager
def _opened(
    model_dir: str, recipe: Recipe, folder: Path, tasks_folder: RunFolder, tasks: Sequence[Task], say: Say
) -> Iterator[Run]:
    """A run below `folder` that only evaluates; what an earlier one sealed there is not sampled again."""
    recipe = played_by(recipe, model_dir)
    found, specs, dialect = check(recipe)
    kept = RunFolder(folder / "own")
    logs = kept.path / "logs"
    logs.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    with ExitStack() as stack:
        with say.stage("start", "Ray, tool actors and an engine", 1):
            stack.enter_context(open_recipe_cluster(recipe))
            tools = start_tool_actors(recipe)
            pool = RolloutPool(*pool_settings(recipe, found), tools, str(logs.absolute()))
            stack.callback(pool.close)
            pool.start()
        teachers = teacher_loader(recipe, found)
        held_out = list(tasks) or load_or_make_tasks(recipe, tasks_folder, specs, tools[0], teachers).held_out
        player = Player(pool, recipe.rewards, judge_of(recipe, kept.path), say)
        yield Run(recipe, kept, say, dialect, model_dir, player, [], held_out, [])


def _sealed_evaluations(subjects: list[Subject], run: RunFolder) -> dict[str, list[Trajectory]]:
    """What the run itself sampled on its held-out tasks, by label; stages that it did not evaluate are left out.

    Raises:
        RunFolderError: An evaluation is not what was committed.
    """
    found = {}
    for subject in subjects:
        stage = run.stage(subject.stage)
        if not subject.stage or not (stage.path / "evaluation").is_dir():
            continue
        damaged = next((name for name in stage.damaged() if name.startswith("evaluation/")), None)
        if damaged:
            raise RunFolderError(f"{stage.path / damaged} is not what was committed; the run's own command mends it")
        found[subject.label] = [t for path in stage.shards("evaluation") for t in read_lines(path, Trajectory)]
    return found


def _pinned(facts: Facts, settings: BfclSettings) -> Json:
    return facts.model_dump(include={"package", "data", "data_sha256"}) | asdict(settings)


def _by(folder: Callable[[Subject], str], subjects: list[Subject]) -> list[list[Subject]]:
    groups: dict[str, list[Subject]] = {}
    for subject in subjects:
        groups.setdefault(folder(subject), []).append(subject)
    return list(groups.values())
