"""`rayplay recipe schema|check`."""

import json
from typing import Annotated

import typer

from rayplay.recipe_text import load_recipe, recipe_schema, save_recipe
from rayplay.sinks import print_json

recipe_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look at recipes.")


@recipe_app.command()
def schema() -> None:
    """Print the JSON schema of recipes; editors complete from it."""
    print_json(recipe_schema(), indent=2)


@recipe_app.command(epilog="Example: `rayplay recipe show configs/quickstart.json --set seed=3`")
def show(
    config: Annotated[str, typer.Argument(help="Recipe, a JSON file.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override, as section.key=value.")] = None,
) -> None:
    """Print a recipe with all defaults filled in, or what is wrong with it."""
    print_json(json.loads(save_recipe(load_recipe(config, tuple(overrides or ())))), indent=2)
