"""What `rayplay data` tells of a data set: counts, reasons, warnings."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar, get_args

import typer
from rich.console import Console
from rich.table import Table

from rayplay.data.census import Census
from rayplay.data.source import Kind
from rayplay.data.sources import Opened
from rayplay.errors import DataError
from rayplay.records import Json
from rayplay.sinks import for_cell, print_text

Item = TypeVar("Item")
_MOST_NAMED = 5


def report_of(path: str, census: Census, opened: Opened) -> Json:
    """The report of a path, ready for JSON."""
    return census.summary() | {"warnings": census.warnings(), "files_left_out": opened.left_out, "path": path}


def print_report(title: str, census: Census, opened: Opened, lengths: Json) -> None:
    """Counts, lengths, reasons of rejection with the first example of each, and files that are not read."""
    console = Console()
    if title:
        print_text(title)
    table = Table(show_header=False, box=None)
    for key, value in census.summary().items():
        if not isinstance(value, dict):
            table.add_row(for_cell(key), for_cell(value))
    for key, value in lengths.items():
        table.add_row(for_cell(key), for_cell(", ".join(f"{name} {number}" for name, number in value.items())))
    console.print(table)
    if census.rejected:
        rejected = Table("rejected because", "rows", "first example", box=None)
        for reason, count in census.rejected.most_common():
            rejected.add_row(for_cell(reason), str(count), for_cell(census.first[reason]))
        console.print(rejected)
    if opened.left_out:
        print_text(f"not read: {named(opened.left_out)}")


def warn(path: str, census: Census) -> None:
    """Say on stderr what must not be overlooked."""
    for warning in census.warnings():
        print_text(f"WARNING: {path}: {warning}", file=sys.stderr)


def unless_empty(items: Iterable[Item], census: Census, kind: Kind, path: str, strict: bool = False) -> Iterator[Item]:
    """The items; behind the last one, before a file appears, an end where there is nothing to write or too much lost.

    Raises:
        DataError: There is nothing of that kind.
        typer.Exit: With `strict`, where a warning stands.
    """
    yield from items
    census.require_usable(path)
    if not census.sums[kind]:
        held = ", ".join(other for other in get_args(Kind) if census.sums[other])
        raise DataError(f"{path}: its {census.usable} usable rows hold no {kind}; --what takes what they hold: {held}")
    warn(path, census)
    if strict and census.warnings():
        raise typer.Exit(1)


def losses(census: Census) -> str:
    """How many rows were kept of how many, and why the others were not."""
    lost = census.rows - census.usable
    if not lost:
        return f"{census.usable} of {census.rows} rows kept"
    reasons = "; ".join(
        f"{count} {reason}, first {census.first[reason]}" for reason, count in census.rejected.most_common(_MOST_NAMED)
    )
    return f"{census.usable} of {census.rows} rows kept, {lost} rejected: {reasons}"


def named(left_out: Json) -> str:
    """The first of the files that are not read, with why."""
    shown = [f"{name} ({why})" for name, why in list(left_out.items())[:_MOST_NAMED]]
    more = len(left_out) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
