"""What the parent saw decides the status; what the child wrote is only text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayplay.records import Status
from rayplay.sandbox import Level, Limits
from rayplay.sandbox.verdict import Outcome, read_batch, read_reply, split_frame
from rayplay.sandbox.warm import Reply

LIMITS = Limits(output_bytes=1000, state_bytes=100)
REQUEST = {"tools": ["t"], "deadline_s": 1.0, "cpu_s": 2, "memory_mb": 64}


def frame(kind: bytes, text: bytes = b"", state: bytes = b"") -> bytes:
    return kind + len(state).to_bytes(4, "big") + len(text).to_bytes(4, "big") + state + text


def reply(result: bytes = b"", printed: bytes = b"", **seen) -> Reply:
    normal = {"ended_by": "", "exit": 0, "cpu_s": 0.1, "tainted": False}
    return Reply(**{**normal, **seen}, printed=printed, result=result)


def outcome(*args, **seen) -> Outcome:
    return read_reply(reply(*args, **seen), REQUEST, LIMITS, stateful=True)


def test_a_whole_result_is_ok_and_brings_its_state():
    assert outcome(frame(b"R", b"42", b"{}")) == Outcome(Status.OK, "42", "{}")


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        ({"ended_by": "deadline"}, Status.TIMEOUT),
        ({"ended_by": "output"}, Status.OUTPUT_LIMIT),
        ({"ended_by": "disk"}, Status.OUTPUT_LIMIT),
        ({"ended_by": "threads"}, Status.CRASHED),
        ({"exit": -11}, Status.CRASHED),
        ({"exit": 3}, Status.CRASHED),
        ({"exit": -9, "cpu_s": 2.0}, Status.TIMEOUT),
    ],
)
def test_a_result_that_claims_success_does_not_help(seen: dict, status: Status):
    found = outcome(frame(b"R", b"all fine", b"{}"), **seen)
    assert found.status is status
    assert found.state is None


@pytest.mark.parametrize("kind", [b"", b"Z", b"\xff"])
def test_no_result_is_a_crash(kind: bytes):
    assert outcome(frame(kind, b"x")[: -1 if kind == b"R" else None]).status is Status.CRASHED


def test_a_result_cut_short_is_a_crash():
    assert outcome(frame(b"R", b"four")[:-1]).status is Status.CRASHED


def test_too_large_a_state_is_an_error_and_not_kept():
    found = outcome(frame(b"R", b"x", b"s" * 101))
    assert (found.status, found.state) == (Status.TOOL_ERROR, None)


def test_a_tool_without_state_cannot_forge_one():
    assert read_reply(reply(frame(b"R", b"x", b"{}")), REQUEST, LIMITS, stateful=False) == Outcome(Status.OK, "x")


@pytest.mark.parametrize("state", [b"{", b"[" * 99, b"\xff\xfe1\x00", b"undefined"])
def test_a_state_that_is_not_json_is_a_crash(state: bytes):
    found = outcome(frame(b"R", b"x", state))
    assert (found.status, found.state) == (Status.CRASHED, None)


def test_memory_errors_and_tool_errors_are_told_apart():
    assert "64 MiB" in outcome(frame(b"M", b"MemoryError")).text
    assert outcome(frame(b"E", b"no such city")) == Outcome(Status.TOOL_ERROR, "no such city", None)


def test_what_was_printed_comes_first():
    assert outcome(frame(b"R", b"returned"), b"printed\n").text == "printed\nreturned"


def test_a_batch_gives_results_up_to_the_first_that_is_not_whole():
    request = {**REQUEST, "tools": ["t"] * 4}
    raw = frame(b"R", b"1") + frame(b"E", b"2") + frame(b"R", b"3")[:-1]
    assert [o.text for o in read_batch(reply(raw), request, LIMITS)] == ["1", "2"]
    assert read_batch(reply(raw, b"printed"), request, LIMITS) == []


def test_a_batch_never_gives_more_results_than_calls():
    request = {**REQUEST, "tools": ["t"] * 2}
    assert len(read_batch(reply(frame(b"R", b"1") * 5), request, LIMITS)) == 2


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_frame_or_a_crash(raw: bytes):
    found = split_frame(raw)
    assert found.kind in (b"", b"R", b"E", b"A", b"M", b"X")
    read_reply(reply(raw), REQUEST, LIMITS, stateful=True)


def test_levels_are_ordered():
    assert Level.L0 < Level.L1 < Level.L2 < Level.L3 < Level.L4
