"""`rayplay bench ...`: speed of each part, measured beside what it replaces."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from rayplay.chaos.lane import run_lane
from rayplay.errors import EvaluationError
from rayplay.models.device import QUIET_ENV, allocator_env, engine_env, usable_cores
from rayplay.output_paths import check_output_file, check_output_folder
from rayplay.records import Json
from rayplay.sandbox import Level
from rayplay.sandbox.bench import measure_hostile, measure_mixed, measure_tools
from rayplay.sinks import print_json, print_text

BENCH_DEADLINE_S = 3600.0
TIMED_TOOLS = ("tools.python", "tools.calculator")

bench_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Measure how fast a part is, beside what it replaces."
)


@bench_app.callback()
def _group() -> None:
    """A group even while it has one command."""


@bench_app.command(epilog="Example: `rayplay bench train --json | tail -n 1`")
def train(
    model: Annotated[str, typer.Option(help="Model name, folder or hub id.")] = "smollm2-135m-instruct",
    repeats: Annotated[int, typer.Option(min=1, help="Measured steps of each side; the median counts.")] = 2,
    grid: Annotated[bool, typer.Option(help="SFT at several shared lengths, completion lengths, group sizes.")] = False,
    plot: Annotated[Path | None, typer.Option(help="With --grid: an SVG of speed-ups beside their limit.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line last.")] = False,
) -> None:
    """Training with shared prefixes against TRL's stock trainers: same rows, same step, same threads.

    speedup = TRL's seconds / ours. packing_ratio = raw / unique tokens of the DPO step, the limit of the speed-up.
    peak_memory_ratio = TRL's / our highest resident memory in the DPO step.
    """
    if plot and not grid:
        raise EvaluationError("--plot draws the points of --grid; add --grid")
    if plot:
        check_output_file(plot, "--plot")
    arguments = ["--model", model, "--repeats", str(repeats), *(["--grid"] if grid else [])]
    arguments += ["--plot", str(plot)] if plot else []
    result = _in_own_process("rayplay.training.bench", arguments)
    if as_json:
        print_json(result)
        return
    points = {f"{p['shared']} shared, {p['completion']} new, {p['rows']} rows": p for p in result} if grid else result
    for name, row in ((k, v) for k, v in points.items() if isinstance(v, dict)):
        print_text(
            f"{name}: {row['tree_s']} s, TRL {row['trl_s']} s: {row['speedup']} times; limit {row['packing_ratio']}"
        )


@bench_app.command(epilog="Example: `rayplay bench rollout --json | tail -n 1`")
def rollout(
    model: Annotated[str, typer.Option(help="Model name, folder or hub id.")] = "smollm2-135m-instruct",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line last.")] = False,
) -> None:
    """Episodes beside the bare engine, slow tools beside instant ones, and the controller's own speed.

    engine_ratio = tokens per second through episodes / of vLLM alone on the same prompts and lengths.
    slow_tool_ratio = seconds with instant tools / with tools of 0.5 s and a heavy tail, on a simulated engine.
    lockstep_factor = seconds of a loop that waits for each turn's slowest tool / ours.
    """
    result = _in_own_process("rayplay.actors.bench", ["--model", model], engine_env(usable_cores(), 1))
    if as_json:
        print_json(result)
        return
    for name, value in result.items():
        print_text(f"{name}: {value}")


@bench_app.command(epilog="Example: `rayplay bench tools --json | tail -n 1`")
def tools(
    modules: Annotated[list[str] | None, typer.Option("--module", help="Tool file, by its import name.")] = None,
    calls: Annotated[int, typer.Option(min=50, help="Good calls per tool.")] = 1000,
    level: Annotated[
        Level | None, typer.Option(help="Isolation level; default: the highest that holds here, L2 or above.")
    ] = None,
    mixed: Annotated[int, typer.Option(help="So many good and hostile calls as well: memory and files.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line last.")] = False,
) -> None:
    """Sandboxed good calls on one core: calls a second and latencies, beside a plain `python -c` per call."""
    result = measure_tools(tuple(modules or TIMED_TOOLS), calls, level)
    if mixed:
        result["mixed"] = measure_mixed(tuple(modules or TIMED_TOOLS), mixed, level)
    if as_json:
        print_json(result)
        return
    for name, row in result["tools"].items():
        print_text(f"{name}: {row['calls_per_s']:.0f} calls/s at {row['level']}, p50 {row['p50_ms']:.1f} ms, "
              f"p99 {row['p99_ms']:.1f} ms, n {row['n']}, {row['isolation']}")  # fmt: skip
    if mixed:
        print_text(f"mixed: {result['mixed']}")
    print_text(f"plain python -c: {result['spawn_python_calls_per_s']:.0f} calls/s, with no isolation")


@bench_app.command(epilog="Example: `rayplay bench sandbox --json | tail -n 1`")
def sandbox(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line last.")] = False) -> None:
    """Hostile programs at every level that holds here, and in a plain fork with rlimits: escaped, hung, failed."""
    result = measure_hostile(Path.cwd(), lambda line: print_text(line, file=sys.stderr))
    if as_json:
        print_json(result)
        return
    for name, row in {**result["levels"], "plain fork": result["plain_fork"]}.items():
        promised = f"; of what it promises to hold: {row['promised']}" if "promised" in row else ""
        print_text(f"{name}: {row.get('all', row)}{promised}")


@bench_app.command(epilog="Example: `rayplay bench chaos --kills 300 --json | tail -n 1`")
def chaos(
    kills: Annotated[int, typer.Option(min=1, help="Faults that must find their victims.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the faults: which, when, whom.")] = 0,
    tasks: Annotated[int, typer.Option(min=4, help="Groups of each round.")] = 48,
    pause: Annotated[float, typer.Option(min=0.01, help="Seconds between two faults, on average.")] = 1.0,
    seconds: Annotated[float, typer.Option(min=1, help="No further fault after so long.")] = 3600.0,
    folder: Annotated[Path | None, typer.Option(help="Keep the runs there; default: a temporary folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line last.")] = False,
) -> None:
    """Real runs of a scripted policy, harmed at random times: kills of every kind of process, and shortages.

    Killed: driver, rollout worker, tool actor, zygote, training worker; frozen: a rollout worker; short for a spell:
    room on the disk, descriptors and memory of the driver. The exit code is 1 where a group was lost or doubled, the
    pairs are not those of an unharmed run, or a process was left running.
    """
    if folder:
        check_output_folder(folder, "--folder")
    with tempfile.TemporaryDirectory(prefix="rayplay-chaos-") as temporary:
        result = run_lane(
            (folder or Path(temporary)).resolve(),
            kills=kills,
            seed=seed,
            tasks=tasks,
            mean_pause_s=pause,
            seconds=seconds,
            tell=lambda line: print_text(line, file=sys.stderr),
        )
    for name, value in {} if as_json else result.items():
        print_text(f"{name}: {value}")
    if as_json:
        print_json(result)
    kept = result["pairs_equal"] and not any(
        result[name] for name in ("lost", "doubled", "quarantined", "left_running")
    )
    raise typer.Exit(0 if kept else 1)


def _in_own_process(module: str, arguments: list[str], more_env: dict[str, str] | None = None) -> Json:
    """Run a benchmark module under the allocator that training uses; its last line is the result."""
    threads = len(usable_cores())
    command = [sys.executable, "-m", module, "--threads", str(threads), *arguments]
    env = {**os.environ, **QUIET_ENV, **allocator_env(), "OMP_NUM_THREADS": str(threads), **(more_env or {})}
    try:
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, timeout=BENCH_DEADLINE_S, check=True)
        return json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise EvaluationError(f"{module} took more than {BENCH_DEADLINE_S:g} s; try fewer --repeats") from error
    except subprocess.CalledProcessError as error:
        raise EvaluationError(f"{module} ended with code {error.returncode}; its messages are above") from error
