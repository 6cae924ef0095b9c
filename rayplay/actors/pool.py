"""Plans of groups -> sealed results, over rollout workers that may come, go or die.

Each group is handed to one worker at a time. A worker that dies, whose engine dies, or that stays silent past the
deadline is replaced, and its unfinished groups are handed out again, up to `attempts` times; then the group is
quarantined with its reason. The first result of a group counts, whatever else arrives later. Joiners start beside the
others and play once they are ready; if one cannot start, the others go on without it.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import NamedTuple

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from rayplay.actors.rollout import EngineSettings, GroupPlan, RolloutActor
from rayplay.episode import EpisodeLimits
from rayplay.errors import ResourceError
from rayplay.models.device import engine_env, usable_cores
from rayplay.models.sampler import EngineDied
from rayplay.records import Adapter, Trajectory
from rayplay.sinks import for_line

log = logging.getLogger(__name__)


class GroupResult(NamedTuple):
    """A finished group, or why there is none."""

    plan: GroupPlan
    trajectories: list[Trajectory]
    quarantined: str = ""


@dataclass(frozen=True)
class PoolSettings:
    """How many workers, what each reserves, and how long is too long."""

    num_workers: int = 1
    cpus_per_worker: float | None = None
    gpus_per_worker: float = 0
    kv_cache_gib: int = 1
    start_deadline_s: float = 300.0
    group_deadline_s: float = 600.0
    attempts: int = 3
    groups_per_worker: int = 16  # handed out at once: enough to fill the engine's batch, no more


@dataclass
class _Worker:
    number: int
    actor: ActorHandle
    ready: ray.ObjectRef  # done once it can play, with the newest weights
    since: float
    running: dict[ray.ObjectRef, tuple[GroupPlan, float]] = field(default_factory=dict)


class RolloutPool:
    """Owns the rollout workers: starts, feeds, replaces, scales and ends them."""

    def __init__(
        self,
        settings: PoolSettings,
        engine: EngineSettings,
        limits: EpisodeLimits,
        tool_actors: list[ActorHandle],
        log_dir: str = "",
        asked: Callable[[], int | None] = lambda: None,
    ) -> None:
        """`asked` gives the number of workers that somebody wants while `play` is running; None: as many as before."""
        self._settings, self._engine, self._limits = settings, engine, limits
        self._tools, self._log_dir, self._asked = tool_actors, log_dir, asked
        self._adapter: ray.ObjectRef | None = None
        self._next_number = 0
        self._wanted = settings.num_workers
        self._last_asked: int | None = None
        self._workers: list[_Worker] = []
        self._joining: list[_Worker] = []
        self.replaced = 0  # workers lost and replaced so far

    def start(self) -> None:
        """Start all workers and wait until their engines answer.

        Raises:
            ResourceError: One did not start.
        """
        self._workers = [self._start_worker() for _ in range(self._wanted)]
        for worker in self._workers:
            if why := self._why_not_ready(worker, self._settings.start_deadline_s):
                raise ResourceError(why)

    def load(self, adapter: Adapter | None) -> None:
        """Publish weights to every worker, by the object store; later joiners fetch the same."""
        self._adapter = None if adapter is None else ray.put(adapter)
        for worker in (*self._workers, *self._joining):
            worker.ready, worker.since = worker.actor.load.remote(self._adapter), time.monotonic()
        for worker in list(self._workers):
            if self._why_not_ready(worker, self._settings.start_deadline_s):
                self._lose(worker)

    def play(self, plans: Iterable[GroupPlan], stop: Event | None = None) -> Iterator[GroupResult]:
        """Results in the order in which groups finish. Every plan gives exactly one.

        Once `stop` is set nothing more is handed out: what is in flight still comes, the other plans give nothing.
        """
        waiting = deque(plans)
        attempts: dict[str, int] = {}
        while waiting or any(worker.running for worker in self._workers):
            if stop is not None and stop.is_set():
                waiting.clear()
                if not any(worker.running for worker in self._workers):
                    return
            waiting.extend(self._scale())
            self._hand_out(waiting)
            refs = [ref for worker in self._workers for ref in worker.running]
            done, _ = ray.wait([*refs, *(worker.ready for worker in self._joining)], timeout=1.0)
            for worker in list(self._workers):
                for ref in [ref for ref in done if ref in worker.running]:
                    plan, _ = worker.running.pop(ref)
                    try:
                        yield GroupResult(plan, ray.get(ref))
                    except (RayActorError, EngineDied) as error:
                        cause = error.cause if isinstance(error, RayTaskError) else error
                        lost = [plan, *(p for p, _ in worker.running.values())]
                        self._lose(worker)
                        for again in lost:
                            yield from self._again(again, f"worker died: {cause}", waiting, attempts)
                        break
                    except RayTaskError as error:  # our own bug or a bad plan: the worker lives
                        yield from self._again(plan, str(error.cause), waiting, attempts)
                else:
                    yield from self._check_silence(worker, waiting, attempts)

    def stats(self) -> list[dict[str, float]]:
        """The engines' counters, a dictionary per worker that answers in time."""
        found = []
        for worker in self._workers:
            try:
                found.append(ray.get(worker.actor.stats.remote(), timeout=10))
            except (RayActorError, GetTimeoutError):
                continue
        return found

    def close(self) -> None:
        """End all workers."""
        for worker in (*self._workers, *self._joining):
            ray.kill(worker.actor)
        self._workers, self._joining = [], []

    def _scale(self) -> list[GroupPlan]:
        """Start and dismiss workers until there are as many as wanted; returns the unfinished groups of the dismissed.

        Raises:
            ResourceError: No worker is left, and none can be started.
        """
        asked = self._asked()
        if asked is not None and asked != self._last_asked:
            self._last_asked = self._wanted = max(1, asked)
        for worker in list(self._joining):
            late = time.monotonic() - worker.since > self._settings.start_deadline_s
            if late or ray.wait([worker.ready], timeout=0)[0]:
                self._joining.remove(worker)
                self._welcome(worker)
        missing = self._wanted - len(self._workers) - len(self._joining)
        self._joining += [self._start_worker() for _ in range(missing)]
        dismissed = []
        for _ in range(-missing):
            worker = (self._joining or self._workers).pop()
            dismissed += [plan for plan, _ in worker.running.values()]
            ray.kill(worker.actor)
        return dismissed

    def _welcome(self, worker: _Worker) -> None:
        """Let a joiner play; where it cannot, the others go on without it."""
        why = self._why_not_ready(worker, 0)
        if not why:
            self._workers.append(worker)
            return
        self._wanted = len(self._workers) + len(self._joining)
        if not self._wanted:
            raise ResourceError(why)
        log.warning("%s; %d rollout workers go on", for_line(why), self._wanted)

    def _hand_out(self, waiting: deque[GroupPlan]) -> None:
        """Fill the least busy workers first, each up to its bound."""
        while waiting:
            worker = min(self._workers, key=lambda w: (len(w.running), w.number), default=None)
            if worker is None or len(worker.running) >= self._settings.groups_per_worker:
                return
            plan = waiting.popleft()
            worker.running[worker.actor.play.remote(plan)] = (plan, time.monotonic())

    def _check_silence(
        self, worker: _Worker, waiting: deque[GroupPlan], attempts: dict[str, int]
    ) -> Iterator[GroupResult]:
        oldest = min((since for _, since in worker.running.values()), default=time.monotonic())
        if time.monotonic() - oldest > self._settings.group_deadline_s:
            lost = [plan for plan, _ in worker.running.values()]
            self._lose(worker)
            for plan in lost:
                yield from self._again(plan, "worker silent past its deadline", waiting, attempts)

    def _again(
        self, plan: GroupPlan, reason: str, waiting: deque[GroupPlan], attempts: dict[str, int]
    ) -> Iterator[GroupResult]:
        attempts[plan.group] = attempts.get(plan.group, 0) + 1
        if attempts[plan.group] < self._settings.attempts:
            waiting.append(plan)
        else:
            yield GroupResult(plan, [], f"{attempts[plan.group]} attempts; last: {reason.splitlines()[0][:300]}")

    def _lose(self, worker: _Worker) -> None:
        """End a worker that is lost; another one joins in its place."""
        self.replaced += 1
        self._workers.remove(worker)
        ray.kill(worker.actor)

    def _start_worker(self) -> _Worker:
        number, self._next_number = self._next_number, self._next_number + 1
        settings = self._settings
        cores = usable_cores()
        share = max(1, len(cores) // settings.num_workers)
        own = cores[number * share % len(cores) :][:share]
        log_path = f"{self._log_dir}/rollout-{number}.log" if self._log_dir else ""
        actor = start_rollout_actor(settings, self._engine, self._limits, self._tools, own, log_path)
        ready = actor.ready.remote() if self._adapter is None else actor.load.remote(self._adapter)
        return _Worker(number, actor, ready, time.monotonic())

    def _why_not_ready(self, worker: _Worker, timeout_s: float) -> str:
        """What keeps a worker from playing after so many seconds more; "" where nothing does."""
        try:
            ray.get(worker.ready, timeout=timeout_s)
        except GetTimeoutError:
            ray.kill(worker.actor)
            return (
                f"rollout worker {worker.number} did not start within {self._settings.start_deadline_s:g} s; "
                f"look into its log, or raise rollout.start_deadline_s"
            )
        except RayActorError as error:
            return f"rollout worker {worker.number} died while starting: {last_line(error)}"
        return ""


def start_rollout_actor(
    settings: PoolSettings,
    engine: EngineSettings,
    limits: EpisodeLimits,
    tools: list[ActorHandle],
    cores: list[int],
    log_path: str = "",
) -> ActorHandle:
    """A rollout worker that has begun to start, with its engine's threads on `cores`."""
    options = RolloutActor.options(
        num_cpus=settings.cpus_per_worker or 0,
        num_gpus=settings.gpus_per_worker,
        max_concurrency=4 * settings.groups_per_worker,
        runtime_env={"env_vars": engine_env(cores, settings.kv_cache_gib)},
    )
    return options.remote(engine, limits, tools, log_path)


def last_line(error: Exception) -> str:
    """What an error of an actor says at its end, where its cause stands."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:400] if lines else type(error).__name__
