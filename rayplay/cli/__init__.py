"""`rayplay ...`: a thin command line. Each command group is a file, imported only when it is called."""

import errno
import importlib
import signal
import sys
import traceback
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup

from rayplay.errors import RayplayError
from rayplay.sinks import for_line, print_text


class Lazy(NamedTuple):
    """A command that is not imported yet: the module whose `<command>_app` implements it, and its line in the help."""

    module: str
    line: str


COMMANDS: dict[str, Lazy] = {
    "train": Lazy("train", "Carry out a recipe: sample, execute, score, pair, train, publish, measure."),
    "recipe": Lazy("recipe", "Look at recipes, or print their JSON schema."),
    "rollout": Lazy("stages", "Sample one round and seal it; nothing is trained."),
    "scale": Lazy("stages", "Change the number of rollout workers of a run that is going."),
    "score": Lazy("stages", "Score sealed trajectories with other rewards; nothing is sampled."),
    "pairs": Lazy("stages", "Pair sealed trajectories and explain the pairs."),
    "tools": Lazy("tools", "Look at tools, try them, add new ones."),
    "doctor": Lazy("doctor", "What this machine has, and what is missing."),
    "sandbox": Lazy("sandbox", "What isolation tools run in, as proven on this machine."),
    "evaluate": Lazy("evaluate", "Measure models on tasks of your own and on BFCL, with intervals."),
    "bfcl": Lazy("bfcl", "Run the official `bfcl` by hand."),
    "bench": Lazy("bench", "Measure how fast a part is, beside what it replaces."),
    "export": Lazy("export", "Write the trained model, ready for transformers and vLLM."),
    "data": Lazy("data", "Inspect, convert and show tool-use data sets."),
    "generate-data": Lazy("generate", "Make tasks and demonstrations and write them as JSON lines."),
}


# of a file system that refuses a path; what a command did not foresee of them is no fault of the program
REFUSED_PATHS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.ENOSPC, errno.EDQUOT),
)
CALLED = "rayplay.called"  # key of the context: the command that is called, not only listed


class LazyGroup(TyperGroup):
    """Imports the module of a command when it is called; `rayplay --help` shows the lines above and loads nothing."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        ctx.meta[CALLED] = args[0]
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        lazy = COMMANDS[cmd_name]
        if ctx.meta.get(CALLED) == cmd_name:
            module = importlib.import_module(f"rayplay.cli.{lazy.module}")
            found = getattr(module, f"{cmd_name.replace('-', '_')}_app")
        else:
            found = typer.Typer(add_completion=False, help=lazy.line)
            found.callback(invoke_without_command=True)(lambda: None)
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def root() -> None:
    """Teach an open language model to call your tools."""


def main() -> None:
    """Entry point: user errors become one line on stderr and exit code 2; SIGINT and SIGTERM end a command alike."""
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell starts background jobs with it ignored
        signal.signal(number, signal.default_int_handler)
    try:
        app()
    except RayplayError as error:
        print_text(f"rayplay: {for_line(error)}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in REFUSED_PATHS or not error.filename:
            print_text(traceback.format_exc(), file=sys.stderr)
            sys.exit(1)
        print_text(f"rayplay: {for_line(f'{error.filename}: {error.strerror}; choose another path')}", file=sys.stderr)
        sys.exit(2)
    except Exception:
        print_text(traceback.format_exc(), file=sys.stderr)  # names and texts of others stand in it
        sys.exit(1)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ray's own bounded shutdown is left: a third Ctrl-C garbles it
