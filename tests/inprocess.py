"""The whole loop in one process: no Ray, no engine, no gradients, but every file that a run writes.

Real: recipe, tasks, episodes, rewards, pairs, run folder, resumption. Replaced: who samples (tests.scripted), who
executes (the tool functions themselves), and training (an adapter that is a hash of its rows).
"""

import asyncio
import hashlib
import io
import json
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from rayplay import checking, opening, run
from rayplay.actors.cluster import Cluster
from rayplay.actors.pool import GroupResult
from rayplay.actors.rollout import EngineSettings, RolloutWorker
from rayplay.actors.training import TrainOutcome
from rayplay.console import Say
from rayplay.data.prepare import Prepared, prepare
from rayplay.dialects import Dialect
from rayplay.loop import train
from rayplay.models.sampler import ScriptedSampler
from rayplay.models.scripted_policy import answer
from rayplay.models.tokenizers import load_dialect
from rayplay.recipe import Recipe
from rayplay.records import Adapter, Status, ToolCall, ToolResult, ToolSpec
from rayplay.store import FAULT, RunFolder
from rayplay.toolbox import check_arguments, find_tool, spec_of
from tools.calculator import calculator
from tools.weather import weather

AWAIT_AHEAD = "RAYPLAY_TEST_AWAIT_AHEAD"  # trainings that end only after a group was sampled ahead meanwhile
LATE_TOO = "RAYPLAY_TEST_LATE_TOO"  # results come again, late and otherwise: sampled anew, then given up
FUNCTIONS = {"calculator": calculator, "weather": weather}
AHEAD_WAIT_S = 60
_ahead: dict[str, threading.Event] = defaultdict(threading.Event)  # by policy: it has sampled a group ahead
SPECS = tuple(spec_of(function, f"tools.{name}") for name, function in FUNCTIONS.items())


def use(call: ToolCall) -> ToolResult:
    """The result of a call, executed right here."""
    spec = find_tool(SPECS, call.name)
    problem = call.problem or (Status.UNKNOWN_TOOL if spec is None else None)
    wrong = "" if problem or spec is None else check_arguments(spec, call.arguments)
    if problem or wrong:
        status = problem or Status.BAD_ARGUMENTS
        return ToolResult(call_id=call.call_id, name=call.name, status=status, text=wrong or status.value)
    try:
        value = FUNCTIONS[call.name](**call.arguments)
    except Exception as error:
        return ToolResult(call_id=call.call_id, name=call.name, status=Status.TOOL_ERROR, text=str(error))
    return ToolResult(
        call_id=call.call_id,
        name=call.name,
        status=Status.OK,
        text=value if isinstance(value, str) else json.dumps(value),
    )


class _Tools:
    """What a rollout worker needs of a tool actor."""

    class call:
        """`actor.call.remote(...)`."""

        @staticmethod
        async def remote(call: ToolCall, state: str | None) -> ToolResult:
            """The result at once."""
            return use(call)


class Pool:
    """What a run needs of a RolloutPool."""

    def __init__(self, settings: object, engine: EngineSettings, limits: object, *_: object) -> None:
        self._worker = RolloutWorker(engine, limits, [_Tools])

    def start(self) -> None:
        """Nothing to start."""

    def close(self) -> None:
        """Nothing to end."""

    def load(self, adapter: Adapter | None) -> None:
        """Publish weights."""
        asyncio.run(self._worker.load(adapter))

    def play(self, plans: list, stop: threading.Event | None = None) -> Iterator[GroupResult]:
        """One group after another."""
        for plan in plans:
            if stop is not None and stop.is_set():
                return
            yield GroupResult(plan, asyncio.run(self._worker.play(plan)))
            if stop is not None:
                _ahead[plan.policy].set()
            if os.environ.get(LATE_TOO):
                again = plan.model_copy(update={"seeds": tuple(seed + 1 for seed in plan.seeds)})
                yield GroupResult(plan, asyncio.run(self._worker.play(again)))
        if os.environ.get(LATE_TOO):
            yield from (GroupResult(plan, [], "worker silent past its deadline") for plan in plans)


def learn(*, rows: list, version: str, start: Adapter | None, storage_dir: str, **_: object) -> TrainOutcome:
    """An adapter that is a function of what it was trained on."""
    if version in os.environ.get(AWAIT_AHEAD, "").split(","):
        assert _ahead[start.version].wait(AHEAD_WAIT_S), f"nothing was sampled ahead while {version} was trained"
    content = hashlib.sha256("".join(row.model_dump_json() for row in rows).encode()).hexdigest()
    content += start.version if start else ""
    folder = Path(storage_dir)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("{}\n")
    return TrainOutcome(
        adapter=Adapter(version=version, files={"adapter_model.safetensors": content.encode()}),
        steps=[],
        seconds=0.0,
        raw_tokens=1,
        unique_tokens=1,
        left_out={},
    )


@contextmanager
def _cluster(recipe: Recipe) -> Iterator[Cluster]:
    yield Cluster(cpus=2, gpus=0, nodes=1, local=True)


def install(model_dir: Path) -> None:
    """Put the in-process parts in their places; call in a process that is given up afterwards."""
    facts = {"model_dir": str(model_dir), "dtype": "float32", "tools": [s.name for s in SPECS]}
    checked = checking.Checked(facts | {"isolation": {"level": "L0"}}, SPECS, load_dialect(model_dir))
    opening.check = lambda recipe: checked
    opening.open_recipe_cluster = _cluster
    opening.start_tool_actors = lambda recipe: [None]
    opening.RolloutPool = Pool
    opening._make_tasks = _make_tasks
    run.train_policy = learn


def _make_tasks(recipe: Recipe, specs: tuple[ToolSpec, ...], tools: object, load_teacher: object) -> Prepared:
    def execute(name: str, arguments: dict, state: str | None = None) -> ToolResult:
        return use(ToolCall(call_id="label", name=name, arguments=arguments))

    return prepare(recipe.data, specs, execute, seed=recipe.seed, demonstrations=8)


def play_run(recipe: Recipe, folder: Path, fault: str = "") -> str:
    """Carry the recipe out; returns what was printed. Call `install` before."""
    os.environ[FAULT] = fault
    printed = io.StringIO()
    train(recipe, RunFolder(folder), Say(Console(file=printed, width=200)))
    return printed.getvalue()


def make_scripted(settings: EngineSettings, dialect: Dialect) -> ScriptedSampler:
    """For `rollout.engine`."""
    return ScriptedSampler(dialect.tokenizer, answer)
