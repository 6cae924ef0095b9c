"""A running driver -> harm to it or to one of its processes. Each fault says whether it found its victim."""

import random
import resource
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import psutil

SPELL_S = 1.5  # how long a shortage lasts
SPARE_FILES = 1
SPARE_BYTES = 16 * 2**20

Strike = Callable[[psutil.Process, random.Random], bool]


def family(driver: psutil.Process) -> list[psutil.Process]:
    """The processes under a driver that are alive: Ray's, the actors, their zygotes."""
    with suppress(psutil.Error):
        return driver.children(recursive=True)
    return []


def title(process: psutil.Process) -> str:
    """What a process calls itself, with its arguments; "" where it is gone."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def kill_one(*marks: str) -> Strike:
    """SIGKILL for one process whose title holds all the marks."""
    return _signal_one(signal.SIGKILL, marks)


def freeze_one(*marks: str) -> Strike:
    """SIGSTOP for one process whose title holds all the marks: it lives, holds all it has, and does nothing."""
    return _signal_one(signal.SIGSTOP, marks)


def kill_driver(driver: psutil.Process, rng: random.Random) -> bool:
    """SIGKILL for the driver itself."""
    return _send(driver, signal.SIGKILL)


def shortage(limit: int, spare: Callable[[psutil.Process], int]) -> Strike:
    """Lower a resource limit of the driver to what it uses now and a little more, for a spell."""

    def strike(driver: psutil.Process, rng: random.Random) -> bool:
        with suppress(psutil.Error), lowered(driver, limit, spare(driver)):
            with suppress(psutil.TimeoutExpired):
                driver.wait(SPELL_S)
            return True
        return False

    return strike


@contextmanager
def lowered(driver: psutil.Process, limit: int, soft: int) -> Iterator[None]:
    """The driver's soft limit is `soft` within the block, and what it was after it, where the driver still lives."""
    before = driver.rlimit(limit)
    driver.rlimit(limit, (soft, before[1]))
    try:
        yield
    finally:
        with suppress(psutil.Error):
            driver.rlimit(limit, before)


def _signal_one(number: signal.Signals, marks: Iterable[str]) -> Strike:
    def strike(driver: psutil.Process, rng: random.Random) -> bool:
        victims = [p for p in family(driver) if all(mark in title(p) for mark in marks)]
        return bool(victims) and _send(rng.choice(victims), number)

    return strike


def _send(process: psutil.Process, number: signal.Signals) -> bool:
    with suppress(psutil.Error):
        process.send_signal(number)
        return True
    return False


# kind -> (how often it is drawn, what it does). What ends the driver is drawn less often: it takes long to come back.
FAULTS: dict[str, tuple[float, Strike]] = {
    "zygote": (5.0, kill_one("rayplay.sandbox.zygote")),
    "tool_actor": (4.0, kill_one("ray::ToolWorker")),
    "worker": (4.0, kill_one("ray::RolloutWorker")),
    "trainer": (1.0, kill_one("RayTrainWorker")),
    "frozen_worker": (0.2, freeze_one("ray::RolloutWorker")),
    "driver": (0.4, kill_driver),
    "disk_full": (0.25, shortage(resource.RLIMIT_FSIZE, lambda driver: 0)),  # every write of the driver fails
    "few_descriptors": (0.25, shortage(resource.RLIMIT_NOFILE, lambda driver: driver.num_fds() + SPARE_FILES)),
    "little_memory": (0.1, shortage(resource.RLIMIT_AS, lambda driver: driver.memory_info().vms + SPARE_BYTES)),
}
