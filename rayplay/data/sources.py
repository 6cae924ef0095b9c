"""The table of formats, the detection of a format, and path -> outcomes: every row usable or rejected with a reason."""

import importlib
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic_core import PydanticSerializationError

from rayplay.data import (
    agent_logs,
    alpaca,
    api_bank,
    api_bank_rows,
    bedrock,
    bfcl_rows,
    button,
    chat_log,
    gemini,
    glaive,
    hermes,
    langchain_runs,
    nestful,
    openai_chat,
    preference_lines,
    prompt_rows,
    records_lines,
    responses_log,
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
from rayplay.data.advice import advice
from rayplay.data.beside import definitions_in, licence_beside
from rayplay.data.folders import Found, find, is_data_name
from rayplay.data.normal import Rejected
from rayplay.data.reading import RawRow, rows_of, whole_files
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
    preference_lines.SOURCE,
    bfcl_rows.SOURCE,
    nestful.SOURCE,
    agent_logs.TAU,
    agent_logs.TOOLTALK,
    agent_logs.SWE_AGENT,
    prompt_rows.COMPLETION,
    prompt_rows.REWARD,
    hermes.SOURCE,
    sharegpt.APIGEN_MT,
    sharegpt.GLAIVE,
    glaive.SOURCE,
    xlam.SOURCE,
    toolalpaca.SOURCE,
    api_bank.SOURCE,
    api_bank_rows.SOURCE,
    responses_log.SOURCE,
    gemini.SOURCE,
    bedrock.SOURCE,
    langchain_runs.SOURCE,
    chat_log.SOURCE,
    sharegpt.PLAIN,
    openai_chat.SOURCE,
    alpaca.SOURCE,
    prompt_rows.PROMPT,
)
# In the order of detection: where two match a row, the first is the closer one.
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SAMPLED_FILES, _SAMPLED_ROWS = 12, 8
_MOST_LOOKED_AT = 200  # single objects in a folder that may be no rows
_SMALL_BYTES = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """What became of one row: exactly one of `usable` and `rejected` is set."""

    row: RawRow
    usable: Usable | None = None
    rejected: Rejected | None = None


@dataclass(frozen=True)
class Opened:
    """A path with its format settled: what `read_rows` and a Ray pipeline need to go on.

    Attributes:
        refused: Files that may not be read, one problem each.
        left_out: Name of a file -> why it is not read; not counted as rows.
    """

    source: Source
    files: tuple[Path, ...]
    context: Context
    refused: tuple[RawRow, ...] = ()
    left_out: Json = field(default_factory=dict)


def open_source(path: str | Path, name: str | None = None, options: Json | None = None, seed: int = 0) -> Opened:
    """Find the files, the format and what the format needs beside its rows.

    Args:
        path: File, folder, or hub id (`owner/name`, read through `datasets`).
        name: A row of SOURCES, or the beginning of several ("toolbench") to choose among; none = among all.
        options: Of the format; `tools` names a file with the definitions for rows that have none of their own.
        seed: For seeded choices (distractor tools).

    Raises:
        DataError: No such path, format, or no row of a known format.
    """
    place = Path(path)
    if not place.exists() and _HUB_ID.fullmatch(str(path)) and not is_data_name(place.name):
        place = importlib.import_module("rayplay.data.hub").fetch(str(path))
    among = candidates(name)
    options = options or {}
    found, tools = _with_tools(find(place), place, options)
    files = list(found.files)
    rows = [f for f in files if not any(s.is_support(f) for s in among)] or files
    source = among[0] if len(among) == 1 else detect(rows, among, str(path), found.refused)
    rows = [f for f in files if not source.is_support(f)] or files
    support = source.prepare(files, options) if source.prepare else None
    # a shape says nothing of who made the rows: only what lies next to the data names their licence
    context = Context(source.name, licence_beside(place), seed, support, options, tools)
    others = _single_objects(rows, source)
    left_out = found.left_out | {_told(f, place): "one object of another shape than the rows" for f in others}
    return Opened(source, tuple(f for f in rows if f not in others), context, found.refused, left_out)


