"""Reports of data sets -> one line each: what was detected, how much is usable, what of it is kept."""

from collections.abc import Iterable

from rayplay.records import Json
from rayplay.sinks import for_markdown

HEADER = ("data", "detected as", "rows", "usable", "kept", "rejected")
# counts of a report in the words of the table
_KEPT = {
    "demonstrations": "demonstration", "tasks": "task", "preferences": "preference", "calls": "call",
    "results": "result", "thoughts": "thought", "without_loss": "message",
}  # fmt: skip


def line_of(report: Json) -> tuple[str, ...]:
    """The cells of one report under HEADER; of a path that could not be read, why not."""
    if "format" not in report:
        return report["path"], "-", "-", "-", "-", report["error"]
    reasons = ", ".join(f"{count} {reason}" for reason, count in report["rejected"].items()) or "-"
    return report["path"], report["format"], str(report["rows"]), str(report["usable"]), kept(report), reasons


def kept(report: Json) -> str:
    """What the usable rows hold, in words: records first, then what is in them."""
    held = [(report[key], word, key) for key, word in _KEPT.items() if report.get(key)]
    return ", ".join(_counted(*item) for item in held) or "-"


def _counted(count: int, word: str, key: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}{' without loss' * (key == 'without_loss')}"


def markdown_table(reports: Iterable[Json]) -> str:
    """A table in Markdown, one line a report."""
    lines = [HEADER, ("---",) * len(HEADER), *map(_safe, map(line_of, reports))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _safe(cells: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(for_markdown(cell) for cell in cells)
