"""`rayplay data inspect | convert | show`: what a data set holds, as counts, as chat lines, as transcripts."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from rayplay.cli.data_reports import losses, named, print_report, report_of, unless_empty, warn
from rayplay.data.census import Census
from rayplay.data.contamination import NGRAM, overlaps
from rayplay.data.mixing import request_of, token_lengths
from rayplay.data.overview import markdown_table
from rayplay.data.reading import rows_of
from rayplay.data.source import has
from rayplay.data.sources import Opened, open_source, read_opened, read_source
from rayplay.data.transcript import transcript
from rayplay.data.writing import write_lines, write_texts
from rayplay.errors import DataError
from rayplay.output_paths import check_output_file
from rayplay.records import Json
from rayplay.sinks import print_json, print_text

data_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Inspect, convert and show tool-use data sets.")

PathArgument = Annotated[str, typer.Argument(help="File, folder, or hub id (owner/name).")]
FormatOption = Annotated[
    str | None, typer.Option("--format", help="A known format, or the beginning of its name; detected if not given.")
]
OptionsOption = Annotated[
    list[str] | None, typer.Option("--option", help="An option of the format, as name=value; repeat for several.")
]
SeedOption = Annotated[int, typer.Option(help="Seed of what is drawn (distractor tools).")]
MaxRows = Annotated[int | None, typer.Option(help="Read at most this many rows.")]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Exit with 1 where most rows, or all rows with calls, are rejected.")
]


@data_app.command()
def inspect(
    paths: Annotated[list[str], typer.Argument(help="Files, folders, or hub ids (owner/name).")],
    format: FormatOption = None,
    option: OptionsOption = None,
    max_rows: MaxRows = None,
    seed: SeedOption = 0,
    tokens: Annotated[
        str | None, typer.Option(help="Also give the lengths of rows in tokens of this model (name, hub id or folder).")
    ] = None,
    strict: StrictOption = False,
    as_table: Annotated[bool, typer.Option("--table", help="Print a Markdown table, one line a path.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line a path.")] = False,
) -> None:
    """Count what is usable, and why the rest is not.

    Of several paths each has its own report; one that cannot be read is told, and the exit code is 2.

    Examples:

        rayplay data inspect ~/data/toolbench/answer

        rayplay data inspect train.jsonl --format openai-jsonl --json

        rayplay data inspect train.jsonl --tokens smollm2-135m-instruct

        rayplay data inspect ~/data/*.jsonl --table
    """
    unit, count = ("characters", len)
    if tokens:
        # transformers takes seconds to import: only where asked for
        unit, count = "tokens", importlib.import_module("rayplay.models.token_counts").token_counter(tokens)
    reports: list[Json] = []
    censuses: list[tuple[str, Census]] = []
    problems: list[DataError] = []
    for path in paths:
        try:
            opened = open_source(path, format, _options(option), seed)
        except DataError as error:
            problems.append(error)
            reports.append({"path": path, "error": str(error)})
            continue
        census = Census.of(opened)
        usable = (found for outcome in read_opened(opened, max_rows) if (found := census.counted(outcome).usable))
        lengths = {unit: token_lengths((r for u in usable for r in (*u.demonstrations, *u.preferences)), count)}
        reports.append(report_of(path, census, opened) | lengths)
        censuses.append((path, census))
        if not as_json and not as_table:
            print_report(path if len(paths) > 1 else "", census, opened, lengths)
    if as_table:
        print_text(markdown_table(reports))
    for report in reports if as_json else ():
        if "format" in report or len(paths) > 1:
            print_json(report)
    _settle(censuses, problems, strict, alone=len(paths) == 1)


def _settle(censuses: list[tuple[str, Census]], problems: list[DataError], strict: bool, alone: bool) -> None:
    """End `inspect`: with what is wrong with a path, else with the warnings."""
    for path, census in censuses:
        try:
            census.require_usable(path)
        except DataError as error:
            problems.append(error)
        warn(path, census)
    if problems and alone:
        raise problems[0]
    for problem in problems:
        print_text(f"rayplay: {problem}", file=sys.stderr)
    if problems:
        raise typer.Exit(2)
    if strict and any(census.warnings() for _, census in censuses):
        raise typer.Exit(1)


@data_app.command()
def convert(
    path: PathArgument,
    out: Annotated[Path, typer.Argument(help="The file to write; .gz compresses it.")],
    format: FormatOption = None,
    what: Annotated[
        Literal["auto", "demonstrations", "tasks", "preferences"], typer.Option(help="auto: what the format is for.")
    ] = "auto",
    option: OptionsOption = None,
    max_rows: MaxRows = None,
    seed: SeedOption = 0,
    use_ray: Annotated[bool, typer.Option("--ray", help="Judge rows on all cores or nodes of a Ray cluster.")] = False,
    strict: StrictOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Write chat lines: OpenAI-style messages and tools, with source, id, licence and origin of each row.

    Says how many rows were kept of how many, and why the others were not; with --strict, nothing is written where most
    rows, or all rows with calls, are rejected.

    Examples:

        rayplay data convert ~/data/seal-tools seal.jsonl

        rayplay data convert ~/data/toolbench/answer pairs.jsonl --what preferences
    """
    check_output_file(out, "OUT")
    opened = open_source(path, format, _options(option), seed)
    census = Census.of(opened)
    kind = opened.source.gives if what == "auto" else what
    if use_ray:
        # Ray takes seconds to import: only where asked for
        pipeline = importlib.import_module("rayplay.actors.data")
        lines = pipeline.judged_lines(opened, kind, census, max_rows)
        written = write_texts(out, unless_empty(lines, census, kind, path, strict))
    else:
        outcomes = (census.counted(outcome) for outcome in read_opened(opened, max_rows))
        written = write_lines(out, unless_empty(outcomes, census, kind, path, strict), kind)
    if as_json:
        print_json({**report_of(path, census, opened), "out": str(out), "what": kind, "written": written})
        return
    print_text(f"{out}: {written} {kind}; {losses(census)}")
    if opened.left_out:
        print_text(f"not read: {named(opened.left_out)}")


@data_app.command()
def show(
    path: PathArgument,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="How many conversations.")] = 3,
    format: FormatOption = None,
    option: OptionsOption = None,
    seed: SeedOption = 0,
) -> None:
    """Print the first conversations as readable transcripts.

    Example:

        rayplay data show ~/data/glaive --n 2
    """
    opened: Opened = open_source(path, format, _options(option), seed)
    census = Census.of(opened)
    shown = 0
    for outcome in read_opened(opened):
        census.count(outcome)
        usable = outcome.usable
        records = (usable.demonstrations or usable.preferences or usable.tasks) if usable else ()
        for record in records[: n - shown]:
            print_text(f"{transcript(record)}\n")
            shown += 1
        if shown >= n:
            return
    census.require_usable(path)


@data_app.command()
def overlap(
    train: Annotated[str, typer.Argument(help="What is to be trained on.")],
    test: Annotated[str, typer.Argument(help="What is measured on: a data set, or BFCL question files.")],
    ngram: Annotated[int, typer.Option(min=2, help="Words of a shared run that count as overlap.")] = NGRAM,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Name the training rows that ask what a test row asks; exit code 1 where there are any.

    Example:

        rayplay data overlap generated/sft_zoo/demonstrations.jsonl BFCL_v4_simple_python.json
    """
    found = overlaps(_questions(train), _questions(test), ngram)
    if as_json:
        print_json({"overlaps": len(found), "rows": [o._asdict() for o in found]})
    else:
        for hit in found:
            print_text(f"{hit.train_id} asks what {hit.test_id} asks: {hit.how}")
        print_text(f"{len(found)} training rows overlap")
    if found:
        raise typer.Exit(1)


def _questions(path: str) -> Iterator[tuple[str, str]]:
    """(id, question) of a data set in any format, or of BFCL's question files."""
    if Path(path).is_file():
        rows = (row.value for row in rows_of(Path(path)))
        first = next(rows, None)
        if isinstance(first, dict) and isinstance(first.get("question"), list):
            for value in (first, *rows):
                if has(value, id=str, question=list):
                    turns = [m for turn in value["question"] for m in turn if has(m, content=str)]
                    yield value["id"], " ".join(m["content"] for m in turns)
            return
    for outcome in read_source(path):
        for task in outcome.usable.tasks if outcome.usable else ():
            yield task.task_id, request_of(task)


def _options(pairs: list[str] | None) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r}: write name=value")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found
