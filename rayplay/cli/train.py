"""`rayplay train CONFIG`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from rayplay.actors.cluster import parse_cluster
from rayplay.checking import check, check_elsewhere
from rayplay.cli.options import chosen_config
from rayplay.console import Say
from rayplay.errors import RecipeError, RunFolderError
from rayplay.loop import train
from rayplay.recipe_text import load_recipe, save_recipe
from rayplay.sinks import print_json, print_text
from rayplay.store import RunFolder

train_app = typer.Typer(add_completion=False)


@train_app.command(
    epilog="Examples: `rayplay train configs/quickstart.json`; "
    "`rayplay train configs/quickstart.json --output-dir runs/b --set training.learning_rate=1e-4`; "
    "`rayplay train configs/gpu_qwen3_4b_dpo.json --dry-run --cluster cpus=64,gpus=8`"
)
def command(
    config: Annotated[str | None, typer.Argument(help="Recipe, a JSON file; the shipped ones are in configs/.")] = None,
    config_option: Annotated[str | None, typer.Option("--config", help="The same, as an option.")] = None,
    output_dir: Annotated[str | None, typer.Option(help="Run folder; default runs/<name of the recipe>.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override, as section.key=value.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Check all and print the resolved recipe; write nothing.")] = False,
    cluster: Annotated[
        str | None, typer.Option(help="With --dry-run: check for a cluster of this size, as cpus=64,gpus=8.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Insist that the run folder exists already.")] = False,
) -> None:
    """Carry out a recipe: sample, execute, score, pair, train, publish, measure.

    The same command again continues an interrupted run, and says so when there is nothing left to do.
    """
    path = chosen_config(config, config_option)
    recipe = load_recipe(path, tuple(overrides or ()))
    folder = RunFolder(output_dir or f"runs/{Path(path).stem}")
    if cluster and not dry_run:
        raise RecipeError("--cluster says which cluster a --dry-run is for; a run finds its own; add --dry-run")
    if dry_run:
        found = check_elsewhere(recipe, parse_cluster(cluster)) if cluster else check(recipe).facts
        folder.check_writable()
        print_json({"recipe": json.loads(save_recipe(recipe)), "found": found}, indent=2)
        return
    if resume and not folder.manifest_path.is_file():
        raise RunFolderError(f"{folder.path}: nothing to resume, there is no manifest.json; leave --resume away")
    try:
        train(recipe, folder, Say())
    except KeyboardInterrupt:
        print_text(f"rayplay: stopped; the same command goes on where this one was ({folder.path})", file=sys.stderr)
        raise typer.Exit(130) from None
