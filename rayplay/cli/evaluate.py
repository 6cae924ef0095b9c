"""`rayplay evaluate`: own metrics and official BFCL accuracies, base and tuned side by side."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl_baseline import score_baseline
from rayplay.records import Json

evaluate_app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

EXAMPLES = """
Examples:

    rayplay evaluate --gold --bfcl simple_python,multiple,irrelevance --limit 30 --json

    rayplay evaluate --model-path runs/quickstart --config configs/quickstart.json

    rayplay evaluate --model-path runs/quickstart --bfcl simple_python,irrelevance --limit 50
"""


@evaluate_app.command(epilog=EXAMPLES)
def evaluate(
    bfcl: Annotated[str, typer.Option(help="BFCL categories or groups, comma-separated")] = "",
    limit: Annotated[
        int | None, typer.Option(min=1, help="cases of each category, a random subset fixed by --seed")
    ] = None,
    seed: Annotated[int, typer.Option(help="of subsets, sampling and resampling")] = 0,
    output_dir: Annotated[Path | None, typer.Option(help="where everything is kept; the same folder resumes")] = None,
    gold: Annotated[bool, typer.Option("--gold", help="answer BFCL with its own right answers")] = False,
    empty: Annotated[bool, typer.Option("--empty", help="answer BFCL with nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON line last on stdout")] = False,
) -> None:
    """Evaluate a model on tasks of your own and on BFCL, with intervals; or prove the harness with known answers."""
    console = Console(stderr=True, highlight=False)
    if gold and empty:
        raise EvaluationError("--gold and --empty are two runs; give one of them")
    if not (gold or empty):
        raise EvaluationError("nothing to evaluate: give --model-path, --gold or --empty")
    categories = [name for name in bfcl.split(",") if name.strip()]
    if not categories:
        raise EvaluationError("--gold and --empty answer BFCL's cases: add --bfcl, for example --bfcl simple_python")
    label = "empty" if empty else "gold"
    folder = output_dir or Path("outputs") / f"bfcl-{label}-{time.strftime('%Y%m%d-%H%M%S')}"
    with console.status(f"BFCL with {label} answers (official handler and checker, about 30 s)"):
        result = score_baseline(folder / "bfcl", categories, empty=empty, limit=limit, seed=seed)
    finish({**result, "folder": str(folder)}, folder, console, as_json=as_json)


def finish(result: Json, folder: Path, console: Console, *, as_json: bool) -> None:
    """Keep the result as evaluation.json, show it, and print it as one line where asked."""
    (folder / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    show_bfcl(result["bfcl"], console)
    console.print(f"kept in {folder}")
    if as_json:
        print(json.dumps(result))


def show_bfcl(rows: dict[str, Json], console: Console) -> None:
    """Categories with counts and 95 % intervals, as a table."""
    table = Table("BFCL category", "accuracy", "95 % interval", "n", "failing")
    for category, row in rows.items():
        failing = row.get("failing", [])
        interval = f"[{row['low']:.3f}, {row['high']:.3f}]".replace("[", r"\[")
        more = ", ..." if len(failing) > 5 else ""
        table.add_row(category, f"{row['accuracy']:.3f}", interval, str(row["n"]), ", ".join(failing[:5]) + more)
    console.print(table)
