"""`rayplay export RUN --to DIR`."""

from pathlib import Path
from typing import Annotated

import typer

from rayplay.sinks import print_json, print_text
from rayplay.store import RunFolder
from rayplay.training.export import export_stage, push

export_app = typer.Typer(add_completion=False)


@export_app.command(
    epilog="Examples: `rayplay export runs/quickstart --to my-model`; "
    "`rayplay export runs/quickstart --adapter --stage round-001 --to my-adapter --push me/my-adapter`"
)
def command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    to: Annotated[Path, typer.Option(help="Folder to write; must be new or empty.")],
    merge: Annotated[bool, typer.Option("--merge/--adapter", help="Whole weights, or the adapter alone.")] = True,
    stage: Annotated[str | None, typer.Option(help="Stage to export; default the last trained one.")] = None,
    repo: Annotated[str | None, typer.Option("--push", help="Hub repository to upload to (made private).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line last.")] = False,
) -> None:
    """Write the trained model with tokenizer, chat template and a model card, ready for transformers and vLLM."""
    result = export_stage(RunFolder(run), to, stage=stage, merge=merge)
    if repo:
        result["pushed"] = push(to, repo)
    if as_json:
        print_json(result)
    else:
        print_text(f"{result['stage']} is in {to}: {', '.join(result['files'])}")
