"""Real runs of a scripted policy, harmed at random times until they end -> what was lost, doubled or changed.

Every run is the same recipe in a new folder. Its driver is started again as often as it ends before the run is done.
What is compared: every planned group is sealed exactly once, and the pairs equal those of a run that nobody harmed.
"""

import hashlib
import math
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from rayplay.actors.rollout import GroupPlan
from rayplay.chaos.faults import FAULTS, family, title
from rayplay.errors import EvaluationError
from rayplay.models.micro import save_chat_model
from rayplay.playing import Quarantined
from rayplay.records import Json, Trajectory
from rayplay.store import RunFolder, Stage, read_lines

MEAN_PAUSE_S = 1.0  # between two faults, unless another is asked for
DRIVER_LIVES_S = 5.0  # on average, before a fault of its own: some die while they start, some while they train
PATIENCE_S = 4.0  # for a process of the kind to come up
RUN_DEADLINE_S = 900.0  # of one driver; one that takes longer hangs
LEAVE_S = 120.0  # in the end, for what killed drivers had started: Ray's agents notice it only after a while
STARTS_MAX = 100  # of one run's driver
OUTPUT_TAIL = 2000
TICK_S = 0.1
RECIPE = Path(__file__).with_name("recipe.json")

Tell = Callable[[str], None]


@dataclass
class Harm:
    """What was done so far, and what comes next."""

    wanted: int
    rng: random.Random
    mean_pause_s: float = MEAN_PAUSE_S
    until: float = math.inf  # on the monotonic clock: no fault after that
    kinds: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)  # given up, since no such process came in time
    _next: str = ""
    _due: float = 0.0
    _until: float = 0.0

    @property
    def done(self) -> bool:
        """Whether enough was done, or for long enough."""
        return self.kinds.total() >= self.wanted or time.monotonic() > self.until

    def plan(self) -> None:
        """Draw the next fault and its time; called when a driver starts and after each fault."""
        kinds, weights = list(FAULTS), [weight for weight, _ in FAULTS.values()]
        self._next = self.rng.choices(kinds, weights)[0]
        mean = DRIVER_LIVES_S if self._next == "driver" else self.mean_pause_s
        self._due = time.monotonic() + self.rng.expovariate(1 / mean)
        self._until = self._due + PATIENCE_S

    def strike(self, driver: psutil.Process) -> None:
        """Do what is due, as soon as its victim is there."""
        now = time.monotonic()
        if self.done or now < self._due:
            return
        if FAULTS[self._next][1](driver, self.rng):
            self.kinds[self._next] += 1
        elif now < self._until:
            return
        else:
            self.missed[self._next] += 1
        self.plan()


def run_lane(
    folder: Path,
    *,
    kills: int,
    seed: int,
    tasks: int = 48,
    rounds: int = 2,
    mean_pause_s: float = MEAN_PAUSE_S,
    seconds: float = math.inf,
    tell: Tell,
) -> Json:
    """Harm runs until `kills` faults have found their victims and the last run has ended.

    Args:
        folder: Where the model and the runs go.
        kills: Faults, over all runs.
        seed: Of the faults: which, when, whom.
        tasks: Of each round; each is sampled four times.
        rounds: Of each run.
        mean_pause_s: Seconds between two faults, on average.
        seconds: No further fault after so long; the run that is going on is still brought to its end.
        tell: Takes a line of progress.

    Returns:
        The counts; `lost`, `doubled`, `quarantined` and `left_running` are 0 and `pairs_equal` is true where the
        promise holds.

    Raises:
        EvaluationError: The unharmed run fails, or a driver does not end.
    """
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"rollout.tasks_per_round": tasks, "training.rounds": rounds, "data.train_tasks": tasks * rounds}
    model = {"model.name": save_chat_model(folder / "model")}
    settings = [f"{key}={value}" for key, value in (model | sizes).items()]
    seen: set[psutil.Process] = set()
    code, output = _drive(settings, folder / "unharmed", None, seen)
    if code:
        raise EvaluationError(f"the run without any fault ended with {code}: {output}")
    wanted = pairs_of_run(folder / "unharmed")
    tell(f"unharmed run: {time.monotonic() - started:.0f} s")
    harm = Harm(kills, random.Random(seed), mean_pause_s, time.monotonic() + seconds)
    counts, runs = Counter(), 0
    while not harm.done:
        run = folder / f"run-{runs:03d}"
        counts["starts"] += _run_to_its_end(settings, run, harm, seen)
        counts += lost_and_doubled(run)
        counts["unequal"] += pairs_of_run(run) != wanted
        runs += 1
        spent = time.monotonic() - started
        tell(f"{run.name}: {harm.kinds.total()} of {kills} faults after {spent:.0f} s, {dict(counts)}")
    counts["left_running"] = end_all(seen, tell)
    names = ("groups", "lost", "doubled", "quarantined", "left_running")
    return {
        "kills": harm.kinds.total(),
        "by_kind": dict(harm.kinds),
        "without_victim": dict(harm.missed),
        "runs": runs,
        "driver_starts": counts["starts"],
        **{name: counts[name] for name in names},
        "pairs_equal": not counts["unequal"],
        "seconds": round(time.monotonic() - started, 1),
    }


