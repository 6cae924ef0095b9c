"""The table of formats, the detection of a format, and path -> outcomes: every row usable or rejected with a reason."""

import importlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic_core import PydanticSerializationError

from rayplay.data import (
    alpaca,
    api_bank,
    api_bank_rows,
    button,
    glaive,
    hermes,
    openai_chat,
    preference_lines,
    records_lines,
    seal_tools,
    sharegpt,
    toolace,
    toolalpaca,
    toolbench_answers,
    toolbench_queries,
    toolbench_traces,
    toolllama,
    toolrl,
    when2call,
    xlam,
)
from rayplay.data.normal import Rejected
from rayplay.data.reading import RawRow, data_files, is_data_name, rows_of, whole_file
from rayplay.data.source import Context, Source, Usable
from rayplay.data.verdicts import refuse_marked, refuse_media
from rayplay.errors import DataError
from rayplay.records import Json, digest

_ALL = (
    records_lines.SOURCE,
    toolbench_answers.SOURCE,
    toolbench_traces.SOURCE,
    toolbench_queries.SOURCE,
    toolllama.SOURCE,
    seal_tools.SOURCE,
    seal_tools.TEXT,
    toolrl.SOURCE,
    toolace.SOURCE,
    button.SOURCE,
    when2call.PREFERENCES,
    when2call.SFT,
    hermes.SOURCE,
    sharegpt.APIGEN_MT,
    sharegpt.GLAIVE,
    glaive.SOURCE,
    xlam.SOURCE,
    toolalpaca.SOURCE,
    api_bank.SOURCE,
    api_bank_rows.SOURCE,
    preference_lines.SOURCE,
    sharegpt.PLAIN,
    openai_chat.SOURCE,
    alpaca.SOURCE,
)
# In the order of detection: where two match a row, the first is the closer one.
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SAMPLED_FILES, _SAMPLED_ROWS = 12, 8
_LICENCES = (
    ("Apache License", "Apache-2.0"),
    ("MIT License", "MIT"),
    ("Permission is hereby granted, free of charge", "MIT"),
    ("Attribution-NonCommercial 4.0", "CC-BY-NC-4.0"),
    ("Attribution 4.0", "CC-BY-4.0"),
    ("BSD 3-Clause", "BSD-3-Clause"),
)


@dataclass(frozen=True)
class Outcome:
    """What became of one row: exactly one of `usable` and `rejected` is set."""

    row: RawRow
    usable: Usable | None = None
    rejected: Rejected | None = None


@dataclass(frozen=True)
class Opened:
    """A path with its format settled: what `read_rows` and a Ray pipeline need to go on."""

    source: Source
    files: tuple[Path, ...]
    context: Context


def open_source(path: str | Path, name: str | None = None, options: Json | None = None, seed: int = 0) -> Opened:
    """Find the files, the format and what the format needs beside its rows.

    Args:
        path: File, folder, or hub id (`owner/name`, read through `datasets`).
        name: A row of SOURCES, or the beginning of several ("toolbench") to choose among; none = among all.
        options: Of the format.
        seed: For seeded choices (distractor tools).

    Raises:
        DataError: No such path, format, or no row of a known format.
    """
    place = Path(path)
    if not place.exists() and _HUB_ID.fullmatch(str(path)) and not is_data_name(place.name):
        place = importlib.import_module("rayplay.data.hub").fetch(str(path))
    among = candidates(name)
    files = data_files(place)
    rows = [f for f in files if not any(s.is_support(f) for s in among)] or files
    source = among[0] if len(among) == 1 else detect(rows, among, str(path))
    rows = [f for f in files if not source.is_support(f)] or files
    options = options or {}
    support = source.prepare(files, options) if source.prepare else None
    # a shape says nothing of who made the rows: only what lies next to the data names their licence
    context = Context(source.name, licence_beside(place), seed, support, options)
    return Opened(source, tuple(rows), context)


def candidates(name: str | None) -> list[Source]:
    """The formats that a user's word means."""
    if name is None:
        return list(SOURCES.values())
    if name in SOURCES:
        return [SOURCES[name]]
    found = [source for key, source in SOURCES.items() if key.startswith(name)]
    if not found:
        raise DataError(f"format {name!r} is unknown; known: {', '.join(SOURCES)}")
    return found