def _with_tools(found: Found, place: Path, options: Json) -> tuple[Found, tuple[Any, ...]]:
    """The tools for all rows; a file that is called like theirs and defines none is one of rows."""
    if options.get("tools"):
        named = Path(str(options["tools"]))
        if not named.is_file():
            raise DataError(f"{named}: no such file; the option tools names a file with definitions of tools")
        return found, definitions_in(named)
    tools: list[Any] = []
    left_out = dict(found.left_out)
    files = list(found.files)
    for file in found.tool_files:
        defined = definitions_in(file)
        tools += defined
        if defined:
            left_out[_told(file, place)] = f"{len(defined)} tools, for rows that name none of their own"
        elif place.is_dir():
            files = sorted([*files, file])
    return replace(found, files=tuple(files), left_out=left_out), tuple(tools)


def _single_objects(files: list[Path], source: Source) -> set[Path]:
    """Small .json files of one object that has no known shape, next to files of rows: notes, settings, statistics."""
    single = [f for f in files if f.suffix.lower() == ".json" and f.stat().st_size <= _SMALL_BYTES]
    if source.unit == "file" or len(files) < 2 or len(single) > _MOST_LOOKED_AT:
        return set()
    found, with_rows = set(), len(files) > len(single)
    for file in single:
        rows = list(islice(rows_of(file), 2))
        is_one = len(rows) == 1 and not rows[0].problem and not rows[0].key and isinstance(rows[0].value, dict)
        with_rows = with_rows or len(rows) > 1
        if is_one and not any(s.matches(rows[0].value) for s in SOURCES.values() if s.unit == "row"):
            found.add(file)
    return found if with_rows else set()


def _told(file: Path, place: Path) -> str:
    return str(file.relative_to(place)) if place.is_dir() else str(file)


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


def detect(files: list[Path], among: list[Source], path: str, refused: Sequence[RawRow] = ()) -> Source:
    """The format that most of a sample of rows have.

    Raises:
        DataError: None of them has any.
    """
    votes: Counter[str] = Counter()
    step = max(1, len(files) // _SAMPLED_FILES)
    seen: list[RawRow] = list(refused)
    for file in files[::step][:_SAMPLED_FILES]:
        sample = list(islice(rows_of(file), 4 * _SAMPLED_ROWS))
        rows = [r for r in sample if not r.problem][:_SAMPLED_ROWS]
        seen += [*rows[:1], *(r for r in sample if r.problem)][:_SAMPLED_ROWS]
        for source in among:
            if source.unit == "file" and rows and source.matches([r.value for r in rows]):
                votes[source.name] += 1
        for row in rows:
            match = next((s for s in among if s.unit == "row" and s.matches(row.value)), None)
            votes.update([match.name] if match else [])
    if not votes:
        raise DataError(f"{path}: no known format: {advice(seen)}")
    return SOURCES[votes.most_common(1)[0][0]]


def read_rows(opened: Opened) -> Iterator[RawRow]:
    """All raw rows of an opened source, in the order of its files; problems included."""
    yield from opened.refused
    for file in opened.files:
        if opened.source.unit == "file":
            yield from whole_files(file)
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
        self._hashes: set[int] = set()

    def check(self, outcome: Outcome, source: Source) -> Outcome:
        """The outcome, or a rejection where the same row was there before."""
        name = source.identity(outcome.row) if outcome.usable is not None else ""
        if not name:
            return outcome
        number = number_of_row(self._hashes, outcome.row.file, name, digest(outcome.row.value))
        if not number:
            return Outcome(outcome.row, rejected=Rejected("duplicate_id", name))
        return outcome if number == 1 else Outcome(outcome.row, usable=outcome.usable.renamed(name, f"{name}#{number}"))


def number_of_row(seen: set[int], file: str, name: str, content: str) -> int:
    """The how many-th row of that file and id this is; 0 where the same row was there before.

    Args:
        seen: Hashes of the rows before, 64 bits each, two for a row; this row is added.
        file: Where the row stands.
        name: Its id.
        content: A digest of the whole row.
    """
    row = hash((file, name, content))
    if row in seen:
        return 0
    most = 1
    while hash((file, name, most)) in seen:
        most *= 2
    # the numbers before the next one are all there: found by halving
    number = bisect_left(range(most), True, lo=most // 2, key=lambda n: hash((file, name, n + 1)) not in seen) + 1
    seen.update((row, hash((file, name, number))))
    return number
