"""What the parent saw of a call -> its status and text.

Who says which status:

| status | who says it |
|---|---|
| timeout, output_limit, crashed by a signal or exit code, over a bound, or without a result | zygote and kernel |
| invalid_json, unknown_tool, unavailable | this process |
| bad_arguments | this process; or the child before anything of the tool's has run, which the byte S proves |
| ok, tool_error, crashed by an exception (MemoryError is one) | the child, in its result frame |

The last row cannot be otherwise: whether a function returned or raised is known in its own process alone. In a tool of
fixed code the model cannot write there. A tool that runs the model's code shares a process with it, so a program can
forge a frame, and wins nothing by it: `ok` it also gets by catching its own errors and returning the same text, and the
other two count as less. So `ok` of such a tool means "ended as it chose to", never "did its work", and a reward must
not take it for more. No forged frame makes a call `unavailable`, which alone never counts against the model.
"""

import json
from collections.abc import Collection, Mapping
from typing import NamedTuple

from rayplay.records import Status, ToolCall, ToolResult, ToolSpec
from rayplay.sandbox.hygiene import readable
from rayplay.sandbox.levels import Level, Limits
from rayplay.sandbox.warm import FRAME_BYTES, Reply
from rayplay.toolbox import MAX_ARGUMENT_BYTES, check_arguments

STARTED, REFUSED = b"S", b"A"
_strict = json.JSONEncoder(allow_nan=False).encode
PROBLEMS = {
    Status.INVALID_JSON: "the call is not valid JSON; write one JSON object with a name and arguments",
    Status.UNKNOWN_TOOL: "there is no tool of that name",
    Status.BAD_ARGUMENTS: "the arguments do not fit the tool",
}
KINDS = {
    b"R": Status.OK,
    b"E": Status.TOOL_ERROR,
    b"A": Status.BAD_ARGUMENTS,  # first in what the child wrote, or forged
    b"M": Status.CRASHED,
    b"X": Status.CRASHED,
}


class Outcome(NamedTuple):
    """How a call ended, without whose call it was."""

    status: Status
    text: str
    state: str | None = None


class Frame(NamedTuple):
    """One result frame as far as it arrived; `kind` is b"" unless it is whole and of a kind that may be there."""

    kind: bytes
    state: bytes
    text: bytes
    size: int  # with the byte S before it


def refuse(spec: ToolSpec, call: ToolCall, known: Mapping[str, ToolSpec], allow: Collection[str]) -> Outcome | None:
    """Why a call never reaches a child; None where it may."""
    if call.problem is not None:
        return Outcome(call.problem, PROBLEMS.get(call.problem, call.problem.value))
    if call.name not in known or spec.name != call.name:
        return Outcome(Status.UNKNOWN_TOOL, f"no tool is named {call.name[:80]!r}; there are: {', '.join(known)}")
    if missing := [need for need in known[call.name].needs if need not in allow]:
        return Outcome(Status.UNAVAILABLE, f"{call.name} needs {', '.join(missing)}, which is not allowed here")
    try:
        size = len(encode_arguments(call))
    except (TypeError, ValueError, RecursionError) as error:
        found = check_arguments(spec, call.arguments)  # names the argument
        return Outcome(Status.BAD_ARGUMENTS, found or f"arguments are not JSON: {str(error)[:200]}")
    if size > MAX_ARGUMENT_BYTES:
        return Outcome(Status.BAD_ARGUMENTS, f"arguments of {size} bytes; at most {MAX_ARGUMENT_BYTES} are taken")
    problem = check_arguments(spec, call.arguments)
    return Outcome(Status.BAD_ARGUMENTS, problem) if problem else None


def encode_arguments(call: ToolCall) -> bytes:
    """The arguments as strict JSON.

    Raises:
        TypeError, ValueError, RecursionError: They are not JSON (NaN, foreign objects, too deep).
    """
    return _strict(call.arguments).encode()


