"""One request -> one framed result, inside the confined child; and the table of tools that the zygote loaded.

Result frame: kind (1 byte), length of the state (4), length of the text (4), state, text. Kinds: R returned, E the
tool's own ToolError, A arguments that its types refuse, M out of memory, X any other exception.
"""

import builtins
import importlib
import inspect
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from rayplay.records import ToolSpec
from rayplay.toolbox import ToolError, is_tool, spec_of

RESULT_FD = 3
MAX_FD = 1 << 20
PLAIN = (str, int, float, bool, list, dict, Any)


@dataclass(frozen=True)
class Entry:
    """One tool: its function, its toolset class if any, and how to turn JSON into its parameter types."""

    function: Callable[..., Any]
    toolset: type | None
    adapters: dict[str, TypeAdapter]


@dataclass
class Table:
    """All tools of the modules, by name; and the files of these modules, which tools may read."""

    entries: dict[str, Entry] = field(default_factory=dict)
    specs: list[ToolSpec] = field(default_factory=list)
    read_paths: list[str] = field(default_factory=list)

    def add(self, function: Callable[..., Any], module: str, toolset: type | None = None) -> None:
        """Describe and remember one tool; the first of a name wins."""
        spec = spec_of(function, module, toolset.__name__ if toolset else "")
        if spec.name in self.entries:
            return
        hints = inspect.get_annotations(function, eval_str=True)
        needing = {k: TypeAdapter(h) for k, h in hints.items() if h not in PLAIN and k != "return"}
        self.entries[spec.name] = Entry(function, toolset, needing)
        self.specs.append(spec)


def load_table(modules: list[str]) -> Table:
    """Import the modules and find their tools and toolsets.

    Raises:
        Exception: Whatever importing a module raises.
    """
    table = Table()
    for name in modules:
        module = importlib.import_module(name)
        table.read_paths.append(home_of(name))
        for value in vars(module).values():
            if getattr(value, "__module__", "") != name:
                continue
            if inspect.isclass(value):
                for member in vars(value).values():
                    if is_tool(member):
                        table.add(member, name, value)
            elif is_tool(value):
                table.add(value, name)
    return table


def home_of(module: str) -> str:
    """The folder of a module's top package, or the file of a lone module: what its tools may read."""
    top = sys.modules[module.partition(".")[0]]
    locations = list(getattr(top, "__path__", []))
    return locations[0] if locations else str(Path(top.__file__ or "").resolve())


def run_child(
    zygote: Any, request: dict[str, Any], blobs: list[bytes], zygote_pid: int, fds: tuple[int, ...]
) -> NoReturn:
    """Confine this process, run the call, write its result, die. Never returns, whatever happens."""
    try:
        null, printed, result = fds
        os.dup2(null, 0)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.dup2(result, RESULT_FD)
        ruleset = zygote.confinement.ruleset
        if ruleset >= 0:
            os.closerange(RESULT_FD + 1, ruleset)
        os.closerange(max(RESULT_FD, ruleset) + 1, MAX_FD)
        for number in (signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.chdir(zygote.scratch)
        os.umask(0o077)
        zygote.confinement.enter(request["memory_mb"], request["cpu_s"], zygote_pid)
        if ruleset >= 0:
            os.close(ruleset)
        if "random" in sys.modules:
            sys.modules["random"].seed()
        run_calls(zygote.table, request["tools"], blobs)
    finally:
        os._exit(0)


def run_calls(table: Table, tools: list[str], blobs: list[bytes]) -> None:
    """Run the calls in turn; `blobs` are the arguments of each, then the state of a single one.

    More than one only for pure tools. After a call that failed in a way of its own, or left anything changed, the rest
    is left undone: the parent gives it to a fresh child.
    """
    state = blobs[-1]
    for name, arguments in zip(tools, blobs, strict=False):
        entry = table.entries[name]
        before = fingerprint(entry) if len(tools) > 1 else ()
        kind, new_state, text = call_tool(entry, arguments, state)
        write_result(kind, new_state, text)
        if kind not in (b"R", b"E", b"A") or (before and fingerprint(entry) != before):
            return


def fingerprint(entry: Entry) -> tuple[Any, ...]:
    """What a pure call must leave as it was: builtins, the tool's module, loaded modules, the folder, its files."""
    spaces = (vars(builtins), entry.function.__globals__, sys.modules)
    return (*((len(space), hash(tuple(map(id, space.values())))) for space in spaces), os.getcwd(), os.listdir("."))


def call_tool(entry: Entry, encoded: bytes, old_state: bytes) -> tuple[bytes, bytes, bytes]:
    """Run the tool -> (kind, state, text)."""
    try:
        arguments = json.loads(encoded)
        for key, adapter in entry.adapters.items():
            if key in arguments:
                arguments[key] = adapter.validate_python(arguments[key])
    except (ValidationError, RecursionError, ValueError) as error:
        return b"A", b"", str(error)[:500].encode(errors="backslashreplace")
    try:
        if entry.toolset is None:
            value, state = entry.function(**arguments), b""
        else:
            toolset = restore(entry.toolset, old_state)
            value = entry.function(toolset, **arguments)
            state = preserve(toolset)
        text = value if isinstance(value, str) else "" if value is None else json.dumps(value, default=str)
        return b"R", state, text.encode(errors="backslashreplace")
    except ToolError as error:
        return b"E", b"", str(error).encode(errors="backslashreplace")
    except SystemExit as error:
        if error.code in (None, 0):
            return b"R", b"", b""
        return b"X", b"", f"SystemExit: {error.code}"[:2000].encode(errors="backslashreplace")
    except MemoryError:
        return b"M", b"", b"MemoryError"
    except BaseException as error:  # KeyboardInterrupt too: it ends the call, not the protocol
        return b"X", b"", describe_error(error).encode(errors="backslashreplace")


def describe_error(error: BaseException) -> str:
    """The type and text of an exception whose own text may raise in turn."""
    try:
        return f"{type(error).__name__}: {error}"[:2000]
    except Exception:
        return type(error).__name__


def restore(toolset: type, state: bytes) -> Any:
    """A toolset object from its JSON state; a new one where there is none yet."""
    if state in (b"", b"null"):
        return toolset()
    return toolset.from_json(state.decode()) if hasattr(toolset, "from_json") else toolset(state=json.loads(state))


def preserve(toolset: Any) -> bytes:
    """The JSON state of a toolset object."""
    return (toolset.to_json() if hasattr(toolset, "to_json") else json.dumps(toolset.state)).encode()


def write_result(kind: bytes, state: bytes, text: bytes) -> None:
    """Flush what was printed, then write the result frame."""
    sys.stdout.flush()
    sys.stderr.flush()
    frame = memoryview(b"".join((kind, len(state).to_bytes(4, "big"), len(text).to_bytes(4, "big"), state, text)))
    while frame:
        frame = frame[os.write(RESULT_FD, frame) :]
