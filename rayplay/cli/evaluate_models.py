"""`rayplay evaluate` of models: what --model-path and --compare ask for, measured and shown."""

import json
from pathlib import Path

from rayplay.comparison import measure_bfcl, measure_own, warn_of_seen_questions
from rayplay.console import Say
from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl_settings import BfclSettings
from rayplay.evaluation.page import write_page
from rayplay.evaluation.subjects import Subject, first_and_last, is_run_folder, read_subjects
from rayplay.evaluation.tables import show_bfcl, show_changes, show_own
from rayplay.recipe import Model, Recipe, load_recipe, parse_recipe
from rayplay.records import Json, digest
from rayplay.store import RunFolder

BUILT_IN_TOOLS = ("tools.calculator", "tools.weather", "tools.search")


def evaluate_models(
    model_path: str,
    compare: tuple[str, str] | None,
    config: Path | None,
    tasks: Path | None,
    settings: BfclSettings,
    samples: int,
    folder: Path,
    say: Say,
) -> Json:
    """The part of `rayplay evaluate` that needs an engine; returns what evaluation.json holds."""
    subjects = _two(compare) if compare else read_subjects(model_path)
    run = model_path if is_run_folder(model_path) else ""
    result: Json = {"subjects": [subject.label for subject in subjects], "folder": str(folder)}
    folder.mkdir(parents=True, exist_ok=True)
    trajectories = {}
    recipe = _recipe(config, run, subjects[0])
    if config or tasks or run:
        own, trajectories = measure_own(
            subjects,
            recipe,
            folder,
            say,
            run_folder=run,
            tasks_file=str(tasks) if tasks else "",
            samples=samples,
            temperature=settings.temperature,
        )
        result |= own
        show_own(own["own"], say)
        show_changes({"all tasks": own["own_changes"]} if "own_changes" in own else {}, say)
    if settings.categories:
        pair = subjects if compare else first_and_last(subjects)
        result |= measure_bfcl(pair, folder, settings, say, recipe.model.system_prompt)
        if run:
            warn_of_seen_questions(Path(run), folder, result, settings, say)
        show_bfcl(result["bfcl"], say)
        show_changes(result.get("bfcl_changes", {}), say)
    if "own" not in result and "bfcl" not in result:
        raise EvaluationError("nothing to evaluate on: add --config or --tasks for own metrics, --bfcl for BFCL")
    write_page(folder, result, trajectories)
    return result


def _two(paths: tuple[str, str]) -> list[Subject]:
    """The last policy behind each path, labelled by its path."""
    last = [read_subjects(path)[-1]._replace(label=Path(path).name, stage="") for path in paths]
    if last[0].label == last[1].label:
        last = [subject._replace(label=f"{subject.label}-{mark}") for subject, mark in zip(last, "ab", strict=True)]
    return last


def _recipe(config: Path | None, run: str, subject: Subject) -> Recipe:
    if config:
        return load_recipe(config)
    if run:
        manifest = RunFolder(run).manifest()
        return parse_recipe(json.dumps(manifest["recipe"]), f"{run}/manifest.json")
    return Recipe(model=Model(name=subject.model_dir), tools=BUILT_IN_TOOLS)


def default_folder(
    model_path: str, compare: tuple[str, str] | None, tasks: Path | None, settings: BfclSettings
) -> Path:
    """Beside the run, or under outputs/ by the model's name; other settings get another folder, equal ones resume."""
    asked = digest([settings.seed, settings.temperature, settings.max_new_tokens, settings.repeats, str(tasks)], 6)
    if compare:
        return Path("outputs") / f"compare-{Path(compare[0]).name}-{Path(compare[1]).name}-{asked}"
    if is_run_folder(model_path):
        return Path(model_path) / "evaluation" / asked
    return Path("outputs") / f"evaluate-{Path(model_path).name}-{asked}"
