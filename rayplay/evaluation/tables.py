"""Results -> tables in the terminal."""

from rich.table import Column, Table

from rayplay.console import Say
from rayplay.records import Json
from rayplay.sinks import for_cell


def show_bfcl(table: dict[str, dict[str, Json]], say: Say) -> None:
    """BFCL categories with counts and 95 % intervals, a column per policy."""
    labels = list(dict.fromkeys(label for rows in table.values() for label in rows))
    shown = Table("BFCL category", "n", *(Column(for_cell(label)) for label in labels))
    for category, rows in table.items():
        n = next(iter(rows.values()))["n"]
        shown.add_row(for_cell(category), str(n), *(_accuracy(rows.get(label)) for label in labels))
    say.console.print(shown)
    for category, rows in table.items():
        for label, row in rows.items():
            if row.get("failing"):
                say.line(f"{category}, {label}: the official checker refuses {', '.join(row['failing'][:12])}")
            if row["failed_requests"]:
                say.line(f"{category}, {label}: {row['failed_requests']} requests were refused (prompt too long?)")


def show_own(table: dict[str, Json], say: Say) -> None:
    """Own metrics, a column per policy."""
    names = list(dict.fromkeys(name for entry in table.values() for name in entry["metrics"]))
    shown = Table("own metric", *(Column(for_cell(label)) for label in table))
    for name in names:
        shown.add_row(
            for_cell(name.replace("_", " ")), *(mean_cell(entry["metrics"].get(name)) for entry in table.values())
        )
    say.console.print(shown)


def show_changes(found: dict[str, Json], say: Say) -> None:
    """What went from wrong to right and from right to wrong, with McNemar's p and the paired interval of the gain."""
    if not found:
        return
    shown = Table("first to last", "kept", "gained", "lost", "still wrong", "gain, 95 % interval", "McNemar p")
    for name, change in found.items():
        counts, gain = change["transitions"], change["gain"]
        cells = [str(counts[key]) for key in ("kept", "gained", "lost", "still_wrong")]
        span = f"{gain['difference']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
        shown.add_row(for_cell(name), *cells, span, f"{change['mcnemar_p']:.3g}")
    say.console.print(shown)


def mean_cell(entry: Json | None) -> str:
    """A metric with its interval where it has one."""
    if not entry:
        return "-"
    if "low" not in entry:
        return f"{entry['mean']:.2f}"
    return f"{entry['mean']:.2f} ({entry['low']:.2f}-{entry['high']:.2f}) n {entry['n']}"


def _accuracy(row: Json | None) -> str:
    return f"{row['accuracy']:.3f} ({row['low']:.3f}-{row['high']:.3f})" if row else "-"
