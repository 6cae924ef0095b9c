"""A recipe's data section -> training tasks, held-out tasks and demonstrations, the same for the same seed."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import NamedTuple

from rayplay.data.census import Census
from rayplay.data.mixing import Entry, request_of, split, without_repeats
from rayplay.data.normal import tasks_of
from rayplay.data.sources import Opened, candidates, open_source, read_opened
from rayplay.data.teacher import Teacher
from rayplay.data.teacher_chat import ChatFunnel, ChatSettings, teach
from rayplay.data.teacher_source import teacher_entries
from rayplay.data.templates import build_tasks, read_options
from rayplay.data.toolbench_synthetic import synthetic_rows
from rayplay.data.zoo import zoo_rows
from rayplay.errors import DataError
from rayplay.recipe import Data, DataSource
from rayplay.records import Demonstration, Preference, Task, ToolResult, ToolSpec, digest
from rayplay.sinks import print_text

Execute = Callable[[str, dict], ToolResult]
LoadTeacher = Callable[[str | None], Teacher]
Rows = Callable[[int, int, str, dict], Iterator[Demonstration]]

# Sources that make their rows: (seed, count, split, options) -> demonstrations. They keep their own splits apart.
GENERATORS: dict[str, Rows] = {
    "zoo": lambda seed, count, side, options: zoo_rows(seed, count, side, **options),
    "toolbench_synthetic": lambda seed, count, side, options: synthetic_rows(seed, count, side, **options),
}
TEACHERS = ("teacher", "teacher_chat")
TEACHER_TEMPERATURE = 0.8
OPTIONS = {"zoo": {"group"}, "toolbench_synthetic": {"finish", "distractors"}}
LEAST_HELD_OUT_SHARE = 0.1


class Prepared(NamedTuple):
    """What a run learns from and is measured on; no held-out task shares its request with a training task."""

    train: list[Task]
    held_out: list[Task]
    demonstrations: list[Demonstration]  # of the training tasks, in their order where a task has one


def wants_teacher(data: Data) -> bool:
    """Whether a source wants a model of ours as its teacher."""
    return any(
        s.source == "teacher" or (s.source == "teacher_chat" and "base_url" not in s.options) for s in data.sources
    )


def no_teacher(name: str | None) -> Teacher:
    """Stands where no teacher can be started.

    Raises:
        DataError: Always.
    """
    raise DataError(f"no teacher can be started here (model {name or 'of the recipe'}); train, or use generate-data")


def prepare(
    data: Data,
    specs: tuple[ToolSpec, ...],
    execute: Execute,
    *,
    seed: int,
    demonstrations: int,
    load_teacher: LoadTeacher = no_teacher,
) -> Prepared:
    """Read or generate all sources by weight.

    Args:
        data: The recipe's section.
        specs: The tools on offer.
        execute: (tool name, arguments) -> result, by the real tools: labels are what they return.
        seed: The run's seed.
        demonstrations: How many demonstrations training will want.
        load_teacher: Starts a teacher by its model's name (none: the policy itself), for the sources that want one.

    Raises:
        DataError: A source gives nothing.
    """
    total = sum(source.weight for source in data.sources)
    train: list[Entry] = []
    held_out: list[Entry] = []
    for source in data.sources:
        share = source.weight / total
        wanted = max(1, round(max(data.train_tasks, demonstrations) * share))
        apart = max(1, round(data.held_out_tasks * share))
        if data.max_rows is not None:
            wanted, apart = min(wanted, data.max_rows), min(apart, data.max_rows)
        learned, measured = _read(source, specs, execute, wanted, apart, data, seed, load_teacher)
        train += learned
        held_out += measured
    asked = {request_of(entry.task) for entry in held_out}
    train = [entry for entry in train if request_of(entry.task) not in asked]
    if not train or not held_out:
        raise DataError(
            f"the data sources give {len(train)} training and {len(held_out)} held-out tasks; both are needed: "
            "raise data.max_rows or data.train_tasks, or add a source"
        )
    train.sort(key=lambda entry: digest([seed, entry.task.task_id]))
    return Prepared(
        [entry.task for entry in train],
        [entry.task for entry in held_out][: data.held_out_tasks],
        [entry.demonstration for entry in train if entry.demonstration is not None],
    )


def read_preferences(data: Data, seed: int) -> list[Preference]:
    """The preferences of all sources that are read from a path.

    Raises:
        DataError: There is none.
    """
    found: list[Preference] = []
    for source in data.sources:
        if source.path is None:
            continue
        opened = open_source(source.path, _format(source), source.options, seed)
        census = Census.of(opened)
        for outcome in read_opened(opened, data.max_rows):
            census.count(outcome)
            found.extend(outcome.usable.preferences if outcome.usable else ())
        census.require_usable(source.path)
        _warn(source.path, census)
    if not found:
        names = ", ".join(source.source for source in data.sources)
        raise DataError(f"the data sources ({names}) give no preferences; use toolbench-answers or preference-jsonl")
    return found


def _read(
    source: DataSource,
    specs: tuple[ToolSpec, ...],
    execute: Execute,
    wanted: int,
    apart: int,
    data: Data,
    seed: int,
    load_teacher: LoadTeacher,
) -> tuple[list[Entry], list[Entry]]:
    """(train, held out) of one source."""
    if source.source == "templates":
        train, held_out = (
            [
                Entry(*pair)
                for pair in build_tasks(
                    specs,
                    execute,
                    count=count,
                    split=side,
                    seed=seed,
                    kinds=source.kinds,
                    **read_options(source.options),
                )
            ]
            for side, count in (("train", wanted), ("held_out", apart))
        )
        return train, held_out
    if source.source == "teacher":
        # measured on the other sources: what a teacher keeps is no test
        entries = teacher_entries(
            specs, execute, count=wanted, seed=seed, options=source.options, load=load_teacher, say=_tell
        )
        return entries, []
    if source.source == "teacher_chat":
        return _taught(source, specs, execute, wanted, seed, load_teacher), []
    if source.source in GENERATORS:
        rows = GENERATORS[source.source]
        unknown = set(source.options) - OPTIONS[source.source]
        if unknown:
            known = ", ".join(sorted(OPTIONS[source.source]))
            raise DataError(f"data source {source.source!r} has no option {min(unknown)!r}; known: {known}")
        train, held_out = (
            [Entry(tasks_of(row)[0], row) for row in rows(seed, count, side, source.options)]
            for side, count in (("train", wanted), ("held_out", apart))
        )
        return train, held_out
    return _read_path(source, wanted, apart, data, seed)


def _taught(
    source: DataSource,
    specs: tuple[ToolSpec, ...],
    execute: Execute,
    wanted: int,
    seed: int,
    load_teacher: LoadTeacher,
) -> list[Entry]:
    """What a chat teacher wrote and solved.

    Options: base_url, model and api_key_env (the name of a variable) of an OpenAI-compatible server, or a model alone
    (none: the policy itself) for a teacher in a rollout worker; temperature; and the fields of ChatSettings.
    """
    options = source.options
    if "base_url" in options and "model" not in options:
        raise DataError('data source "teacher_chat" needs the option model beside base_url')
    settings = ChatSettings(
        **{k: v for k, v in options.items() if k in ChatSettings.__dataclass_fields__} | {"seed": seed}
    )
    funnel = ChatFunnel()
    temperature = options.get("temperature", TEACHER_TEMPERATURE)
    if "base_url" in options:
        reach = {k: options[k] for k in ("base_url", "model", "api_key_env") if k in options}
        ask = importlib.import_module("rayplay.data.endpoint").endpoint(**reach, temperature=temperature)
        shown = teach(ask, specs, execute, settings, funnel)
    else:
        with closing(load_teacher(options.get("model"))) as teacher:
            shown = teach(partial(teacher.say, temperature=temperature), specs, execute, settings, funnel)
    _tell(f"teacher_chat: {funnel.told()}")
    return [Entry(tasks_of(row)[0], row) for row in shown[:wanted]]


def _warn(path: str, census: Census) -> None:
    for warning in census.warnings():
        _tell(f"WARNING: {path}: {warning}")


def _tell(line: str) -> None:
    print_text(line, file=sys.stderr)  # standard output belongs to --json


def _read_path(source: DataSource, wanted: int, apart: int, data: Data, seed: int) -> tuple[list[Entry], list[Entry]]:
    if source.path is None:
        known = ", ".join(["templates", *TEACHERS, *GENERATORS])
        raise DataError(f"data source {source.source!r} needs a path; sources that generate: {known}")
    opened = open_source(source.path, _format(source), source.options, seed)
    census = Census.of(opened)
    entries = list(without_repeats(_entries(opened, census, data.max_rows)))
    census.require_usable(source.path)
    _warn(source.path, census)
    share = max(LEAST_HELD_OUT_SHARE, apart / (apart + wanted))
    train, held_out = split(entries, data.split_by, min(share, 0.5), seed)
    train.sort(key=lambda entry: digest([seed, "order", entry.task.task_id]))
    held_out.sort(key=lambda entry: digest([seed, "order", entry.task.task_id]))
    if not held_out and len(train) > 1 and data.split_by == "row":
        held_out.append(train.pop())  # a set of a few rows still needs something to measure on
    return train[:wanted], held_out[:apart]


def _entries(opened: Opened, census: Census, max_rows: int | None) -> Iterator[Entry]:
    for outcome in read_opened(opened, max_rows):
        usable = census.counted(outcome).usable
        if usable is None:
            continue
        # a demonstration goes with the first task of its conversation
        shown = usable.demonstrations[0] if len(usable.demonstrations) == 1 else None
        for n, task in enumerate(usable.tasks):
            yield Entry(task, shown if n == 0 else None)


def _format(source: DataSource) -> str | None:
    if source.source != "auto":
        candidates(source.source)
    return None if source.source == "auto" else source.source
