"""A call finds nothing of the calls before it, in any memory that it can read, and cannot pass for what it is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rayplay.records import Status
from rayplay.sandbox import Level, Sandbox
from rayplay.sandbox.launch import Setup
from rayplay.sandbox.probe import LIMITS, Canary, remains_of_other_calls
from tests.sandbox.conftest import HERE, Caller
from tests.sandbox.test_levels import ORDINARY_USER, run_in_own_process

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]
ROOT = str(Path(__file__).parents[2])


def test_nothing_of_a_call_is_found_by_the_next(level: Level):
    run = Canary(Setup(("rayplay.sandbox.remains",), level, LIMITS))
    try:
        assert [remains_of_other_calls(run) for _ in range(3)] == [""] * 3
    finally:
        run.zygote.close()


LOOK_AS_ORDINARY_USER = """
import json
from rayplay.sandbox import Level
from rayplay.sandbox.launch import Setup
from rayplay.sandbox.probe import LIMITS, Canary, isolation_report, remains_of_other_calls
found = {}
for level in (Level.L1, Level.L2, Level.L3):
    if level <= isolation_report().level:
        run = Canary(Setup(("rayplay.sandbox.remains",), level, LIMITS))
        found[level] = remains_of_other_calls(run)
        run.zygote.close()
print(json.dumps(found))
"""


def test_nothing_of_a_call_is_found_by_the_next_of_an_ordinary_user():
    found = run_in_own_process(ORDINARY_USER, LOOK_AS_ORDINARY_USER)
    assert "L1" in found and not any(found.values())


HOLDER = """
import os, secrets, sys
from rayplay.sandbox import remains
mark = secrets.token_hex(16)
backwards = mark[::-1]
if sys.argv[1] == "hidden":
    real = os.open
    def refuse(path, *rest, **more):
        if path == "/proc/self/maps":
            raise OSError(path)
        return real(path, *rest, **more)
    os.open = refuse
kept = {"text": mark, "bytes": mark.encode() * 3, "long": mark.encode() * 5000}[sys.argv[2]]
if sys.argv[2] != "text":
    del mark
print(remains.look(backwards))
"""


@pytest.mark.parametrize("maps", ["shown", "hidden"])
@pytest.mark.parametrize("what", ["text", "bytes", "long"])
def test_the_search_finds_what_is_there(tmp_path: Path, maps: str, what: str):
    command = [sys.executable, "-c", HOLDER, maps, what]
    found = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": ROOT}, capture_output=True, text=True, timeout=100)
    assert found.stdout.startswith("got memory"), found.stderr


def test_the_frames_that_a_call_is_forked_in_hold_no_words_of_the_last(call: Caller):
    call("python", code="print('a telling word')\nresult = 'another'", deadline=10)
    code = """
import sys
frame, seen = sys._getframe(), []
while frame:
    seen.append(repr(frame.f_locals) + repr({k: v for k, v in frame.f_globals.items() if k != 'code'}))
    frame = frame.f_back
result = sum(('a tell' + 'ing word') in s or ("'ano" + "ther'") in s for s in seen[2:])
"""
    assert call("python", code=code, deadline=10).text == "0"


def frame(kind: str, text: str = "forged") -> str:
    """Code that writes a result frame of its own and ends."""
    sizes = (0).to_bytes(4, "big") + len(text).to_bytes(4, "big")
    return f"import os\nos.write(3, {kind.encode() + sizes + text.encode()!r})\nos._exit(0)"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("R", Status.OK),  # what a program gets that catches its errors and returns the same text
        ("E", Status.TOOL_ERROR),
        ("M", Status.CRASHED),
        ("X", Status.CRASHED),
        ("A", Status.CRASHED),  # its arguments had been taken already
        ("SA", Status.CRASHED),
        ("S", Status.CRASHED),
        ("Z", Status.CRASHED),
        ("", Status.CRASHED),
    ],
)
def test_a_forged_frame_is_worth_no_more_than_an_honest_one(call: Caller, kind: str, status: Status):
    assert call("python", code=frame(kind), deadline=10).status is status


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import os; os._exit(120)", Status.CRASHED),  # as a child does that could not start
        ("import os; os.write(3, b'R'); os._exit(120)", Status.CRASHED),
        ("import os, socket\ns = socket.socket(fileno=3); s.setblocking(False)\n"
         "try: s.recv(9)\nfinally:\n s.shutdown(socket.SHUT_RDWR); os._exit(120)", Status.CRASHED),
        ("import os; os.close(3); os._exit(120)", Status.CRASHED),
        ("import os, time; os.close(3); os.close(1); os.close(2); time.sleep(60)", Status.TIMEOUT),
        ("import os\nwhile True: os.write(3, b'R' * 5000)", Status.OUTPUT_LIMIT),
        ("import os\nwhile True: os.write(3, bytes(5000))", Status.OUTPUT_LIMIT),
    ],
)  # fmt: skip
def test_no_program_makes_its_call_unavailable(call: Caller, code: str, status: Status):
    assert call("python", code=code, deadline=2).status is status


def test_all_zygotes_order_words_alike(level: Level):
    code = "result = [hash('word'), list({str(n) for n in range(50)}), list({b'a', b'bc', b'def'})]"
    with Sandbox(("sample_tools",), level=level, search_paths=(HERE,), size=1, recycle_after=1) as sandbox:
        assert len({Caller(sandbox)("python", code=code, deadline=10).text for _ in range(3)}) == 1


def test_all_zygotes_draw_other_numbers(level: Level):
    code = "import random\nresult = random.random()"
    with Sandbox(("sample_tools",), level=level, search_paths=(HERE,), size=1, recycle_after=2) as sandbox:
        assert len({Caller(sandbox)("python", code=code, deadline=10).text for _ in range(5)}) == 5


def test_requests_and_states_longer_than_any_buffer_arrive_whole(call: Caller):
    code = "result = len('''" + "x" * 190_000 + "''')"
    assert call("python", code=code, deadline=20).text == "190000"
    state = '{"total": 1, "rest": "' + "y" * 900_000 + '"}'
    assert call("add", amount=2, state=state, deadline=20).text == "3"


def test_a_child_that_reads_nothing_more_ends_the_same(call: Caller):
    result = call("python", code="import os\nos.close(3)\n#" + "x" * 190_000, deadline=10)
    assert result.status is Status.CRASHED


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's zygotes all run as that user")
def test_every_zygote_has_a_user_of_its_own_across_sandboxes(level: Level):
    with (
        Sandbox(("sample_tools",), level=level, search_paths=(HERE,), size=1) as one,
        Sandbox(("sample_tools",), level=level, search_paths=(HERE,), size=1) as two,
    ):
        assert one.idle()[0].uid != two.idle()[0].uid
