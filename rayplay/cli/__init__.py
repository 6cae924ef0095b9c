"""`rayplay ...`: a thin command line. Each command group is a file, imported only when it is called."""

import importlib
import sys

import click
import typer
from typer.core import TyperGroup

from rayplay.errors import RayplayError

# command -> module of this package whose `<command>_app` implements it
COMMANDS: dict[str, str] = {
    "train": "train",
    "recipe": "recipe",
    "rollout": "stages",
    "score": "stages",
    "pairs": "stages",
    "tools": "tools",
    "sandbox": "sandbox",
    "evaluate": "evaluate",
    "bfcl": "bfcl",
    "bench": "bench",
    "export": "export",
    "data": "data",
    "generate-data": "generate",
}


class LazyGroup(TyperGroup):
    """Imports the module of a command when it is asked for, so that `rayplay --help` does not load torch or vllm."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"rayplay.cli.{COMMANDS[cmd_name]}")
        command = typer.main.get_command(getattr(module, f"{cmd_name.replace('-', '_')}_app"))
        command.name = cmd_name
        return command


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def root() -> None:
    """Teach an open language model to call your tools."""


def main() -> None:
    """Entry point: user errors become one line on stderr and exit code 2."""
    try:
        app()
    except RayplayError as error:
        print(f"rayplay: {error}", file=sys.stderr)
        sys.exit(2)
