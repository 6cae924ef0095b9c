"""`rayplay tools list|show|new|call|batch`."""

import json
import keyword
import os
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from rayplay.call_lines import read_line, result_json, run_lines
from rayplay.errors import ToolboxError
from rayplay.output_paths import check_output_file
from rayplay.records import Status, ToolCall, ToolSpec
from rayplay.sandbox import Level, Limits, Sandbox
from rayplay.sinks import for_line, print_json, print_text
from rayplay.text_files import encoding_of
from rayplay.tool_files import module_of, tool_modules_in, tools_in
from rayplay.toolbox import find_tool

tools_app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look at tools, try them, add new ones.")

Folder = Annotated[Path, typer.Option(help="Folder of the tool files.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Require = Annotated[str, typer.Option(help="Lowest isolation level to accept; L0 is no isolation at all.")]
NEEDS = ("network", "files")
Allow = Annotated[list[str] | None, typer.Option(help="What tools may need: network or files. Repeat for both.")]
Deadline = Annotated[float | None, typer.Option(min=0.01, help="Seconds for one call; at most the tool's own.")]


@tools_app.command("list", epilog="Example: `rayplay tools list`")
def list_tools(folder: Folder = Path("tools"), as_json: AsJson = False) -> None:
    """List all tools of a folder."""
    specs, broken = describe(folder)
    if as_json:
        print_json({"tools": [spec.model_dump(mode="json") for spec in specs], "broken": broken})
        return
    width = max((len(spec.name) for spec in specs), default=0)
    for spec in sorted(specs, key=lambda s: (s.module, s.name)):
        notes = [
            spec.module,
            *([f"state: {spec.toolset}"] if spec.toolset else []),
            *(f"needs {n}" for n in spec.needs),
        ]
        print_text(f"{spec.name:<{width}}  {for_line(spec.description[:70])}  ({'; '.join(notes)})")
    for module, problem in broken.items():
        print_text(f"{module}: cannot be loaded: {for_line(problem)}", file=sys.stderr)


@tools_app.command(epilog="Example: `rayplay tools show calculator`")
def show(
    name: Annotated[str, typer.Argument(help="Name of a tool.")],
    folder: Folder = Path("tools"),
    as_json: AsJson = False,
) -> None:
    """Show one tool as the model and the executor see it."""
    with open_sandbox((module_of(name, folder),), folder, size=1) as sandbox:
        spec = named(sandbox.describe(), name)
    if as_json:
        print_json(spec.model_dump(mode="json"))
        return
    print_json(spec.as_function(), indent=2)
    once = "may be repeated after a crash of ours" if spec.idempotent else "never repeated"
    print_text(f"\n{spec.module}{f', a method of {spec.toolset}' if spec.toolset else ''}; {once}; "
          f"{spec.deadline_s:g} s, {spec.memory_mb} MiB; needs: {', '.join(spec.needs) or 'nothing'}")  # fmt: skip


@tools_app.command(epilog="Example: `rayplay tools new currency` writes tools/currency.py and its test.")
def new(
    name: Annotated[str, typer.Argument(help="Name of the tool, a Python identifier.")],
    folder: Folder = Path("tools"),
    tests: Annotated[Path, typer.Option(help="Folder of the test.")] = Path("tests/unit"),
) -> None:
    """Write a tool that works, and its test, for you to change."""
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ToolboxError(f"{name!r} cannot name a tool: use letters, digits and _, for example convert_money")
    targets = {folder / f"{name}.py": "new_tool.py.txt", tests / f"test_tools_{name}.py": "new_tool_test.py.txt"}
    for path, option in zip(targets, ("--folder", "--tests"), strict=True):
        check_output_file(path, option)
    if folder.is_dir() and name in tools_in(folder):
        raise ToolboxError(f"there is a tool {name!r} already, in {tools_in(folder)[name]}; choose another name")
    for path in targets:
        if path.exists():
            raise ToolboxError(f"{path} exists already; remove it or choose another name")
    for path, template in targets.items():
        text = files("rayplay.cli").joinpath(template).read_text(encoding="utf-8")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(name=name, package=folder.name), encoding="utf-8")
        print_text(f"wrote {path}")
    print_text(
        f'Name it in a recipe as "{folder.name}.{name}"; try it: rayplay tools call {name} \'{{"text": "hey"}}\''
    )


@tools_app.command(epilog="""Example: `rayplay tools call calculator '{"expression": "2*21"}'`""")
def call(
    name: Annotated[str, typer.Argument(help="Name of a tool.")],
    arguments: Annotated[str, typer.Argument(help="Its arguments, a JSON object.")] = "{}",
    state: Annotated[str | None, typer.Option(help="JSON state that a stateful toolset starts from.")] = None,
    folder: Folder = Path("tools"),
    require: Require = "L2",
    allow: Allow = None,
    deadline_s: Deadline = None,
    as_json: AsJson = False,
) -> None:
    """Call one tool in the sandbox. Exit code 1 where the call did not succeed."""
    given = {"name": name, "arguments": arguments} | ({"state": read_state(state)} if state else {})
    module = module_of(name, folder)
    with open_sandbox((module,), folder, require, allow, size=1) as sandbox:
        check_needs(named(sandbox.describe(), name), allow)
        line = read_line(json.dumps(given).encode(), 1)
        if line[0].problem is Status.INVALID_JSON:
            line = ToolCall(call_id="line-1", name=name, problem=Status.INVALID_JSON), None
        result = next(run_lines(sandbox, [line], deadline_s=deadline_s, at_once=1))
    shown = result_json(result)
    if as_json:
        print_json(shown)
    else:
        print_text(result.text if result.status is Status.OK else f"{result.status.value}: {result.text}")
        if result.state is not None:
            print_text(f"state: {result.state}")
    if result.status is not Status.OK:
        raise typer.Exit(1)


@tools_app.command(epilog="Example: `rayplay tools batch calls.jsonl --json > results.jsonl`")
def batch(
    calls: Annotated[Path, typer.Argument(help='Lines of {"name": ..., "arguments": {...}}; - reads standard input.')],
    folder: Folder = Path("tools"),
    require: Require = "L2",
    allow: Allow = None,
    deadline_s: Deadline = None,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="Calls that run at once.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Run many calls at once in the sandbox: one result per line, in the order of the calls.

    A broken line gives a result with status invalid_json. Every call has a process of its own; only what "state" holds
    goes into it.
    """
    lines = [read_line(raw, number) for number, raw in enumerate(read_raw_lines(calls), 1)]
    holders = tools_in(folder)
    modules = tuple(sorted({holders[c.name] for c, _ in lines if c.name in holders}))
    with open_sandbox(modules, folder, require, allow, size=at_once) as sandbox:
        for result in run_lines(sandbox, lines, deadline_s=deadline_s, at_once=at_once):
            if as_json:
                print_json(result_json(result))
            else:
                print_text(
                    f"{result.status.value:<13} {result.seconds:7.3f} s  {result.name[:80]!r}: {result.text[:200]!r}"
                )


def open_sandbox(
    modules: tuple[str, ...], folder: Path, require: str = "L2", allow: list[str] | None = None, size: int = 4
) -> Sandbox:
    """A sandbox at the highest level that this machine proves, at least `require`.

    Raises:
        SandboxError: The level is below `require`.
        ToolboxError: There is no level, or nothing to allow, of that name.
    """
    unknown = [need for need in allow or () if need not in NEEDS]
    if unknown:
        raise ToolboxError(f"--allow {unknown[0]!r}: there are {', '.join(NEEDS)}")
    if require not in Level.__members__:
        raise ToolboxError(f"--require {require!r}: there are {', '.join(Level.__members__)}")
    level = Level.L0 if require == Level.L0 else None  # asked for by name: no isolation, whatever holds here
    where = (str(folder.absolute().parent), os.getcwd())
    return Sandbox(
        modules,
        require=require,
        level=level,
        limits=Limits(queue_s=600.0),
        search_paths=where,
        size=size,
        allow=tuple(allow or ()),
    )


def describe(folder: Path) -> tuple[list[ToolSpec], dict[str, str]]:
    """All tools of a folder, and what is wrong with the files that cannot be loaded."""
    tools_in(folder)
    modules = tool_modules_in(folder)
    try:
        with open_sandbox(modules, folder, size=1) as sandbox:
            return list(sandbox.describe()), {}
    except ToolboxError:  # one file is enough; look at each apart to find which
        specs, broken = [], {}
        for module in modules:
            try:
                with open_sandbox((module,), folder, size=1) as sandbox:
                    specs += sandbox.describe()
            except ToolboxError as error:
                broken[module] = str(error)
        return specs, broken


def named(specs: tuple[ToolSpec, ...], name: str) -> ToolSpec:
    """The tool of that name among a module's.

    Raises:
        ToolboxError: The file marks it, but loading it gave another.
    """
    spec = find_tool(specs, name)
    if spec is None:
        raise ToolboxError(f"the file of {name!r} defines no such tool when loaded; it has: {[s.name for s in specs]}")
    return spec


def check_needs(spec: ToolSpec, allow: list[str] | None) -> None:
    """Refuse a tool that needs what is not allowed.

    Raises:
        ToolboxError: It does.
    """
    lacking = sorted(set(spec.needs) - set(allow or ()))
    if lacking:
        raise ToolboxError(f"{spec.name} needs {', '.join(lacking)}; add {' '.join(f'--allow {n}' for n in lacking)}")


def read_state(text: str) -> dict:
    """--state as an object.

    Raises:
        ToolboxError: It is no JSON object.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ToolboxError(f"--state is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ToolboxError(f"--state is a {type(value).__name__}; give a JSON object")
    return value


def read_raw_lines(path: Path) -> list[bytes]:
    """The lines of a file or of standard input; a last line break ends a line and begins none.

    Raises:
        ToolboxError: The file cannot be read.
    """
    try:
        text = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise ToolboxError(f"{path}: cannot read the calls: {error.strerror}; give a file of JSON lines") from None
    if found := encoding_of(text):
        raise ToolboxError(f"{path}: the calls are {found} text; save the file as UTF-8")
    return text.removesuffix(b"\n").split(b"\n") if text else []
