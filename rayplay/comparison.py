"""Policies -> how good each is, on tasks of our own and on BFCL: one engine, one handler, one checker for all of them.

What was sampled is kept and never sampled again: the same command with the same folder measures it anew.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from rayplay.actors.cluster import open_cluster
from rayplay.actors.pool import RolloutPool
from rayplay.actors.server import ServerSettings, serve_model
from rayplay.console import Say
from rayplay.data.contamination import overlaps
from rayplay.evaluation.bfcl import (
    Contestant,
    Facts,
    Verdict,
    choose_cases,
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
from rayplay.evaluation.task_file import read_task_file
from rayplay.metrics import by_calls, by_kind, by_tool, by_turns, measure, pass_rates
from rayplay.models.tokenizers import load_dialect
from rayplay.opening import check, load_or_make_tasks, open_recipe_cluster, pool_settings, start_tool_actors
from rayplay.recipe import Recipe
from rayplay.records import Demonstration, Json, Task, Trajectory
from rayplay.rewards import success
from rayplay.run import Run, judge_of
from rayplay.store import RunFolder, read_lines


def measure_bfcl(
    subjects: list[Subject], folder: Path, settings: BfclSettings, say: Say, system_prompt: str | None = None
) -> Json:
    """{"bfcl": {category: {label: accuracy, interval, n}}, "bfcl_changes", "data"}.

    Policies on one base model are served by one engine; another base gets an engine of its own, one after the other.
    `system_prompt` is the recipe's, for conversations that bring none.
    """
    facts = read_facts(folder / "bfcl")
    categories = resolve_categories(settings.categories, facts)
    if not any("irrelevance" in category for category in categories):
        say.line("irrelevance is not among the categories: a model that always calls looks better than it is")
    chosen = choose_cases(facts, categories, settings.limit, settings.seed)
    folders = [folder / ("bfcl" if k == 0 else f"bfcl-repeat-{k + 1}") for k in range(settings.repeats)]
    repeats: list[list[Verdict]] = [[] for _ in folders]
    with open_cluster():
        for group in _by_model(subjects):
            say.line("vLLM's server starts (about a minute on CPU)")
            with serve_model(_server(group, folder, settings, system_prompt)) as endpoint:
                for kept, into in zip(folders, repeats, strict=True):
                    into += _ask(group, kept, chosen, endpoint, settings, say)
    for kept, verdicts in zip(folders, repeats, strict=True):
        keep_verdicts(kept, chosen, verdicts)
        names = {Contestant(s.label, s.label).name: s.label for s in subjects}
        (kept / "models.json").write_text(json.dumps(names, indent=2) + "\n")
    result: Json = {"bfcl": table_of_repeats(repeats), "data": _pinned(facts, settings)}
    if len(subjects) > 1:
        result["bfcl_changes"] = changes(repeats[0], subjects[0].label, subjects[-1].label)
    return result


def warn_of_seen_questions(run_folder: Path, folder: Path, result: Json, settings: BfclSettings, say: Say) -> None:
    """Compare a run's training tasks with the questions asked; what may have been seen goes into `result`."""
    facts = read_facts(folder / "bfcl")
    chosen = choose_cases(facts, result["bfcl"], settings.limit, settings.seed)
    cases = read_cases(folder / "bfcl", chosen)
    questions = {case["id"]: " ".join(m["content"] for turn in case["turns"] for m in turn) for case in cases}
    tasks = read_lines(run_folder / "tasks" / "train.jsonl", Task)
    shown = read_lines(run_folder / "tasks" / "demonstrations.jsonl", Demonstration)
    texts = ((r.origin, m.content) for r in (*tasks, *shown) for m in r.messages if m.role == "user")
    result["seen_questions"] = [overlap.train_id for overlap in overlaps(questions.items(), texts)]
    if result["seen_questions"]:
        some = ", ".join(result["seen_questions"][:6])
        say.line(
            f"warning: {len(result['seen_questions'])} questions resemble training tasks ({some}): the gain is in doubt"
        )


