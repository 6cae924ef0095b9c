"""Good calls -> calls per second and latencies, beside a plain `python -c`; hostile programs -> what they achieve."""

import json
import math
import os
import resource
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from rayplay.errors import SandboxError
from rayplay.records import Status, ToolCall, ToolResult, ToolSpec
from rayplay.sandbox.hostile import Program, programs
from rayplay.sandbox.launch import cage
from rayplay.sandbox.levels import Level
from rayplay.sandbox.pool import Sandbox
from rayplay.sandbox.probe import isolation_report
from rayplay.sandbox.trial import Verdict, run_trial, summary

WARM_UP = 20
SPAWNED = 20
GOOD_CALLS: dict[str, dict[str, Any]] = {
    "python": {"code": "total = sum(n * n for n in range(100))\nprint(total)\nresult = total % 7"},
    "calculator": {"expression": "(12 + 30) * 7 / 3"},
}
BATCH = 256
PARTS = 10
MIXED_WARM_UP, MIXED_CHUNK, MIXED_DEADLINE_S = 200, 100, 0.2
MIXED_HOSTILE = (
    "while True: pass",
    "import os; os._exit(1)",
    "while True: print('x' * 999)",
    "a = [0] * 10**10",
    "import ctypes; ctypes.string_at(0)",
    "import os; os.kill(os.getppid(), 9)",
    "for n in range(3000): open(str(n), 'w').close()",
    "raise ValueError('no')",
)
SILENCE_S = 30.0  # of the caged runner, before it counts as hung


def measure_tools(modules: Sequence[str], calls: int, level: Level | None = None) -> dict[str, Any]:
    """`{"tools": {name: {"level", "calls_per_s", "p50_ms", "p99_ms", ...}}, "spawn_python_calls_per_s", ...}`.

    One zygote, one call (or one batch of pure calls) at a time, and everything on one core. Tools that are not pure
    get a child per call.
    """
    found = {}
    with one_core(), Sandbox(modules, level=level, size=1) as sandbox:
        for spec in sandbox.describe():
            if spec.name in GOOD_CALLS:
                found[spec.name] = measure_tool(sandbox, spec, GOOD_CALLS[spec.name], calls)
        spawned = spawn_rate()
    return {"tools": found, "spawn_python_calls_per_s": spawned, "at_once": 1, "cores": 1}


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process, and what it starts meanwhile, on one core: to wake another is dear on a virtual machine."""
    before = os.sched_getaffinity(0)
    set_cores({max(before)})
    try:
        yield
    finally:
        set_cores(before)


def set_cores(cores: set[int]) -> None:
    """Where all threads of this process may run."""
    for thread in os.listdir("/proc/self/task"):
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread), cores)


def measure_tool(sandbox: Sandbox, spec: ToolSpec, arguments: dict[str, Any], calls: int) -> dict[str, Any]:
    """Latencies and rate of one tool; every result is checked.

    The rate is the median of PARTS parts, so that a moment in which the machine is busy elsewhere does not decide it.

    Raises:
        SandboxError: A good call went wrong.
    """
    call = ToolCall(call_id="bench", name=spec.name, arguments=arguments)
    expected = sandbox.run(spec, call)
    for _ in range(WARM_UP):
        sandbox.run(spec, call)
    seconds = []
    for _ in range(calls):
        started = time.perf_counter()
        result = sandbox.run(spec, call)
        seconds.append(time.perf_counter() - started)
        if result.status is not Status.OK or result.text != expected.text:
            raise SandboxError(f"a good call of {spec.name} gave {result.status}: {result.text[:200]}; see above")
    part = math.ceil(calls / PARTS)
    rate = median(len(some) / sum(some) for some in (seconds[n : n + part] for n in range(0, calls, part)))
    how = "a child per call"
    if spec.pure:
        rate, how = batch_rate(sandbox, spec, call), "children shared in turn by pure calls"
    seconds.sort()
    return {
        "level": sandbox.level.value,
        "calls_per_s": rate,
        "p50_ms": 1000 * seconds[len(seconds) // 2],
        "p99_ms": 1000 * seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))],
        "n": calls,
        "isolation": how,
    }


def batch_rate(sandbox: Sandbox, spec: ToolSpec, call: ToolCall) -> float:
    """Calls per second where BATCH wait at once, the median of PARTS times."""
    rates = []
    for _ in range(PARTS):
        started = time.perf_counter()
        done = sum(result.status is Status.OK for result in sandbox.run_many([(spec, call)] * BATCH))
        rates.append(done / (time.perf_counter() - started))
    return median(rates)


def spawn_rate() -> float:
    """Plain `python -c` runs a second, with no isolation at all."""
    started = time.perf_counter()
    for _ in range(SPAWNED):
        subprocess.run([sys.executable, "-I", "-c", "print(1)"], stdout=subprocess.DEVNULL, check=True, timeout=60)
    return SPAWNED / (time.perf_counter() - started)


def measure_mixed(modules: Sequence[str], calls: int, level: Level | None = None) -> dict[str, Any]:
    """Good calls and, every tenth, hostile ones: what becomes of memory and open files, and of the good calls."""
    by_status, wrong, good = Counter(), 0, 0
    with Sandbox(modules, level=level) as sandbox:
        python = next(spec for spec in sandbox.describe() if spec.name == "python")

        def run(number: int) -> tuple[bool, ToolResult]:
            hostile = number % 10 == 9
            code = MIXED_HOSTILE[number // 10 % len(MIXED_HOSTILE)] if hostile else f"result = {number} * 2"
            call = ToolCall(call_id=str(number), name="python", arguments={"code": code})
            return hostile, sandbox.run(python, call, deadline_s=MIXED_DEADLINE_S if hostile else None)

        with ThreadPoolExecutor(max_workers=4) as threads:
            list(threads.map(run, range(MIXED_WARM_UP)))
            before = own_use()
            for first in range(0, calls, MIXED_CHUNK):  # not all at once: their futures alone would weigh megabytes
                numbers = range(first, min(first + MIXED_CHUNK, calls))
                for number, (hostile, result) in zip(numbers, threads.map(run, numbers), strict=True):
                    by_status[result.status.value] += 1
                    good += not hostile
                    wrong += not hostile and (result.status is not Status.OK or result.text != str(number * 2))
            after = own_use()
        return {
            "level": sandbox.level.value,
            "calls": calls,
            "good_calls": good,
            "good_calls_wrong": wrong,
            "by_status": dict(by_status),
            "rss_mb": [before[0], after[0]],
            "open_files": [before[1], after[1]],
        }


def own_use() -> tuple[float, int]:
    """Resident memory of this process in MiB, and its open files."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20, len(list(Path("/proc/self/fd").iterdir()))


