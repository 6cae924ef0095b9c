"""One request -> one framed result, inside the confined child; and the table of tools that the zygote loaded.

Result frame: kind (1 byte), length of the state (4), length of the text (4), state, text. Kinds: R returned, E the
tool's own ToolError, A arguments that its types refuse, M out of memory, X any other exception. The byte S comes before
anything of the tool's runs: what a program writes after it cannot be taken for a refusal of its arguments.
"""

import _signal
import builtins
import importlib
import json
import os
import sys
import types
from typing import Any, Literal, NamedTuple, NoReturn, Protocol, Union, get_args, get_origin, get_type_hints

from rayplay.marks import MARK, ToolError
from rayplay.sandbox.control import NOT_STARTED
from rayplay.sandbox.loading import Found, home_of, load_tools
from rayplay.sandbox.request import encode_request, read_request
from rayplay.sandbox.whole import Change, whole_of
from rayplay.sandbox.wire import read_json

RESULT_FD = 3
STARTED = b"S"
SEEDED = {"random": "seed", "numpy.random": "seed"}  # generators that children would share, and what seeds them
REHEARSALS = 30  # Python looks at code again after eight runs
DEVNULL = b"/dev/null"  # bytes: nothing to encode
MAX_FD = 1 << 20
# signal.signal looks its numbers up in enums, which touches, and so copies, 75 more pages of a freshly forked child
set_handler, SIG_DFL, SIGPIPE = _signal.signal, _signal.SIG_DFL, _signal.SIGPIPE
PLAIN = (str, int, float, bool, list, dict, Any, None, type(None))
PLAIN_OF = (list, dict, Union, types.UnionType)


class Adapter(Protocol):
    """Turns a JSON value into what a parameter's type asks for."""

    def validate_python(self, value: Any) -> Any:
        """The value of that type; ValueError where there is none."""


class Entry(NamedTuple):
    """One tool, adapters of the parameters whose types are more than JSON, and changes of those that hold integers."""

    found: Found
    adapters: dict[str, Adapter]
    wholes: dict[str, Change]


class Table(NamedTuple):
    """All tools of the modules, by name; and the files of these modules, which tools may read."""

    entries: dict[str, Entry]
    read_paths: list[str]


def load_table(modules: list[str]) -> Table:
    """Import the modules; the first tool of a name counts.

    Raises:
        Exception: Whatever importing a module raises.
    """
    entries: dict[str, Entry] = {}
    for found in load_tools(modules):
        name = getattr(found.function, MARK)["name"]
        hints = get_type_hints(found.function, include_extras=True)
        hints.pop("return", None)
        entries.setdefault(name, Entry(found, adapters_of(hints), wholes_of(hints)))
    return Table(entries, [home_of(name) for name in modules])


def adapters_of(hints: dict[str, Any]) -> dict[str, Adapter]:
    """Adapters of the parameters that are enums, dataclasses, dates and the like."""
    needing = {name: hint for name, hint in hints.items() if not is_plain(hint)}
    if not needing:
        return {}
    # pydantic makes every fork of this process dearer: only for tools that need it
    make = importlib.import_module("pydantic").TypeAdapter
    return {name: make(hint) for name, hint in needing.items()}


def wholes_of(hints: dict[str, Any]) -> dict[str, Change]:
    """For plain parameters that hold integers: what makes 2.0 one, as the schema takes it."""
    changes = {name: whole_of(hint) for name, hint in hints.items() if is_plain(hint)}
    return {name: change for name, change in changes.items() if change is not None}


def is_plain(hint: Any) -> bool:
    """Whether JSON values that fit the schema are already values of this type."""
    origin = get_origin(hint)
    if origin is None:
        return any(hint is plain for plain in PLAIN)
    return origin is Literal or (origin in PLAIN_OF and all(map(is_plain, get_args(hint))))


