"""`rayplay bfcl -- ...`: BFCL's own command line in its own environment, knowing the models of an evaluation."""

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl_environment import SCRIPTS, bfcl_python, official_environment
from rayplay.output_paths import check_output_folder

bfcl_app = typer.Typer(add_completion=False)


@bfcl_app.command(
    epilog="Examples: `rayplay bfcl -- test-categories`; "
    "`rayplay bfcl --root runs/quickstart/evaluation/ab12cd/bfcl -- evaluate --model rayplay-base-FC "
    "--test-category simple_python --partial-eval`; "
    "`rayplay bfcl -- generate --model Qwen/Qwen3-0.6B-FC --skip-server-setup --local-model-path DIR "
    "--test-category simple_python,parallel,multiple,multi_turn`",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def bfcl(
    arguments: Annotated[list[str], typer.Argument(help="what follows `bfcl`, after --")],
    root: Annotated[Path, typer.Option(envvar="BFCL_PROJECT_ROOT", help="Where result/ and score/ stand.")] = Path(
        "outputs/bfcl"
    ),
    base_url: Annotated[str, typer.Option(help="OpenAI-compatible endpoint to ask, ending in /v1")] = "",
    key: Annotated[str, typer.Option(help="its key", envvar="RAYPLAY_BFCL_KEY")] = "none",
) -> None:
    """Run the official `bfcl` by hand.

    With --root at the bfcl folder of an evaluation, `evaluate` judges the same answers again: the same numbers.
    """
    check_output_folder(root, "--root")
    root.mkdir(parents=True, exist_ok=True)
    served = {"OPENAI_BASE_URL": base_url, "REMOTE_OPENAI_BASE_URL": base_url} if base_url else {}
    keys = {"OPENAI_API_KEY": key, "REMOTE_OPENAI_API_KEY": key}
    environment = official_environment(root, **keys, **served)
    command = [str(bfcl_python()), str(SCRIPTS / "driver.py"), "run", *arguments]
    try:
        done = subprocess.run(command, env=environment)
    except OSError as error:
        raise EvaluationError(f"the official bfcl did not start: {error}") from error
    if done.returncode:
        raise typer.Exit(done.returncode)
