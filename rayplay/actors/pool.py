"""Plans of groups -> sealed results, over rollout workers that may come, go or die.

Each group is handed to one worker at a time. A worker that dies or stays silent past the deadline is replaced and its
unfinished groups are handed out again, up to `attempts` times; then the group is quarantined with its reason. The first
result of a group counts, whatever else arrives later.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
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
from rayplay.records import Adapter, Trajectory


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
    running: dict[ray.ObjectRef, tuple[GroupPlan, float]] = field(default_factory=dict)
    leaving: bool = False


class RolloutPool:
    """Owns the rollout workers: starts, feeds, replaces, scales and ends them."""

    def __init__(
        self,
        settings: PoolSettings,
        engine: EngineSettings,
        limits: EpisodeLimits,
        tool_actors: list[ActorHandle],
        log_dir: str = "",
    ) -> None:
        self._settings, self._engine, self._limits = settings, engine, limits
        self._tools, self._log_dir = tool_actors, log_dir
        self._adapter: ray.ObjectRef | None = None
        self._next_number = 0
        self._workers: list[_Worker] = []
        self.replaced = 0  # workers lost and replaced so far

    def start(self) -> None:
        """Start all workers and wait until their engines answer."""
        self.scale(self._settings.num_workers)

    def scale(self, num_workers: int) -> None:
        """Change the number of workers, also while `play` is running: leavers' groups are handed out again."""
        joining = [self._start_worker() for _ in range(num_workers - len(self._workers))]
        for worker in joining:
            self._await_ready(worker)
        self._workers += joining
        for worker in self._workers[num_workers:]:
            worker.leaving = True
            ray.kill(worker.actor)
        self._workers = [w for w in self._workers if w.running or not w.leaving]

    def load(self, adapter: Adapter | None) -> None:
        """Publish weights to every worker, by the object store; later joiners fetch the same."""
        self._adapter = None if adapter is None else ray.put(adapter)
        deadline_s = self._settings.start_deadline_s
        for worker in list(self._workers):
            try:
                ray.get(worker.actor.load.remote(self._adapter), timeout=deadline_s)
            except (RayActorError, GetTimeoutError):
                self._replace(worker)

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
            self._hand_out(waiting)
            refs = [ref for worker in self._workers for ref in worker.running]
            done, _ = ray.wait(refs, timeout=1.0)
            for worker in list(self._workers):
                for ref in [ref for ref in done if ref in worker.running]:
                    plan, _ = worker.running.pop(ref)
                    try:
                        yield GroupResult(plan, ray.get(ref))
                    except RayTaskError as error:  # our own bug or a bad plan: the worker lives
                        yield from self._again(plan, str(error.cause), waiting, attempts)
                    except RayActorError as error:
                        lost = [plan, *(p for p, _ in worker.running.values())]
                        if worker.leaving:  # sent away, so its groups have lost no attempt
                            self._workers.remove(worker)
                            waiting.extend(lost)
                            break
                        self._replace(worker)
                        for again in lost:
                            yield from self._again(again, f"worker died: {error}", waiting, attempts)
                        break
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
        for worker in self._workers:
            ray.kill(worker.actor)
        self._workers = []

    def _hand_out(self, waiting: deque[GroupPlan]) -> None:
        """Fill the least busy workers first, each up to its bound."""
        while waiting:
            staying = [worker for worker in self._workers if not worker.leaving]
            worker = min(staying, key=lambda w: (len(w.running), w.number))
            if len(worker.running) >= self._settings.groups_per_worker:
                return
            plan = waiting.popleft()
            worker.running[worker.actor.play.remote(plan)] = (plan, time.monotonic())

    def _check_silence(
        self, worker: _Worker, waiting: deque[GroupPlan], attempts: dict[str, int]
    ) -> Iterator[GroupResult]:
        oldest = min((since for _, since in worker.running.values()), default=time.monotonic())
        if time.monotonic() - oldest > self._settings.group_deadline_s:
            lost = [plan for plan, _ in worker.running.values()]
            ray.kill(worker.actor)
            self._replace(worker)
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

    def _replace(self, worker: _Worker) -> None:
        """A new worker in the place of a lost one, with the newest weights."""
        self.replaced += 1
        self._workers.remove(worker)
        fresh = self._start_worker()
        self._await_ready(fresh)
        self._workers.append(fresh)

    def _start_worker(self) -> _Worker:
        number, self._next_number = self._next_number, self._next_number + 1
        settings = self._settings
        cores = usable_cores()
        share = max(1, len(cores) // settings.num_workers)
        own = cores[number * share % len(cores) :][:share]
        actor = RolloutActor.options(
            num_cpus=settings.cpus_per_worker or 0,
            num_gpus=settings.gpus_per_worker,
            max_concurrency=4 * settings.groups_per_worker,
            runtime_env={"env_vars": engine_env(own, settings.kv_cache_gib)},
        ).remote(
            self._engine,
            self._limits,
            self._tools,
            f"{self._log_dir}/rollout-{number}.log" if self._log_dir else "",
        )
        return _Worker(number, actor)

    def _await_ready(self, worker: _Worker) -> None:
        try:
            ray.get(worker.actor.ready.remote(), timeout=self._settings.start_deadline_s)
            if self._adapter is not None:
                ray.get(worker.actor.load.remote(self._adapter), timeout=self._settings.start_deadline_s)
        except GetTimeoutError as error:
            ray.kill(worker.actor)
            raise ResourceError(
                f"rollout worker {worker.number} did not start within {self._settings.start_deadline_s:g} s; "
                f"look into its log, or raise rollout.start_deadline_s"
            ) from error
        except RayActorError as error:
            raise ResourceError(f"rollout worker {worker.number} died while starting: {_last_line(error)}") from error


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:400] if lines else type(error).__name__
