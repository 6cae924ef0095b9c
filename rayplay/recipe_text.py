"""configs/*.json -> a Recipe: read, override, check and explain; a Recipe -> its text, and the schema of all.

Every problem is one sentence that names key and value; a misspelt key gets the nearest known one.
"""

import difflib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from rayplay.credentials import keep_secret, refuse_literal_secrets, secret_names
from rayplay.errors import RecipeError
from rayplay.recipe import TAGS, Recipe
from rayplay.records import Json
from rayplay.strict_json import first_unstorable, read_json
from rayplay.text_files import read_text


def load_recipe(path: str | Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe and apply `a.b=c` overrides.

    Raises:
        RecipeError: The file is missing or no JSON object, a key is unknown, or a value has the wrong type.
    """
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: cannot read the recipe: {error}; the shipped ones are in configs/") from error
    return parse_recipe(text, str(path), overrides)


def parse_recipe(text: str, where: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """`load_recipe` for a recipe that is already text; `where` names it in messages."""
    try:
        content = read_json(text)
    except json.JSONDecodeError as error:
        raise RecipeError(f"{where}: line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}") from error
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{where}: a recipe is a JSON object, this is a {type(content).__name__}")
    for override in overrides:
        _apply_override(content, override)
    if found := first_unstorable(content):
        raise RecipeError(f"{where}: {found}; --set gave it")
    try:
        refuse_literal_secrets(content)  # here too: what is said of a wrong value shows the value
        recipe = Recipe.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise RecipeError(f"{where}: {_explain(error, content)}") from error
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from error
    except RecursionError as error:
        raise RecipeError(f"{where}: nested too deeply for a recipe") from error
    keep_secret(secret_names(content))
    return recipe


def save_recipe(recipe: Recipe) -> str:
    """The resolved recipe as JSON text; loading it again gives an equal recipe."""
    return recipe.model_dump_json(indent=2)


def recipe_schema() -> Json:
    """JSON schema of recipes, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}


def _apply_override(content: Json, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {override!r}: write it as section.key=value, for example training.learning_rate=1e-5")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    *parents, last = key.strip().split(".")
    node: Any = content
    for parent in parents:
        node = node[int(parent)] if isinstance(node, list) and parent.isdigit() else _child(node, parent, override)
    if isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise RecipeError(f"--set {override!r}: {last!r} is not inside an object")


def _child(node: Any, key: str, override: str) -> Any:
    if not isinstance(node, dict):
        raise RecipeError(f"--set {override!r}: {key!r} is not inside an object")
    if node.get(key) is None:
        node[key] = {}
    return node[key]


def _explain(error: ValidationError, content: Json) -> str:
    """Pydantic's first error as one sentence; a misspelt key comes first, since it explains the others."""
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    where = ".".join(str(part) for part in first["loc"] if part not in TAGS)
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        known = _known_keys(first["loc"][:-1])
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
        return f"unknown key {where!r}; {hint}"
    if first["type"] == "missing":
        return f"{where!r} is missing; add it, for example {_example(where)}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and isinstance(first["input"], dict):  # keys that do not fit together
        return f"{where or 'recipe'}: {message}"
    value = json.dumps(first.get("input"), default=str)
    return f"{where} is {value[:80]}: {message[0].lower()}{message[1:]}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Field names of the section that a pydantic location points into."""
    sections: list[type[BaseModel]] = [Recipe]
    for part in location:
        inner = [_sections_in(s.model_fields[part].annotation) for s in sections if part in s.model_fields]
        sections = [s for found in inner for s in found] or sections
    return [name for section in sections for name in section.model_fields]


def _sections_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        nested = [s for f in annotation.model_fields.values() for s in _sections_in(f.annotation)]
        return [annotation, *nested] if annotation is Recipe else [annotation]
    return [s for part in getattr(annotation, "__args__", ()) for s in _sections_in(part)]


def _example(where: str) -> str:
    return {"model": '"model": {"name": "smollm2-135m-instruct"}'}.get(where, f'"{where.split(".")[-1]}": ...')
