"""Entries of several sources -> one order, without repeats, split so that nothing leaks. Pure functions."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from rayplay.records import Demonstration, Json, Preference, Task, ToolSpec, digest, seed_of

Item = TypeVar("Item")


_LEAST_TOOL_SHARE = 0.2  # entries with several calls are held out only where all of their tools are


class Entry(NamedTuple):
    """A task, and the demonstration that solves it where there is one."""

    task: Task
    demonstration: Demonstration | None = None


def request_of(record: Task | Demonstration) -> str:
    """What the user asks, in small letters and single blanks: two records with the same are the same question."""
    return " ".join(" ".join(m.content for m in record.messages if m.role == "user").casefold().split())


def without_repeats(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The first of all entries that ask the same with the same tools."""
    seen: set[str] = set()
    for entry in entries:
        key = digest([request_of(entry.task), sorted(t.name for t in entry.task.tools)], 16)
        if key not in seen:
            seen.add(key)
            yield entry


def split(entries: Sequence[Entry], by: str, held_out_share: float, seed: int) -> tuple[list[Entry], list[Entry]]:
    """Entries -> (train, held out).

    Args:
        entries: In any order; the result does not depend on it.
        by: "row"; "tool": no tool that a held-out entry expects to be called is called or offered in training;
            "template": all entries of an origin (the part before `#`) go to one side.
        held_out_share: About this share is held out.
        seed: Decides which.
    """
    if by == "tool":
        return _split_by_tool(entries, held_out_share, seed)
    address = (lambda e: e.task.origin.partition("#")[0]) if by == "template" else (lambda e: e.task.task_id)
    train: list[Entry] = []
    held_out: list[Entry] = []
    for entry in entries:
        (held_out if _chance(seed, address(entry)) < held_out_share else train).append(entry)
    return train, held_out


def mix(sources: Sequence[Sequence[Item]], weights: Sequence[float], count: int, seed: int) -> list[Item]:
    """Draw `count` items (fewer where the sources have fewer) with each source's share as its weight says.

    An exhausted source leaves its share to the others. The order within a source is kept.
    """
    rng = random.Random(seed_of(seed, "mix"))
    iterators = [iter(source) for source in sources]
    alive = [i for i, source in enumerate(sources) if source and weights[i] > 0]
    mixed: list[Item] = []
    while alive and len(mixed) < count:
        chosen = rng.choices(alive, [weights[i] for i in alive])[0]
        item = next(iterators[chosen], None)
        if item is None:
            alive.remove(chosen)
        else:
            mixed.append(item)
    return mixed


def token_lengths(records: Iterable[Demonstration | Preference], count: Callable[[str], int]) -> Json:
    """Length statistics in tokens: {"rows", "total", "min", "median", "p90", "p99", "max"}.

    Args:
        records: What is measured: all text of the messages, calls and tool definitions.
        count: Text -> number of tokens.
    """
    lengths = sorted(count(text_of_record(record)) for record in records)
    if not lengths:
        return {"rows": 0, "total": 0}

    def at(share: float) -> int:
        return lengths[min(len(lengths) - 1, int(share * len(lengths)))]

    return {
        "rows": len(lengths),
        "total": sum(lengths),
        "min": lengths[0],
        "median": at(0.5),
        "p90": at(0.9),
        "p99": at(0.99),
        "max": lengths[-1],
    }


def text_of_record(record: Demonstration | Preference) -> str:
    """All that a model reads and writes of a record, as one text."""
    is_pair = isinstance(record, Preference)
    messages = (*record.prompt, *record.chosen, *record.rejected) if is_pair else record.messages
    said = [m.content + "".join(f"{c.name} {c.arguments}" for c in m.tool_calls) for m in messages]
    return "\n".join([*(str(tool.as_function()) for tool in record.tools), *said])


def _split_by_tool(entries: Sequence[Entry], share: float, seed: int) -> tuple[list[Entry], list[Entry]]:
    called = {call.name for entry in entries for call in entry.task.expected.calls}
    secret = {name for name in called if _chance(seed, name) < max(share, _LEAST_TOOL_SHARE)}
    train: list[Entry] = []
    held_out: list[Entry] = []
    # an entry that calls tools of both sides belongs to neither
    for entry in entries:
        names = {call.name for call in entry.task.expected.calls}
        if names and names <= secret:
            held_out.append(entry)
        elif not names & secret:
            train.append(_without(entry, secret))
    return train, held_out


def _without(entry: Entry, secret: set[str]) -> Entry:
    """The entry without the offered tools that training must not see (it calls none of them)."""

    def kept(tools: tuple[ToolSpec, ...]) -> tuple[ToolSpec, ...]:
        return tuple(t for t in tools if t.name not in secret)

    task = entry.task.model_copy(update={"tools": kept(entry.task.tools)})
    shown = entry.demonstration
    return Entry(task, shown.model_copy(update={"tools": kept(shown.tools)}) if shown else None)


def _chance(seed: int, address: str) -> float:
    return int(digest([seed, "split", address], 8), 16) / 0x100000000
