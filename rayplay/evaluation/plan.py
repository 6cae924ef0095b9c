"""What the answers in an evaluation folder depend on -> plan.json; a folder of other answers is not added to."""

import json
from pathlib import Path

from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl_settings import BfclSettings
from rayplay.recipe import Recipe
from rayplay.records import Json
from rayplay.store import write_json

SHAPES_ANSWERS = {
    "model": ("dialect", "system_prompt", "chat_template_kwargs", "max_length"),
    "rollout": ("engine", "constrained", "max_new_tokens", "max_turns", "max_calls", "top_p"),
}


def keep_plan(folder: Path, plan: Json) -> None:
    """Write {part: {name: value}} to plan.json, beside what earlier evaluations in the same folder wrote there.

    Raises:
        EvaluationError: One of them had another value under the same name: its answers are not this one's.
    """
    path = folder / "plan.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise EvaluationError(f"{path} is damaged; remove {folder}, or choose another --output-dir") from error
    for part, values in plan.items():
        for name, value in values.items():
            kept = before.get(part, {}).get(name, value)
            if kept != value:
                raise EvaluationError(
                    f"{folder} holds answers of another evaluation ({part}: {name} was {kept} and is {value}); "
                    "choose another --output-dir, or remove that folder"
                )
    write_json(path, {part: before.get(part, {}) | plan.get(part, {}) for part in {**before, **plan}})


def plan_of_own(recipe: Recipe) -> Json:
    """The settings of a recipe on which its greedy answers to a task, and how they are judged, depend."""
    named = {f"{part}.{name}": (part, name) for part, names in SHAPES_ANSWERS.items() for name in names}
    content = recipe.model_dump(mode="json")
    chosen = {key: content[part][name] for key, (part, name) in named.items()}
    return chosen | {"seed": recipe.seed, "matching": recipe.matching}


def plan_of_bfcl(settings: BfclSettings, system_prompt: str | None) -> Json:
    """The settings on which the answer to a question of BFCL depends."""
    return {
        "temperature": settings.temperature,
        "max_new_tokens": settings.max_new_tokens,
        "system_prompt": system_prompt,
    }
