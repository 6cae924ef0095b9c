"""What a source is: how its rows are recognised, and how one becomes records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rayplay.data.normal import Rejected, tasks_of
from rayplay.data.reading import RawRow
from rayplay.records import Demonstration, Json, Preference, Task

Kind = Literal["demonstrations", "tasks", "preferences"]


@dataclass(frozen=True)
class Usable:
    """What one raw row gives. `repairs` says what was changed to make it usable."""

    demonstrations: tuple[Demonstration, ...] = ()
    tasks: tuple[Task, ...] = ()
    preferences: tuple[Preference, ...] = ()
    repairs: tuple[str, ...] = ()

    def renamed(self, old: str, new: str) -> "Usable":
        """The same records under another row id."""

        def named(task: Task) -> Task:
            before = f"{task.source}/{old}"
            rest = task.task_id.removeprefix(before) if task.task_id.startswith(before) else None
            renamed = f"{task.source}/{new}{rest}" if rest is not None else task.task_id.replace(old, new, 1)
            return task.model_copy(update={"task_id": renamed})

        return replace(
            self,
            demonstrations=tuple(d.model_copy(update={"row_id": new}) for d in self.demonstrations),
            tasks=tuple(named(task) for task in self.tasks),
            preferences=tuple(p.model_copy(update={"row_id": p.row_id.replace(old, new, 1)}) for p in self.preferences),
        )


@dataclass(frozen=True)
class Context:
    """What a reader may use beside its row.

    Attributes:
        support: What `Source.prepare` found (a tool library, schemas seen in use).
        options: The recipe's `options` of this source.
        tools: Definitions that lie beside the rows, for rows that have none of their own.
    """

    source: str
    licence: str = ""
    seed: int = 0
    support: Any = None
    options: Json = field(default_factory=dict)
    tools: tuple[Any, ...] = ()

    def about(self, row: RawRow) -> Json:
        """Provenance fields of every record from this row."""
        return {"licence": self.licence, "origin": row.where}


Matches = Callable[[Any], bool]
Read = Callable[[RawRow, Context], Usable]


@dataclass(frozen=True)
class Source:
    """One public shape.

    Attributes:
        matches: Whether a row's value has this shape; never raises.
        read: Row -> records; raises Rejected.
        gives: What `data convert` writes first.
        unit: Whether a row is an element of a file, or a whole file of lines.
        is_support: Files that are not rows (tool libraries).
        prepare: (all files, options) -> `Context.support`.
        identity: Row -> its own id, for the check of duplicates; "" where it has none.
        expand: Row -> the rows inside it.
    """

    name: str
    matches: Matches
    read: Read
    gives: Kind = "demonstrations"
    unit: Literal["row", "file"] = "row"
    is_support: Callable[[Path], bool] = lambda path: False
    prepare: Callable[[Sequence[Path], Json], Any] | None = None
    identity: Callable[[RawRow], str] = lambda row: id_of(row)
    expand: Callable[[RawRow], Sequence[RawRow]] = lambda row: (row,)


def id_of(row: RawRow) -> str:
    """The row's own id: its key, or one of the usual fields."""
    if row.key:
        return row.key
    if isinstance(row.value, dict):
        for name in ("id", "row_id", "uuid", "unique_id", "query_id"):
            if isinstance(row.value.get(name), str | int):
                return str(row.value[name])
    return ""


def row_id(row: RawRow) -> str:
    """The id of the records of a row: its own, else its place."""
    return id_of(row) or f"{Path(row.file).name}:{row.line}"


def has(value: Any, /, **kinds: type | tuple[type, ...]) -> bool:
    """Whether `value` is an object whose named fields have these types."""
    return isinstance(value, dict) and all(isinstance(value.get(k), t) for k, t in kinds.items())


def text_of(value: Any, field_name: str = "content") -> str:
    """A message's content: text, nothing, or a list of text parts.

    Raises:
        Rejected: It is something else.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(p, str) or has(p, text=str) for p in value):
        return "".join(p if isinstance(p, str) else p["text"] for p in value)
    raise Rejected("wrong_format", f"{field_name} is a {type(value).__name__}")


def one(demonstration: Demonstration) -> Usable:
    """The usual result: a demonstration, and the tasks in it."""
    return Usable((demonstration,), tuple(tasks_of(demonstration)))
