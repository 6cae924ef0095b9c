"""`rayplay evaluate` of models: what --model-path and --compare ask for, measured and shown."""

import json
from pathlib import Path

from rayplay.checking import check
from rayplay.comparison import choose_questions, measure_bfcl, measure_own, played_by, seen_in_training, texts_of
from rayplay.console import Say
from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl import Contestant
from rayplay.evaluation.bfcl_settings import BfclSettings
from rayplay.evaluation.page import write_page
from rayplay.evaluation.plan import keep_plan, plan_of_bfcl, plan_of_own
from rayplay.evaluation.subjects import Subject, describe, first_and_last, is_run_folder, read_subjects
from rayplay.evaluation.tables import show_bfcl, show_changes, show_own
from rayplay.evaluation.task_file import read_task_file
from rayplay.matching import judged_by
from rayplay.recipe import Model, Recipe
from rayplay.recipe_text import load_recipe, parse_recipe
from rayplay.records import Json, digest
from rayplay.store import RunFolder
from rayplay.trust import PROGRAMS, check_consent, outside

BUILT_IN_TOOLS = ("tools.calculator", "tools.weather", "tools.search")


def evaluate_models(
    model_path: str,
    compare: tuple[str, str] | None,
    config: Path | None,
    tasks_file: Path | None,
    settings: BfclSettings,
    samples: int,
    output_dir: Path | None,
    say: Say,
    trust_run: bool,
) -> Json:
    """The part of `rayplay evaluate` that needs an engine; returns what evaluation.json holds.

    Everything that can be known to be wrong is refused before the first write.
    """
    paths = compare or (model_path,)
    runs = [path for path in paths if is_run_folder(path)]
    if not (config or tasks_file or settings.categories or is_run_folder(model_path)):
        raise EvaluationError("nothing to evaluate on: add --config or --tasks for own metrics, --bfcl for BFCL")
    subjects = _two(compare) if compare else read_subjects(model_path)
    run, recipe = _recipe(config, model_path, subjects[0], say)
    if run and not (trust_run or config):
        judged = ("judge",) if "judge" in recipe.rewards else ()
        check_consent(recipe, model_path, (*PROGRAMS, *judged))
    specs = check(played_by(recipe, subjects[0].model_dir)).specs if config or tasks_file else ()
    tasks = [judged_by(t, recipe.matching) for t in read_task_file(tasks_file, specs)] if tasks_file else []
    questions = choose_questions(settings) if settings.categories else None
    pair = subjects if compare else first_and_last(subjects)
    policies = describe([*subjects, *pair])
    played, asked = plan_of_own(recipe), plan_of_bfcl(settings, recipe.model.system_prompt)
    name = digest([policies, played, asked, settings.seed, settings.repeats, str(tasks_file)], 6)
    folder = RunFolder(output_dir or _default_folder(paths, name))
    folder.check_writable()
    folder.claim()
    measured = {"own": played} if config or tasks or run else {}
    measured |= {"bfcl": asked | {"data_sha256": questions.facts.data_sha256}} if questions else {}
    keep_plan(folder.path, {"policies": {label: p["hashes"] for label, p in policies.items()}, **measured})

    labels = [subject.label for subject in subjects]
    result: Json = {"subjects": labels, "policies": policies, "folder": str(folder.path)}
    trajectories = {}
    if "own" in measured:
        own, trajectories = measure_own(
            subjects,
            recipe,
            folder.path,
            say,
            run_folder="" if tasks else run,
            tasks=tasks,
            samples=samples,
            temperature=settings.temperature,
        )
        result |= own
        shown = [(t.task.origin or t.task.task_id, t.task.messages[-1].content) for t in trajectories[labels[0]]]
        result["seen_tasks"] = [] if run and not tasks else _seen(runs, shown, "tasks", say)
        show_own(own["own"], say)
        show_changes({"all tasks": own["own_changes"]} if "own_changes" in own else {}, say)
    if questions:
        result |= measure_bfcl(pair, questions, folder.path, settings, say, recipe.model.system_prompt)
        result["seen_questions"] = _seen(runs, texts_of(questions.chosen), "questions", say) if runs else []
        show_bfcl(result["bfcl"], say)
        show_changes(result.get("bfcl_changes", {}), say)
    write_page(folder.path, result, trajectories)
    return result


def _seen(runs: list[str], asked: list[tuple[str, str]], what: str, say: Say) -> list[str]:
    found = seen_in_training(runs, asked)
    if found:
        some = ", ".join(found[:6])
        say.line(f"warning: {len(found)} of {len(asked)} {what} resemble training tasks ({some}): a gain is in doubt")
    return found


def _two(paths: tuple[str, str]) -> list[Subject]:
    """The last policy behind each path, labelled by its path; labels that BFCL's files could not tell apart differ."""
    last = [read_subjects(path)[-1]._replace(label=Path(path).resolve().name, stage="") for path in paths]
    if len({Contestant(subject.label, subject.label).name for subject in last}) < 2:
        last = [subject._replace(label=f"{subject.label}-{mark}") for subject, mark in zip(last, "ab", strict=True)]
    return last


def _recipe(config: Path | None, model_path: str, subject: Subject, say: Say) -> tuple[str, Recipe]:
    """The run whose held-out tasks are meant ("" where they are made), and the recipe to play tasks by."""
    given = load_recipe(config) if config else None
    if not is_run_folder(model_path):
        return "", given or Recipe(model=Model(name=subject.model_dir), tools=BUILT_IN_TOOLS)
    own = parse_recipe(json.dumps(RunFolder(model_path).manifest()["recipe"]), f"{model_path}/manifest.json")
    alike = given and (given.tools, given.data.sources) == (own.tools, own.data.sources)
    if given is None or (alike and outside(given) == outside(own)):
        if given and given.hash() != own.hash():
            say.line(f"{config} is not quite the recipe of {model_path}: the run's own settings and tasks are used")
        return model_path, own
    say.line(f"{config} has other tools or sources than {model_path}: its held-out tasks are made and played anew")
    return "", given.model_copy(update={"model": own.model})


def _default_folder(paths: tuple[str, ...], asked: str) -> Path:
    """Beside the run, or under outputs/ by name. Other weights or settings get another folder, equal ones resume."""
    if len(paths) == 1 and is_run_folder(paths[0]):
        return Path(paths[0]) / "evaluation" / asked
    names = "-".join(Path(path).resolve().name for path in paths)
    return Path("outputs") / f"{'compare' if len(paths) > 1 else 'evaluate'}-{names}-{asked}"
