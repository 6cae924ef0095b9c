"""`rayplay bench ...`: speed of each part, measured beside what it replaces."""

import json
import os
import subprocess
import sys
from typing import Annotated

import typer

from rayplay.errors import EvaluationError
from rayplay.models.device import QUIET_ENV, allocator_env, usable_cores
from rayplay.records import Json

BENCH_DEADLINE_S = 3600.0

bench_app = typer.Typer(no_args_is_help=True, help="Measure how fast a part is, beside what it replaces.")


@bench_app.callback()
def _group() -> None:
    """A group even while it has one command."""


@bench_app.command(epilog="Example: `rayplay bench train --json | tail -n 1`")
def train(
    model: Annotated[str, typer.Option(help="Model name, folder or hub id.")] = "smollm2-135m-instruct",
    repeats: Annotated[int, typer.Option(min=1, help="Measured steps of each side; the median counts.")] = 2,
    grid: Annotated[bool, typer.Option(help="SFT at several shared lengths, completion lengths, group sizes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line last.")] = False,
) -> None:
    """Training with shared prefixes against TRL's stock trainers: same rows, same step, same threads.

    speedup = TRL's seconds / ours. packing_ratio = raw / unique tokens of the DPO step, the limit of the speed-up.
    peak_memory_ratio = TRL's / our highest resident memory in the DPO step.
    """
    arguments = ["--model", model, "--repeats", str(repeats), *(["--grid"] if grid else [])]
    result = _in_own_process("rayplay.training.bench", arguments)
    if as_json:
        print(json.dumps(result))
        return
    for name, row in [(k, v) for k, v in result.items() if isinstance(v, dict)] if not grid else enumerate(result):
        print(f"{name}: {row['tree_s']} s, TRL {row['trl_s']} s: {row['speedup']} times; limit {row['packing_ratio']}")


def _in_own_process(module: str, arguments: list[str]) -> Json:
    """Run a benchmark module under the allocator that training uses; its last line is the result."""
    threads = len(usable_cores())
    command = [sys.executable, "-m", module, "--threads", str(threads), *arguments]
    env = {**os.environ, **QUIET_ENV, **allocator_env(), "OMP_NUM_THREADS": str(threads)}
    try:
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, timeout=BENCH_DEADLINE_S, check=True)
        return json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise EvaluationError(f"{module} took more than {BENCH_DEADLINE_S:g} s; try fewer --repeats") from error
    except subprocess.CalledProcessError as error:
        raise EvaluationError(f"{module} ended with code {error.returncode}; its messages are above") from error
