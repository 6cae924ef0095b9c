"""`rayplay evaluate`: own metrics and official BFCL accuracies, base and tuned side by side."""

import importlib
import time
from pathlib import Path
from typing import Annotated

import typer

from rayplay.console import Say
from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl_baseline import choose_known, score_baseline
from rayplay.evaluation.bfcl_settings import BfclSettings
from rayplay.evaluation.tables import show_bfcl
from rayplay.records import Json
from rayplay.sinks import print_json
from rayplay.store import RunFolder, write_json

evaluate_app = typer.Typer(add_completion=False)


@evaluate_app.command(
    epilog="Examples: `rayplay evaluate --gold --bfcl simple_python,irrelevance --limit 30 --json`; "
    "`rayplay evaluate --model-path runs/quickstart --config configs/quickstart.json`; "
    "`rayplay evaluate --model-path runs/quickstart --bfcl simple_python,multiple,irrelevance --limit 50`; "
    "`rayplay evaluate --model-path runs/quickstart --tasks configs/test_cases.json`; "
    "`rayplay evaluate --model-path runs/quickstart --samples 8 --temperature 1`; "
    "`rayplay evaluate --compare runs/a runs/b --bfcl simple,irrelevance`"
)
def evaluate(
    model_path: Annotated[
        str, typer.Option(help="a known name, a hub id, or a folder: of a model, an adapter, or a run")
    ] = "",
    config: Annotated[Path | None, typer.Option(help="recipe whose tools and held-out tasks are used")] = None,
    tasks: Annotated[Path | None, typer.Option(help="file of cases instead, such as configs/test_cases.json")] = None,
    bfcl: Annotated[str, typer.Option(help="BFCL categories or groups, comma-separated")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="cases of each category: a random subset")] = None,
    seed: Annotated[int, typer.Option(help="of that subset")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="how often BFCL is asked; needs a temperature")] = 1,
    samples: Annotated[int, typer.Option(min=1, help="of each own task beside the greedy one, for pass@k")] = 1,
    temperature: Annotated[float, typer.Option(min=0, help="of BFCL's answers and of --samples; 0 = greedy")] = 0.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="tokens of one of BFCL's answers")] = 512,
    compare: Annotated[tuple[str, str] | None, typer.Option(help="two model paths instead of one")] = None,
    output_dir: Annotated[Path | None, typer.Option(help="where all is kept; the same folder resumes")] = None,
    trust_run: Annotated[
        bool, typer.Option("--trust-run", help="the run is mine: start and ask what its own recipe names")
    ] = False,
    gold: Annotated[bool, typer.Option("--gold", help="answer BFCL with its own right answers")] = False,
    empty: Annotated[bool, typer.Option("--empty", help="answer BFCL with nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON line last on stdout")] = False,
) -> None:
    """Evaluate a model on tasks of your own and on BFCL, with intervals; or prove the harness with known answers."""
    categories = tuple(name.strip() for name in bfcl.split(",") if name.strip())
    if sum([bool(model_path), compare is not None, gold, empty]) != 1:
        raise EvaluationError("give exactly one of --model-path, --compare, --gold and --empty")
    if repeats > 1 and temperature == 0:
        raise EvaluationError(f"--repeats {repeats} of greedy answers are the same answers; add --temperature 0.7")
    if samples > 1 and temperature == 0:
        raise EvaluationError(f"--samples {samples} of greedy answers are the same answers; add --temperature 0.7")
    say = Say()
    try:
        if gold or empty:
            result = _baseline(categories, empty=empty, limit=limit, seed=seed, output_dir=output_dir, say=say)
        else:
            settings = BfclSettings(categories, limit, seed, repeats, temperature, max_new_tokens)
            # By name, as the commands are: known answers need neither torch nor Ray, and must not wait for them.
            models = importlib.import_module("rayplay.cli.evaluate_models")
            result = models.evaluate_models(
                model_path, compare, config, tasks, settings, samples, output_dir, say, trust_run
            )
    except KeyboardInterrupt:
        say.line("stopped; the same command with the same folder goes on where this one was")
        raise typer.Exit(130) from None
    write_json(Path(result["folder"]) / "evaluation.json", result)
    say.line(f"kept in {result['folder']}")
    if as_json:
        print_json(result)


def _baseline(
    categories: tuple[str, ...], *, empty: bool, limit: int | None, seed: int, output_dir: Path | None, say: Say
) -> Json:
    if not categories:
        raise EvaluationError("--gold and --empty answer BFCL's cases: add --bfcl, for example --bfcl simple_python")
    label = "empty" if empty else "gold"
    folder = RunFolder(output_dir or Path("outputs") / f"bfcl-{label}-{time.strftime('%Y%m%d-%H%M%S')}")
    folder.check_writable()
    with say.stage("bfcl", f"{label} answers through the official handler and checker", 1, "under a minute"):
        chosen = choose_known(list(categories), empty=empty, limit=limit, seed=seed)
        folder.claim()
        result = score_baseline(folder.path / "bfcl", chosen, empty=empty)
    show_bfcl({category: {label: row} for category, row in result["bfcl"].items()}, say)
    return {**result, "folder": str(folder.path)}