def read_reply(reply: Reply, request: dict, limits: Limits, stateful: bool) -> Outcome:
    """The outcome of a call that had a child of its own; a state is taken from a `stateful` tool alone."""
    frame = split_frame(reply.result)
    status, note = judge(reply, frame, request, limits)
    printed = readable(reply.printed, limits.output_bytes).rstrip("\n")
    returned = readable(frame.text, limits.output_bytes) if frame.kind or status is Status.OUTPUT_LIMIT else ""
    text = "\n".join(part for part in (printed, returned, note) if part)
    if not (stateful and frame.state and status is Status.OK):
        return Outcome(status, text)
    try:
        state = frame.state.decode()
        json.loads(state)
    except (ValueError, RecursionError):
        return Outcome(Status.CRASHED, f"{text}\n[crashed: the state that it left is not JSON]")
    return Outcome(status, text, state)


def read_batch(reply: Reply, request: dict, limits: Limits) -> list[Outcome]:
    """Outcomes of the calls at the head of a batch that ended as if alone; empty where that cannot be told.

    Anything printed belongs to nobody in particular, and what ended the child belongs to the first call without a
    whole frame: such calls are left to run alone.
    """
    if reply.printed:
        return []
    outcomes, rest = [], reply.result
    for _ in request["tools"]:
        frame = split_frame(rest)
        if KINDS.get(frame.kind) in (None, Status.CRASHED) or len(frame.text) > limits.output_bytes:
            break
        outcomes.append(Outcome(KINDS[frame.kind], readable(frame.text, limits.output_bytes)))
        rest = rest[frame.size :]
    return outcomes


def judge(reply: Reply, frame: Frame, request: dict, limits: Limits) -> tuple[Status, str]:
    """The status of a call, and a note for the model where its own words do not say it."""
    if reply.tainted:
        return Status.UNAVAILABLE, "[the sandbox could not start this call, which is not to blame]"
    if reply.ended_by == "deadline":
        return Status.TIMEOUT, f"[stopped: not finished within {request['deadline_s']:g} s]"
    if reply.ended_by == "output" or len(frame.text) > limits.output_bytes:
        return Status.OUTPUT_LIMIT, f"[stopped: more than {limits.output_bytes} bytes of output]"
    if reply.ended_by == "threads":
        return Status.CRASHED, f"[stopped: more than {limits.threads} threads]"
    if reply.ended_by == "disk":
        return (
            Status.OUTPUT_LIMIT,
            f"[stopped: more than {limits.scratch_bytes >> 20} MiB or {limits.scratch_files} files]",
        )
    if reply.exit < 0 and reply.cpu_s >= request["cpu_s"] - 0.5:
        return Status.TIMEOUT, f"[stopped: {request['cpu_s']} s of processor time used]"
    if reply.exit != 0 or not frame.kind:
        how = f"signal {-reply.exit}" if reply.exit < 0 else f"exit code {reply.exit}"
        return Status.CRASHED, f"[crashed: ended by {how}, without a result]"
    if frame.kind == b"M":
        return Status.CRASHED, f"[out of memory: {request['memory_mb']} MiB are allowed]"
    if len(frame.state) > limits.state_bytes:
        return Status.TOOL_ERROR, f"[state of {len(frame.state)} bytes; at most {limits.state_bytes} are kept]"
    return KINDS[frame.kind], ""


def split_frame(raw: bytes) -> Frame:
    """The first result frame in what a child wrote."""
    start = len(STARTED) if raw.startswith(STARTED) else 0
    kind, state_start = raw[start : start + 1], start + FRAME_BYTES
    if len(raw) < state_start or kind not in KINDS or (start and kind == REFUSED):
        return Frame(b"", b"", b"", len(raw))
    state_end = state_start + int.from_bytes(raw[start + 1 : start + 5], "big")
    size = state_end + int.from_bytes(raw[start + 5 : start + 9], "big")
    return Frame(kind if len(raw) >= size else b"", raw[state_start:state_end], raw[state_end:size], size)


def result_of(call: ToolCall, outcome: Outcome, seconds: float, level: Level) -> ToolResult:
    """The record of an outcome."""
    return ToolResult(
        call_id=call.call_id,
        name=call.name,
        status=outcome.status,
        text=outcome.text,
        seconds=seconds,
        level=level.value,
        state=outcome.state,
    )