def _run_to_its_end(settings: Sequence[str], run: Path, harm: Harm, seen: set[psutil.Process]) -> int:
    """Start the driver until it ends with code 0, harming it as long as there is harm to do; returns the starts."""
    for starts in range(1, STARTS_MAX + 1):
        code, output = _drive(settings, run, harm, seen)
        if code == 0:
            return starts
    raise EvaluationError(f"{run}: not done after {STARTS_MAX} starts; the last one ended with {code}: {output}")


def _drive(settings: Sequence[str], run: Path, harm: Harm | None, seen: set[psutil.Process]) -> tuple[int, str]:
    """One driver from its start to its end -> (exit code, the end of what it printed); `seen` takes its processes."""
    command = [sys.executable, "-m", "rayplay.cli", "train", str(RECIPE), "--output-dir", str(run)]
    command += [part for setting in settings for part in ("--set", setting)]
    printed_to = run.with_suffix(".log")
    with printed_to.open("ab") as printed:
        driver = psutil.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + RUN_DEADLINE_S
    if harm:
        harm.plan()
    try:
        while driver.poll() is None:
            seen.update(family(driver))
            if time.monotonic() > deadline:
                raise EvaluationError(f"{run}: the driver did not end within {RUN_DEADLINE_S:g} s; see {printed_to}")
            if harm:
                harm.strike(driver)
            with suppress(psutil.TimeoutExpired):
                driver.wait(TICK_S)
    finally:
        if driver.poll() is None:  # too late, or the lane itself is ended
            driver.kill()
    return driver.returncode, printed_to.read_text(errors="replace")[-OUTPUT_TAIL:]


def end_all(seen: set[psutil.Process], tell: Tell) -> int:
    """Wait until what the drivers started has ended; name, kill and count what has not."""
    _, left = psutil.wait_procs(seen, timeout=LEAVE_S)
    for process in left:
        tell(f"left running: {title(process)[:200]}")
        process.kill()
    psutil.wait_procs(left, timeout=LEAVE_S)
    return len(left)


def lost_and_doubled(run: Path) -> Counter[str]:
    """Samples of a finished run that are missing or there twice, and groups that were given up."""
    counts: Counter[str] = Counter()
    for stage in _rounds(run):
        plans = read_lines(stage.path / "plan.jsonl", GroupPlan)
        given_up = {q.group for q in stage.sealed(Quarantined, "trajectories-quarantined")}
        planned = {f"{p.group}/{k}" for p in plans if p.group not in given_up for k in range(len(p.seeds))}
        sealed = Counter(t.sample_id for t in stage.sealed(Trajectory))
        counts["groups"] += len(plans)
        counts["quarantined"] += len(given_up)
        counts["lost"] += len(planned - sealed.keys())
        counts["doubled"] += sum(n - 1 for n in sealed.values()) + len(sealed.keys() - planned)
    return counts


def pairs_of_run(run: Path) -> list[str]:
    """SHA-256 of the pairs of each round."""
    return [hashlib.sha256((stage.path / "pairs.jsonl").read_bytes()).hexdigest() for stage in _rounds(run)]


def _rounds(run: Path) -> list[Stage]:
    return [stage for stage in RunFolder(run).stages() if stage.name.startswith("round-")]
