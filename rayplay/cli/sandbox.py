"""`rayplay sandbox check`."""

from typing import Annotated

import typer

from rayplay.sandbox import Level, isolation_report, require_level
from rayplay.sinks import print_json, print_text

sandbox_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="What isolation tools run in, as proven on this machine."
)


@sandbox_app.callback()
def sandbox() -> None:
    """What isolation tools run in, as proven on this machine."""


@sandbox_app.command(epilog="Examples: `rayplay sandbox check`, `rayplay sandbox check --require L3 --json`")
def check(
    require: Annotated[
        Level, typer.Option(help="Fail below this level; L4 (gVisor) is tried only when asked for.")
    ] = Level.L0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line.")] = False,
) -> None:
    """Run the canaries and report the isolation level that they prove."""
    report = isolation_report(max(Level.L3, require))
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        print_text(f"level         {report.level.value}")
        print_text(f"held          {', '.join(report.held) or 'nothing'}")
        print_text(f"not held      {', '.join(report.not_held) or 'nothing that was tried'}")
        if report.not_tested:
            print_text(f"not tested    {', '.join(report.not_tested)}")
        print_text(f"not higher    {report.why_not_higher}")
        print_text(f"one scratch   {report.scratch_bound}")
        print_text(f"tools run as  uid {report.uid}; Landlock ABI {report.landlock_abi or 'none'}")
    require_level(require.value)