def run_child(zygote: Any, zygote_pid: int, asked: int, printed: int, written: int) -> NoReturn:
    """Read the request, confine this process, run the call, write its result, die. Never returns, whatever happens.

    The request is read before anything of the tool's runs, and by this process alone: the zygote never sees it.
    """
    code = NOT_STARTED
    try:
        memory_mb, cpu_s, tools, blobs = read_request(asked)
        # opened anew: flags and locks on an open file of the zygote's would outlive the call
        os.dup2(os.open(DEVNULL, os.O_RDONLY), 0)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.dup2(written, RESULT_FD)
        ruleset = zygote.confinement.ruleset
        if ruleset >= 0:
            os.closerange(RESULT_FD + 1, ruleset)
        os.closerange(max(RESULT_FD, ruleset) + 1, MAX_FD)
        set_handler(SIGPIPE, SIG_DFL)
        zygote.confinement.enter(memory_mb, cpu_s, zygote_pid)
        if ruleset >= 0:
            os.close(ruleset)
        for name, seed in SEEDED.items():
            if name in sys.modules:
                getattr(sys.modules[name], seed)()
        code = 0
        run_calls(zygote.table, tools, blobs, RESULT_FD)
    finally:
        os._exit(code)


def rehearse() -> None:
    """Read and run calls of a tool that does nothing, as every child does.

    Python fills caches of its own as it runs: of attributes, of operations, of the code itself. A child is too
    short-lived to gain by that and pays for it by the page; so its zygote does it once for all.
    """
    table = Table({"": Entry(Found(dict, "", None), {}, {})}, [])
    request = encode_request({"tools": [""], "memory_mb": 1, "cpu_s": 1}, [b'{"": ""}', b""])
    read_end, write_end = os.pipe()
    for _ in range(REHEARSALS):
        os.write(write_end, request)
        _, _, tools, blobs = read_request(read_end)
        run_calls(table, tools, blobs, write_end)
        os.read(read_end, len(request))
    os.close(read_end)
    os.close(write_end)


def run_calls(table: Table, tools: list[str], blobs: list[bytes], fd: int) -> None:
    """Run the calls in turn and write their results to `fd`.

    `blobs` are the arguments of each, then the state of a single one.

    More than one only for pure tools: these run fixed code, never the model's, so that nothing in the child looks at
    the other calls. After a call that failed in a way of its own, or left anything changed, the rest is left undone:
    the parent gives it to a fresh child.
    """
    state = blobs[-1]
    for name, arguments in zip(tools, blobs, strict=False):
        entry = table.entries[name]
        before = fingerprint(entry) if len(tools) > 1 else ()
        kind, new_state, text = call_tool(entry, arguments, state, fd)
        write_result(kind, new_state, text, fd)
        if kind not in (b"R", b"E", b"A") or (before and fingerprint(entry) != before):
            return


def fingerprint(entry: Entry) -> tuple[Any, ...]:
    """What a pure call must leave as it was: builtins, the tool's module, loaded modules, the folder, its files."""
    spaces = (vars(builtins), entry.found.function.__globals__, sys.modules)
    return (*((len(space), hash(tuple(map(id, space.values())))) for space in spaces), os.getcwd(), os.listdir("."))


def call_tool(entry: Entry, encoded: bytes, old_state: bytes, fd: int) -> tuple[bytes, bytes, bytes]:
    """Say on `fd` that the tool starts, run it -> (kind, state, text)."""
    try:
        arguments = read_json(encoded)
        for key, adapter in entry.adapters.items():
            if key in arguments:
                arguments[key] = adapter.validate_python(arguments[key])
        for key, change in entry.wholes.items():
            if key in arguments:
                arguments[key] = change(arguments[key])
    except (ValueError, RecursionError) as error:
        return b"A", b"", str(error)[:500].encode(errors="backslashreplace")
    os.write(fd, STARTED)
    try:
        function, toolset_class = entry.found.function, entry.found.toolset
        if toolset_class is None:
            value, state = function(**arguments), b""
        else:
            toolset = restore(toolset_class, old_state)
            value = function(toolset, **arguments)
            state = preserve(toolset)
        return b"R", state, as_text(value).encode(errors="backslashreplace")
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


def as_text(value: Any) -> str:
    """What the model reads of a returned value: text as it is, anything else as JSON in its own letters."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, default=str, ensure_ascii=False)


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


def write_result(kind: bytes, state: bytes, text: bytes, fd: int) -> None:
    """Flush what was printed, then write the result frame."""
    sys.stdout.flush()
    sys.stderr.flush()
    frame = memoryview(b"".join((kind, len(state).to_bytes(4, "big"), len(text).to_bytes(4, "big"), state, text)))
    while frame:
        frame = frame[os.write(fd, frame) :]
