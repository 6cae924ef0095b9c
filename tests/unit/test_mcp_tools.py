"""MCP servers as tools, against real servers over stdio: results, errors, hangs, deaths, and 200 tools."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rayplay.errors import ToolboxError
from rayplay.mcp_descriptions import free_name
from rayplay.mcp_tools import ERRORS_MAX, McpToolbox
from rayplay.records import Status, ToolCall, ToolResult, ToolSpec
from rayplay.toolbox import find_tool

SERVER = Path(__file__).with_name("mcp_server.py")
Open = Callable[..., McpToolbox]

pytestmark = pytest.mark.timeout(60)


def connect(mode: str = "", log: Path | None = None, **rest: object) -> McpToolbox:
    args = [str(SERVER), mode, *([str(log)] if log else [])]
    return McpToolbox(command=sys.executable, args=args, **{"deadline_s": 10.0, **rest})


def use(toolbox: McpToolbox, name: str, within_s: float | None = None, **arguments: object) -> ToolResult:
    spec = find_tool(toolbox.describe(), name) or ToolSpec(name=name)
    return toolbox.run(spec, ToolCall(call_id="c", name=name, arguments=arguments), deadline_s=within_s)


@pytest.fixture(scope="module")
def toolbox() -> Iterator[McpToolbox]:
    with connect() as opened:
        yield opened


def pids(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().splitlines()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_names_and_schemas_are_read(toolbox: McpToolbox) -> None:
    spec = find_tool(toolbox.describe(), "add")
    assert spec.description == "Add two numbers." and spec.module.startswith("mcp:")
    assert spec.parameters["properties"]["a"]["type"] == "integer" and spec.parameters["required"] == ["a", "b"]
    assert not spec.idempotent and find_tool(toolbox.describe(), "die_once").idempotent
    assert toolbox.report()["trusted"] is True and toolbox.report()["level"] == "L0"


def test_results_errors_and_bad_arguments_have_their_statuses(toolbox: McpToolbox) -> None:
    assert (use(toolbox, "add", a=2, b=40).status, use(toolbox, "add", a=2, b=40).text) == (Status.OK, "42")
    failed = use(toolbox, "fail", text="that")
    assert failed.status is Status.TOOL_ERROR and "Error executing tool fail" in failed.text
    assert use(toolbox, "add", a="two", b=3).status is Status.BAD_ARGUMENTS
    assert use(toolbox, "add", a=2, b=3, c=4).status is Status.BAD_ARGUMENTS
    assert use(toolbox, "subtract", a=2, b=3).status is Status.UNKNOWN_TOOL
    unreadable = ToolCall(call_id="c", name="add", problem=Status.INVALID_JSON)
    assert toolbox.run(find_tool(toolbox.describe(), "add"), unreadable).status is Status.INVALID_JSON


def test_pictures_become_a_note(toolbox: McpToolbox) -> None:
    assert use(toolbox, "draw").text == "here\n[image: image/png, 8 bytes, not shown]"


def test_long_output_is_cut_and_control_sequences_are_shown(toolbox: McpToolbox) -> None:
    text = use(toolbox, "shout", count=200_000).text
    assert text.startswith("\\x1b[31mx") and len(text) < 70_000 and "[cut:" in text


def test_thirty_megabytes_of_result_are_cut_like_any_other(toolbox: McpToolbox) -> None:
    assert len(use(toolbox, "shout", count=30_000_000).text) < 70_000


def test_what_a_server_prints_among_its_messages_is_passed_over(toolbox: McpToolbox) -> None:
    assert use(toolbox, "chatter").text == "done"
    assert use(toolbox, "add", a=2, b=40).text == "42"


def test_what_a_server_writes_to_its_standard_error_is_bounded(toolbox: McpToolbox) -> None:
    assert use(toolbox, "complain", count=3 * ERRORS_MAX // 1024).text == "done"
    deadline = time.monotonic() + 20
    while os.fstat(toolbox._errors.fileno()).st_size > ERRORS_MAX and time.monotonic() < deadline:
        time.sleep(0.1)
    assert os.fstat(toolbox._errors.fileno()).st_size <= ERRORS_MAX
    use(toolbox, "complain", count=1)
    assert "the end" in toolbox._complaint()


def test_a_slow_call_times_out_and_others_go_on_in_the_same_server(toolbox: McpToolbox) -> None:
    starts = toolbox.starts
    with ThreadPoolExecutor(4) as threads:
        slow = threads.submit(use, toolbox, "stall", within_s=1.0)
        sums = [threads.submit(use, toolbox, "add", a=n, b=n) for n in range(20)]
        assert [s.result().text for s in sums] == [str(2 * n) for n in range(20)]
        assert slow.result().status is Status.TIMEOUT
    assert use(toolbox, "add", a=1, b=1).text == "2" and toolbox.starts == starts


def test_the_server_sees_little_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    with connect(env={"MINE": "1"}) as toolbox:
        seen = use(toolbox, "environment").text.split()
    assert "MINE" in seen and "SECRET_TOKEN" not in seen


def test_a_server_that_hangs_is_ended_and_started_again(tmp_path: Path) -> None:
    with connect(log=tmp_path / "log") as toolbox:
        assert use(toolbox, "hang", within_s=1.0).status is Status.TIMEOUT
        assert use(toolbox, "add", a=1, b=2).text == "3"
        first, second = pids(tmp_path / "log")
        assert not alive(first) and alive(second)
    assert not alive(second)


def test_a_server_that_dies_costs_one_call_and_is_started_again(tmp_path: Path) -> None:
    with connect(log=tmp_path / "log") as toolbox:
        lost = use(toolbox, "die")
        assert lost.status is Status.UNAVAILABLE and "not the call's fault" in lost.text
        assert use(toolbox, "add", a=1, b=2).text == "3"
    assert len(pids(tmp_path / "log")) == 2


def test_a_repeatable_call_survives_the_death_of_its_server(tmp_path: Path) -> None:
    with connect(log=tmp_path / "log") as toolbox:
        result = use(toolbox, "die_once")
        assert (result.status, result.text) == (Status.OK, "second life")


def test_a_server_killed_between_calls_is_started_again(tmp_path: Path) -> None:
    with connect(log=tmp_path / "log") as toolbox:
        os.kill(pids(tmp_path / "log")[0], signal.SIGKILL)
        time.sleep(0.3)
        statuses = [use(toolbox, "add", a=1, b=2).status for _ in range(2)]
        assert statuses[-1] is Status.OK and statuses[0] in (Status.OK, Status.UNAVAILABLE)


def test_two_hundred_tools_get_names_that_models_can_write() -> None:
    with connect("many") as toolbox:
        specs = toolbox.describe()
        assert len(specs) == 200 and len({s.name for s in specs}) == 200
        assert (specs[7].name, specs[7].original_name) == ("add_7", "add/7")
        assert use(toolbox, "add_199", a=20, b=22).text == "42"


def test_an_allow_list_takes_only_what_it_names_and_knows_misspellings() -> None:
    with connect("many", allow=["add/7", "add_9"]) as toolbox:
        assert [s.name for s in toolbox.describe()] == ["add_7", "add_9"]
        assert use(toolbox, "add_8", a=1, b=1).status is Status.UNKNOWN_TOOL
    with pytest.raises(ToolboxError, match="no tool 'ad'"):
        connect(allow=["ad"])


def test_a_server_that_cannot_start_is_an_error_that_says_why() -> None:
    with pytest.raises(ToolboxError, match="this server has a problem"):
        connect("dead")
    with pytest.raises(ToolboxError, match="no answer within 1 s"):
        connect("deaf", start_deadline_s=1.0)
    with pytest.raises(ToolboxError, match="cannot start 'no-such-command'"):
        McpToolbox(command="no-such-command")
    with pytest.raises(ToolboxError, match="cannot be used"):
        McpToolbox(url="http://127.0.0.1:9/mcp", start_deadline_s=5.0)


class HttpServer:
    """The server behind an address of its own; it can be ended and started again."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(SERVER), f"http:{self.port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        self.end()
        pytest.fail("the HTTP server did not start within 20 s")

    def end(self) -> None:
        self.process.kill()
        self.process.wait(timeout=10)


def test_a_server_behind_an_address_answers_goes_away_and_is_found_again() -> None:
    server = HttpServer()
    try:
        with McpToolbox(url=server.url, deadline_s=5.0) as toolbox:
            assert use(toolbox, "add", a=2, b=3).text == "5"
            assert use(toolbox, "fail", text="x").status is Status.TOOL_ERROR
            assert use(toolbox, "stall", within_s=1.0).status is Status.TIMEOUT
            assert use(toolbox, "add", a=2, b=4).text == "6"
            server.end()
            assert use(toolbox, "add", a=1, b=1).status is Status.UNAVAILABLE
            server.start()
            deadline = time.monotonic() + 20
            while (again := use(toolbox, "add", a=1, b=1)).status is not Status.OK and time.monotonic() < deadline:
                time.sleep(0.3)  # a server that failed is left alone for a moment
            assert again.text == "2"
    finally:
        server.end()


def test_names_stay_apart_after_cleaning() -> None:
    assert free_name("a.b", set()) == "a_b" and free_name("a b", {"a_b"}) == "a_b_2"
    assert free_name("日本", set()) == "tool" and len(free_name("x" * 200, set())) <= 64
