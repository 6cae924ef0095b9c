"""What comes back from good, bad and ill-timed calls, at every level."""

import os
import socket
import threading

import pytest

from rayplay.errors import SandboxError, ToolboxError
from rayplay.records import Status, ToolCall, ToolSpec
from rayplay.sandbox import Level, Sandbox
from tests.sandbox.conftest import HERE, Caller

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]


def test_tools_are_described_without_importing_them_here(sandbox: Sandbox):
    names = {spec.name for spec in sandbox.describe()}
    assert {"python", "double", "paint", "add"} <= names
    assert next(spec for spec in sandbox.describe() if spec.name == "add").toolset == "Tally"


def test_a_good_call_carries_its_level_and_value(call: Caller, level: Level):
    result = call("double", x=21)
    assert (result.status, result.text, result.level) == (Status.OK, "42", level.value)


def test_printed_text_comes_before_the_returned_text(call: Caller):
    assert call("python", code="print('a')\nresult = 'b'").text == "a\nb"


def test_types_get_their_values(call: Caller):
    assert call("paint", colour="red").text == "Colour"
    assert call("double", x=21.0).text == "42"  # an integer to JSON schema, not to Python


def test_a_tool_error_is_told(call: Caller):
    result = call("refuse", reason="no such place")
    assert (result.status, result.text) == (Status.TOOL_ERROR, "no such place")


@pytest.mark.parametrize(
    "arguments",
    [{}, {"x": "two"}, {"x": 1, "y": 2}, {"x": float("nan")}, {"x": None}, {"x": {1, 2}}, {"z": "a" * 10_000_000}],
)
def test_bad_arguments_never_reach_a_child(sandbox: Sandbox, arguments: dict):
    spec = next(s for s in sandbox.describe() if s.name == "double")
    call = ToolCall.model_construct(call_id="1", name="double", arguments=arguments, problem=None)
    assert sandbox.run(spec, call).status is Status.BAD_ARGUMENTS


def test_deep_arguments_are_refused(sandbox: Sandbox):
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    call = ToolCall.model_construct(call_id="1", name="double", arguments={"x": nested}, problem=None)
    assert sandbox.run(next(s for s in sandbox.describe() if s.name == "double"), call).status is Status.BAD_ARGUMENTS


def test_unknown_tools_and_unreadable_calls_are_told(sandbox: Sandbox):
    unknown = sandbox.run(ToolSpec(name="fly"), ToolCall(call_id="1", name="fly"))
    assert unknown.status is Status.UNKNOWN_TOOL
    assert "double" in unknown.text
    broken = ToolCall(call_id="1", raw="{", problem=Status.INVALID_JSON)
    assert sandbox.run(ToolSpec(name="double"), broken).status is Status.INVALID_JSON


def test_state_goes_in_and_comes_out_and_stays_nowhere(call: Caller):
    first = call("add", amount=3)
    assert (first.text, first.state) == ("3", '{"total": 3}')
    assert call("add", amount=4, state=first.state).text == "7"
    assert call("add", amount=1).text == "1"


def test_a_slow_call_times_out_and_keeps_what_it_printed(call: Caller):
    result = call("python", code="print('so far')\nwhile True: pass", deadline=0.5)
    assert result.status is Status.TIMEOUT
    assert result.text.startswith("so far\n")


def test_too_much_output_is_cut_and_says_so(call: Caller):
    result = call("python", code="result = 'x' * 100_000")
    assert result.status is Status.OUTPUT_LIMIT
    assert "cut" in result.text
    assert len(result.text) < 20_000


def test_a_tool_that_needs_the_network_is_refused_where_it_is_not_allowed(call: Caller):
    result = call("reach", port=1)
    assert result.status is Status.UNAVAILABLE
    assert "network" in result.text


def test_a_tool_may_have_the_network_and_its_neighbours_may_not(level: Level):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=lambda: server.accept()[0].sendall(b"hello"), daemon=True).start()
        with Sandbox(("sample_tools",), level=level, search_paths=(HERE,), size=1, allow=("network",)) as sandbox:
            call = Caller(sandbox)
            assert call("reach", port=port).text == "hello"
            stolen = call("python", code=f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)")
            assert stolen.status is Status.CRASHED


def test_pure_calls_share_children_and_keep_their_own_verdicts(sandbox: Sandbox):
    specs = {spec.name: spec for spec in sandbox.describe()}
    plan = [
        ("double", {"x": 1}),
        ("misbehave", {"how": "hang"}),
        ("double", {"x": "no"}),
        ("misbehave", {"how": "die"}),
        ("double", {"x": 2}),
        ("misbehave", {"how": "print"}),
        ("misbehave", {"how": "raise"}),
        ("python", {"code": "result = 5"}),
        ("double", {"x": 3}),
    ]
    calls = [(specs[n], ToolCall(call_id=str(i), name=n, arguments=a)) for i, (n, a) in enumerate(plan)]
    results = sandbox.run_many(calls)
    assert [r.call_id for r in results] == [str(i) for i in range(len(plan))]
    statuses = [Status.OK, Status.TIMEOUT, Status.BAD_ARGUMENTS, Status.CRASHED, Status.OK, Status.OK, Status.CRASHED]
    assert [r.status for r in results] == [*statuses, Status.OK, Status.OK]
    assert results[5].text == "printed\nprint 1 []"
    assert [results[i].text for i in (0, 4, 7, 8)] == ["2", "4", "5", "6"]


@pytest.mark.parametrize("how", ["remember", "leave"])
def test_a_call_that_changes_anything_is_the_last_of_its_child(sandbox: Sandbox, how: str):
    spec = next(s for s in sandbox.describe() if s.name == "misbehave")
    calls = [(spec, ToolCall(call_id=str(i), name="misbehave", arguments={"how": how})) for i in range(8)]
    expected = "remember 2 []" if how == "remember" else "leave 1 ['left']"
    assert [r.text for r in sandbox.run_many(calls)] == [expected] * 8


def test_modules_that_cannot_be_loaded_are_named():
    with pytest.raises(ToolboxError, match="no_such_tools"):
        Sandbox(("no_such_tools",), level=Level.L1)


def test_gvisor_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxError, match="runsc"):
        Sandbox(("sample_tools",), level=Level.L4, search_paths=(HERE,))


@pytest.mark.parametrize("taken", range(190, 201))
def test_a_caller_with_many_open_files_starts_zygotes_whatever_numbers_their_sockets_get(taken: int):
    held = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while held[-1] < taken:
            held.append(os.open(os.devnull, os.O_RDONLY))
        with Sandbox(["tools.python"], size=1) as sandbox:
            call = ToolCall(call_id="c", name="python", arguments={"code": "print(1)"})
            assert sandbox.run(sandbox.describe()[0], call).text == "1"
    finally:
        for fd in held:
            os.close(fd)