def measure_own(
    subjects: list[Subject],
    recipe: Recipe,
    folder: Path,
    say: Say,
    *,
    run_folder: str = "",
    tasks_file: str = "",
    samples: int = 1,
    temperature: float = 1.0,
) -> tuple[Json, dict[str, list[Trajectory]]]:
    """Own metrics of every policy over the same tasks, greedy, and the trajectories behind them.

    Args:
        subjects: The policies; all on the recipe's model, or each pool starts anew.
        recipe: Gives tools, limits, sandbox and, without `tasks_file`, the tasks.
        folder: Where what is sampled here is kept.
        say: For progress.
        run_folder: The run whose held-out tasks and sealed evaluations are used where they fit.
        tasks_file: A file of cases instead (see `read_task_file`).
        samples: Of each task, beside the greedy one: more than one give pass@k.
        temperature: Of those.
    """
    played = {} if tasks_file or not run_folder else _sealed_evaluations(subjects, Path(run_folder))
    tries: dict[str, list[Trajectory]] = {}
    tasks = RunFolder(run_folder or folder)
    missing = [subject for subject in subjects if subject.label not in played or samples > 1]
    for group in _by_model(missing):
        with _opened(group[0].model_dir, recipe, folder, tasks, tasks_file, say) as run:
            for subject in group:
                run.load(subject.adapter())
                stage = run.folder.stage(subject.label)
                if subject.label not in played:
                    run.evaluate(stage)
                    wanted = {task.task_id for task in run.held_out}
                    played[subject.label] = [t for t in _read(stage.path) if t.task.task_id in wanted]
                if samples > 1:
                    tries[subject.label] = run.sample_held_out(stage, samples, temperature)
    ordered = {subject.label: played[subject.label] for subject in subjects}
    table: Json = {
        label: {
            "metrics": measure(t) | pass_rates(tries.get(label, ())),
            "by_kind": by_kind(t),
            "by_tool": by_tool(t),
            "by_calls": by_calls(t),
            "by_turns": by_turns(t),
            "n": len(t),
        }
        for label, t in ordered.items()
    }
    result: Json = {"own": table}
    if len(subjects) > 1:
        first, last = subjects[0].label, subjects[-1].label
        old, new = ({t.task.task_id: success(t) == 1.0 for t in ordered[label]} for label in (first, last))
        both = [task for task in old if task in new]
        result["own_changes"] = {"from": first, "to": last} | compare([old[t] for t in both], [new[t] for t in both])
    return result, ordered


def _ask(
    group: list[Subject],
    folder: Path,
    chosen: dict[str, list[str]],
    endpoint: Endpoint,
    settings: BfclSettings,
    say: Say,
) -> list[Verdict]:
    contestants = [Contestant(subject.label, subject.label) for subject in group]
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


def _server(group: list[Subject], folder: Path, settings: BfclSettings, system_prompt: str | None) -> ServerSettings:
    plain = [subject.label for subject in group if not subject.adapter_dir]
    return ServerSettings(
        model_dir=group[0].model_dir,
        log_path=str((folder / "server.log").absolute()),
        base_name=plain[0] if plain else "base",
        adapters=tuple((subject.label, subject.adapter_dir) for subject in group if subject.adapter_dir),
        max_new_tokens=settings.max_new_tokens,
        max_in_flight=settings.max_in_flight,
        **({} if system_prompt is None else {"system_prompt": system_prompt}),
    )


@contextmanager
def _opened(
    model_dir: str, recipe: Recipe, folder: Path, tasks_folder: RunFolder, tasks_file: str, say: Say
) -> Iterator[Run]:
    """A run below `folder` that only evaluates; what an earlier one sealed there is not sampled again."""
    checked = check(recipe)
    found = checked.facts | {"model_dir": model_dir}
    kept = RunFolder(folder / "own")
    logs = kept.path / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with say.stage("start", "Ray, tool actors and an engine", 1):
            stack.enter_context(open_recipe_cluster(recipe))
            tools = start_tool_actors(recipe)
            pool = RolloutPool(*pool_settings(recipe, found), tools, str(logs.absolute()))
            stack.callback(pool.close)
            pool.start()
        tasks = read_task_file(Path(tasks_file), checked.specs) if tasks_file else None
        held_out = tasks or load_or_make_tasks(recipe, tasks_folder, checked.specs, tools[0]).held_out
        dialect = load_dialect(model_dir, recipe.model)
        yield Run(recipe, kept, say, dialect, model_dir, pool, [], held_out, [], judge=judge_of(recipe, kept.path))


def _sealed_evaluations(subjects: list[Subject], run_folder: Path) -> dict[str, list[Trajectory]]:
    """What the run itself sampled on its held-out tasks, by label; stages that it did not evaluate are left out."""
    found = {s.label: _read(run_folder / s.stage) for s in subjects if s.stage}
    return {label: trajectories for label, trajectories in found.items() if trajectories}


def _read(stage: Path) -> list[Trajectory]:
    return [t for path in sorted((stage / "evaluation").glob("shard-*.jsonl")) for t in read_lines(path, Trajectory)]


def _pinned(facts: Facts, settings: BfclSettings) -> Json:
    return facts.model_dump(include={"package", "data", "data_sha256"}) | asdict(settings)


def _by_model(subjects: list[Subject]) -> list[list[Subject]]:
    groups: dict[str, list[Subject]] = {}
    for subject in subjects:
        groups.setdefault(subject.model_dir, []).append(subject)
    return list(groups.values())
