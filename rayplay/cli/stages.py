"""`rayplay rollout|scale|score|pairs`: one stage at a time, each reads the run folder and writes into it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from rayplay.alone import OverShards, one_by_one, pair_again, roll_out, score_again
from rayplay.cli.options import chosen_config
from rayplay.console import Say
from rayplay.errors import RecipeError
from rayplay.pairs import STRATEGIES
from rayplay.recipe import Pairs, Recipe
from rayplay.recipe_text import load_recipe, parse_recipe
from rayplay.sinks import for_cell, print_json, print_text
from rayplay.store import RunFolder
from rayplay.trust import check_consent

rollout_app, scale_app, score_app, pairs_app = (typer.Typer(add_completion=False) for _ in range(4))

Run = Annotated[str, typer.Argument(help="Run folder, for example runs/quickstart.")]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON on stdout.")]
TrustRun = Annotated[
    bool, typer.Option("--trust-run", help="The run is mine: ask the judge that its recipe names, with its key.")
]
OnRay = Annotated[bool, typer.Option("--ray", help="Go over the shards with Ray Data, on all cores or nodes.")]


@rollout_app.command(epilog="Example: `rayplay rollout configs/quickstart.json --output-dir runs/sampled`")
def rollout(
    config: Annotated[str | None, typer.Argument(help="Recipe, a JSON file.")] = None,
    config_option: Annotated[str | None, typer.Option("--config", help="The same, as an option.")] = None,
    output_dir: Annotated[str | None, typer.Option(help="Run folder; default runs/<name of the recipe>.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override, as section.key=value.")] = None,
    number: Annotated[int, typer.Option("--round", min=1, help="Which round's tasks and seeds.")] = 1,
) -> None:
    """Sample one round from the newest policy of the run folder, and seal it; nothing is trained."""
    path = chosen_config(config, config_option)
    folder = RunFolder(output_dir or f"runs/{Path(path).stem}")
    stage = roll_out(load_recipe(path, tuple(overrides or ())), folder, Say(), number)
    print_text(stage.path / "trajectories")


@scale_app.command(epilog="Example: `rayplay scale runs/quickstart 4`")
def scale(
    run: Run, workers: Annotated[int, typer.Argument(min=1, help="How many rollout workers there shall be.")]
) -> None:
    """Change the number of rollout workers of a run that is going, from any shell that sees its folder.

    Joiners start beside the others and sample once they are ready; what leavers had not finished is sampled by others.
    """
    RunFolder(run).ask_for_workers(workers)
    print_text(f"{run}: asked for {workers} rollout worker(s), from the next sampling on")


@score_app.command(epilog="Example: `rayplay score runs/quickstart --reward answer=1 --reward brevity=0.1`")
def score(
    run: Run,
    reward: Annotated[list[str] | None, typer.Option(help="NAME=WEIGHT, repeatable; default: the run's own.")] = None,
    on_ray: OnRay = False,
    trust_run: TrustRun = False,
    as_json: AsJson = False,
) -> None:
    """Score sealed trajectories with other rewards: written beside the old ones, nothing is sampled."""
    folder = RunFolder(run)
    recipe = _recipe_of(folder)
    weights = _weights(reward) if reward else recipe.rewards
    if "judge" in weights and not trust_run:
        check_consent(recipe, run, ("judge",))
    with _over_shards(on_ray) as each:
        found = score_again(folder, weights, recipe.judge if "judge" in weights else None, each)
    if as_json:
        print_json(found)
        return
    for name, means in found.items():
        parts = ", ".join(f"{part} {mean:.3f}" for part, mean in means["parts"].items())
        print_text(f"{name}: reward {means['reward']:.3f} over {means['n']} trajectories ({parts})")


@pairs_app.command(epilog="Example: `rayplay pairs runs/quickstart --strategy above_margin --min-margin 0.3 --json`")
def pairs(
    run: Run,
    strategy: Annotated[str | None, typer.Option(help=f"One of {', '.join(STRATEGIES)}.")] = None,
    min_margin: Annotated[float | None, typer.Option(min=0.0, help="Least difference of reward.")] = None,
    max_per_task: Annotated[int | None, typer.Option(min=1, help="At most this many pairs of one task.")] = None,
    rescored: Annotated[
        bool, typer.Option(help="By the rewards that `rayplay score` gave, not the run's own.")
    ] = False,
    on_ray: OnRay = False,
    as_json: AsJson = False,
) -> None:
    """Pair the sealed trajectories of a run and explain the pairs: groups, dead groups, reasons, margins.

    The pairs go to STAGE/paired_again.jsonl; those that a round was trained on stay as they are.
    """
    folder = RunFolder(run)
    own = _recipe_of(folder).pairs
    given = {"strategy": strategy, "min_margin": min_margin, "max_per_task": max_per_task}
    if strategy is not None and strategy not in STRATEGIES:
        raise RecipeError(f"--strategy {strategy!r}: known: {', '.join(STRATEGIES)}")
    wanted = own.model_copy(update={key: value for key, value in given.items() if value is not None})
    with _over_shards(on_ray) as each:
        found = pair_again(folder, Pairs.model_validate(wanted.model_dump()), rescored=rescored, each=each)
    if as_json:
        print_json(found)
        return
    table = Table("reason", "pairs")
    for reason, count in found["by_reason"].items():
        table.add_row(for_cell(reason), str(count))
    Console().print(table)
    print_text(
        f"{found['pairs']} pairs from {found['groups']} groups, {found['dead_groups']} dead; margins {found['margins']}"
    )


@contextmanager
def _over_shards(on_ray: bool) -> Iterator[OverShards]:
    """How to go over the shards: in this process, or on a cluster that lives as long as the block."""
    if not on_ray:
        yield one_by_one
        return
    from rayplay.actors.cluster import open_cluster
    from rayplay.actors.shards import over_shards

    with open_cluster():
        yield over_shards


def _recipe_of(folder: RunFolder) -> Recipe:
    """Raises RecipeError where another version of rayplay wrote the manifest, naming the key that this one lacks."""
    return parse_recipe(json.dumps(folder.manifest()["recipe"]), str(folder.manifest_path))


def _weights(entries: list[str]) -> dict[str, float]:
    weights = {}
    for entry in entries:
        name, equals, weight = entry.rpartition("=")
        try:
            weights[name] = float(weight)
        except ValueError:
            equals = ""
        if not equals:
            raise RecipeError(f"--reward {entry!r}: write it as NAME=WEIGHT, for example answer=1")
    return weights