def detect(files: list[Path], among: list[Source], path: str) -> Source:
    """The format that most of a sample of rows have.

    Raises:
        DataError: None of them has any.
    """
    votes: Counter[str] = Counter()
    step = max(1, len(files) // _SAMPLED_FILES)
    first: RawRow | None = None
    for file in files[::step][:_SAMPLED_FILES]:
        rows = [r for r in islice(rows_of(file), 4 * _SAMPLED_ROWS) if not r.problem][:_SAMPLED_ROWS]
        first = first or (rows[0] if rows else None)
        for source in among:
            if source.unit == "file" and rows and source.matches([r.value for r in rows]):
                votes[source.name] += 1
        for row in rows:
            match = next((s for s in among if s.unit == "row" and s.matches(row.value)), None)
            votes.update([match.name] if match else [])
    if not votes:
        shape = f"the first row has {_shape(first)}" if first else "no row could be read"
        names = ", ".join(s.name for s in among)
        raise DataError(f"{path}: no known format: {shape}; name one with --format to see why not: {names}")
    return SOURCES[votes.most_common(1)[0][0]]


def read_rows(opened: Opened) -> Iterator[RawRow]:
    """All raw rows of an opened source, in the order of its files; problems included."""
    for file in opened.files:
        if opened.source.unit == "file":
            yield whole_file(file)
            continue
        count = 0
        for row in rows_of(file):
            count += 1
            yield from (row,) if row.problem else opened.source.expand(row)
        if not count:
            yield RawRow(None, str(file), 0, problem=("empty", "the file is empty"))


def judge(row: RawRow, opened: Opened) -> Outcome:
    """One raw row -> its outcome; all that can be wrong with data is caught here, as `Rejected`."""
    if row.problem:
        return Outcome(row, rejected=Rejected(*row.problem))
    try:
        refuse_media(row.value)
        usable = opened.source.read(row, opened.context)
        refuse_marked(row.value, usable, opened.context.options)
        _check_text(usable)
        return Outcome(row, usable=usable)
    except Rejected as rejected:
        return Outcome(row, rejected=rejected)
    except RecursionError:
        return Outcome(row, rejected=Rejected("broken_json", "nested too deeply"))


def _check_text(usable: Usable) -> None:
    """Raise Rejected where a text is no Unicode (JSON can name half a surrogate pair): nothing could write it."""
    for record in (*(usable.demonstrations or usable.tasks), *usable.preferences):
        try:
            record.model_dump_json()
        except PydanticSerializationError as error:
            raise Rejected("not_utf8", str(error)) from None


def read_source(
    path: str | Path, name: str | None = None, options: Json | None = None, max_rows: int | None = None, seed: int = 0
) -> Iterator[Outcome]:
    """Path -> the outcome of each of its rows, duplicates rejected; streams.

    Raises:
        DataError: As `open_source`.
    """
    yield from read_opened(open_source(path, name, options, seed), max_rows)


def read_opened(opened: Opened, max_rows: int | None = None) -> Iterator[Outcome]:
    """`read_source` for a source that is open already."""
    seen = Seen()
    for row in islice(read_rows(opened), max_rows):
        outcome = judge(row, opened)
        yield seen.check(outcome, opened.source)


class Seen:
    """Remembers the ids of one source, to reject rows that come twice within a file.

    Other rows of the same id (several samples of one task) are kept, with the number of their coming behind the id.
    """

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._rows: set[int] = set()

    def check(self, outcome: Outcome, source: Source) -> Outcome:
        """The outcome, or a rejection where the same row was there before."""
        name = source.identity(outcome.row) if outcome.usable is not None else ""
        if not name:
            return outcome
        number = self.number(outcome.row.file, name, digest(outcome.row.value))
        if not number:
            return Outcome(outcome.row, rejected=Rejected("duplicate_id", name))
        return outcome if number == 1 else Outcome(outcome.row, usable=outcome.usable.renamed(name, f"{name}#{number}"))

    def number(self, file: str, name: str, content: str) -> int:
        """The how many-th row of that file and id this is; 0 where the same row was there before."""
        key, row = hash((file, name)), hash((file, name, content))
        if row in self._rows:
            return 0
        self._rows.add(row)
        self._counts[key] += 1
        return self._counts[key]


def licence_beside(place: Path) -> str:
    """The licence that a LICENSE file beside the data (or one folder up) names; "" where there is none."""
    folder = place if place.is_dir() else place.parent
    for parent in (folder, folder.parent):
        for file in sorted(parent.glob("LICEN[SC]E*")):
            if file.is_file():
                text = file.read_bytes()[:4000].decode("utf-8", "replace")
                return next((name for mark, name in _LICENCES if mark in text), f"see {file.name}")
    return ""


def _shape(row: RawRow) -> str:
    if isinstance(row.value, dict):
        return f"the keys {', '.join(list(row.value)[:8])}"
    return f"a {type(row.value).__name__}: {json.dumps(row.value, default=str)[:60]}"