def measure_hostile(module_folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Programs x levels -> escaped, hung, failed; the same programs in a plain fork with rlimits beside them."""
    highest = isolation_report(Level.L4).level
    levels: dict[str, Any] = {}
    for level in (Level.L1, Level.L2, Level.L3, Level.L4):
        if level > highest:
            continue
        promised = [p for p in programs() if p.held_from <= level]
        verdicts = run_trial(level, programs(), (str(module_folder),))
        kept = {p.name for p in promised}
        levels[level.value] = {
            "all": summary(verdicts),
            "promised": summary(v for v in verdicts if v.program in kept),
            "not_held": [v._asdict() for v in verdicts if v.outcome != "held"],
        }
        say(f"{level.value}: {levels[level.value]['all']}")
    return {"levels": levels, "plain_fork": plain_fork_trial(programs(), say)}


def run_caged(command: Sequence[str]) -> tuple[list[Verdict], bool]:
    """Verdicts that a runner wrote, and whether it ended by itself; one that falls silent is ended."""
    verdicts: list[Verdict] = []
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(
        command, **streams, bufsize=0
    ) as runner:  # with an input of its own: it may be locked for good
        while select.select([runner.stdout], [], [], SILENCE_S)[0]:
            line = runner.stdout.readline()
            if not line:
                return verdicts, True
            if line.startswith(b"\x1e"):
                verdicts.append(Verdict(*json.loads(line[1:])))
        runner.kill()
    return verdicts, False


def plain_fork_trial(chosen: Sequence[Program], say: Callable[[str], None]) -> dict[str, Any]:
    """The same programs in a forked child with rlimits, what common evaluators do; caged so that no harm comes of it.

    The cage is this machine in small (own pid, net, ipc, mounts): inside it the programs have what a plain fork leaves.
    A runner that a program kills is started again at the next one.
    """
    caged = cage()
    if caged is None:
        return {"skipped": "bubblewrap is not installed, and without a cage these programs would do real harm"}
    verdicts: list[Verdict] = []
    while len(verdicts) < len(chosen):
        found, ended = run_caged([*caged, sys.executable, "-m", "rayplay.sandbox.plain_fork", str(len(verdicts))])
        verdicts += found
        if len(verdicts) < len(chosen):
            victim = chosen[len(verdicts)]
            verdicts.append(Verdict(victim.family, victim.name, "escaped" if ended else "hung", "its caller with it"))
    result = summary(verdicts)
    say(f"plain fork with rlimits: {result}")
    # names only: what a program read of this machine stays here
    return {"all": result, "not_held": {v.program: v.outcome for v in verdicts if v.outcome != "held"}}
