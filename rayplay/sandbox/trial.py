"""Hostile programs x a sandbox -> held, escaped, hung or failed, with a good call after each."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from rayplay.records import Status, ToolCall
from rayplay.sandbox.hostile import SPECIAL_TOKENS, Ground, Program
from rayplay.sandbox.hygiene import neutralise
from rayplay.sandbox.levels import Level, Limits
from rayplay.sandbox.pool import Sandbox

LIMITS = Limits(deadline_s=10.0, cpu_s=10, memory_mb=256, output_bytes=16 * 1024)
HOSTILE_DEADLINE_S = 0.8
SLACK_S = 20.0  # beyond the deadline, for a machine that does other things too
NOTE_CHARS = 200
GOOD_CODE = "import os\nprint(os.listdir('.'))\nresult = 6 * 7\n"
GOOD_TEXT = "[]\n42"


class Verdict(NamedTuple):
    """What came of one program; `outcome` is held, escaped, hung or failed."""

    family: str
    program: str
    outcome: str
    note: str = ""


Run = Callable[[str], tuple[str, str]]  # code -> (status, text), within its own deadline


def try_program(program: Program, ground: Ground, run: Run, check_after: Callable[[], str]) -> Verdict:
    """Run the steps of one program, and see what it reached and what it left behind."""
    started = time.monotonic()
    texts = [run(ground.fill_in(step))[1] for step in program.steps]
    seconds = time.monotonic() - started
    text = "\n".join(texts)
    reached = ground.breach(text)
    if program.name == "same_random_numbers" and texts[0].splitlines()[-1:] == texts[1].splitlines()[-1:]:
        reached = "the same random numbers"
    left = check_after()
    if reached:
        return Verdict(program.family, program.name, "escaped", f"{reached}: {text[:NOTE_CHARS]}")
    if seconds > len(program.steps) * (HOSTILE_DEADLINE_S + SLACK_S):
        return Verdict(program.family, program.name, "hung", f"{seconds:.1f} s")
    if left:
        return Verdict(program.family, program.name, "failed", left)
    return Verdict(program.family, program.name, "held", text[:NOTE_CHARS])


class SandboxTrial:
    """A sandbox with the python tool, as the place of a trial."""

    def __init__(self, level: Level, module: str = "tools.python", search_paths: tuple[str, ...] = ()) -> None:
        self.sandbox = Sandbox((module,), level=level, limits=LIMITS, search_paths=search_paths, size=1)
        self.spec = self.sandbox.describe()[0]
        self.uids: set[int] = set()

    def run(self, code: str, deadline_s: float = HOSTILE_DEADLINE_S) -> tuple[str, str]:
        """One call of the python tool."""
        call = ToolCall(call_id="trial", name=self.spec.name, arguments={"code": code})
        result = self.sandbox.run(self.spec, call, deadline_s=deadline_s)
        return result.status.value, neutralise(result.text, SPECIAL_TOKENS)  # what a tool actor does

    def check_after(self) -> str:
        """What is wrong after a program: a wrong good call, or processes left; "" = nothing."""
        status, text = self.run(GOOD_CODE, LIMITS.deadline_s)
        if status != Status.OK or text != GOOD_TEXT:
            return f"the next good call: {status} {text[:NOTE_CHARS]!r}"
        return self._strays()

    def _strays(self) -> str:
        """Processes that run as one of our children's users while no call is running."""
        idle = self.sandbox.idle()
        self.uids |= {z.uid for z in idle} - {os.getuid()}
        strays = []
        for _ in range(200):
            strays = [pid for pid in processes_of(self.uids) if pid not in {z.process.pid for z in idle if z.process}]
            if not strays:
                return ""
            time.sleep(0.05)  # the kernel may still be taking a killed process apart
        return f"processes left: {strays}"

    def close(self) -> None:
        """End the sandbox."""
        self.sandbox.close()


def run_trial(level: Level, chosen: Iterable[Program], search_paths: tuple[str, ...] = ()) -> list[Verdict]:
    """Try programs at a level, one after the other."""
    trial = SandboxTrial(level, search_paths=search_paths)
    try:
        with Ground() as ground:
            return [try_program(p, ground, trial.run, trial.check_after) for p in chosen]
    finally:
        trial.close()


def processes_of(uids: set[int]) -> list[int]:
    """Processes of these users that are not zombies."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and uids:
            try:
                if folder.stat().st_uid in uids or _uid_of(folder) in uids:
                    found.append(int(folder.name))
            except OSError:
                continue  # ended meanwhile
    return found


def _uid_of(folder: Path) -> int:
    """The real uid of a process; a folder in /proc belongs to root where its process cannot be dumped."""
    lines = (folder / "status").read_text().splitlines()
    if any(line.startswith("State:\tZ") for line in lines):
        return -1
    return int(next(line for line in lines if line.startswith("Uid:")).split()[1])


def summary(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """Counts by outcome."""
    counts = Counter(v.outcome for v in verdicts)
    return {"programs": sum(counts.values()), **{k: counts[k] for k in ("held", "escaped", "hung", "failed")}}
