"""`rayplay tools ...` with real sandboxed processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rayplay.cli.tools import tools_app
from rayplay.errors import ToolboxError

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]

HOSTILE = [
    "while True: pass",
    "import os\nos.fork()",
    "x = 'a' * 10**11",
    "import os\nos._exit(7)",
    "print('x' * 10**7)",
    "import socket\nsocket.socket()",
    "open('/etc/shadow').read()",
    "import os, signal\nos.kill(os.getppid(), 9)",
]


def run(*args: str, **rest: object) -> Result:
    return CliRunner().invoke(tools_app, list(args), **rest)


def test_a_call_prints_its_result_and_fails_with_exit_code_1() -> None:
    good = run("call", "calculator", '{"expression": "2*21"}')
    assert (good.exit_code, good.stdout) == (0, "42\n")
    bad = run("call", "calculator", '{"expression": "1/0"}', "--json")
    assert bad.exit_code == 1
    assert json.loads(bad.stdout) | {"seconds": 0, "level": ""} == {
        "status": "tool_error",
        "text": "division by zero",
        "seconds": 0,
        "level": "",
    }
    assert run("call", "calculator", "{broken").stdout.startswith("invalid_json")


def test_a_stateful_call_starts_from_a_state_and_shows_the_new_one() -> None:
    shown = run("call", "write_file", '{"path": "/a", "text": "b"}', "--state", '{"files": {"/x": "y"}}', "--json")
    assert json.loads(shown.stdout)["state"] == {"files": {"/x": "y", "/a": "b"}}


def test_letters_of_any_alphabet_are_printed_and_halves_of_letters_are_no_json() -> None:
    city = json.loads(run("call", "weather", '{"city": "São Paulo"}', "--json").stdout)
    assert '"city": "São Paulo"' in city["text"]  # as the model reads it
    half = run("call", "write_file", r'{"path": "/a", "text": "\ud800"}', "--state", '{"files": {}}', "--json")
    assert json.loads(half.stdout)["status"] == "invalid_json"  # as when a model says it: no store could hold it
    printed = run("call", "python", json.dumps({"code": r"print('\ud800')"}), "--json")
    assert json.loads(printed.stdout)["status"] == "ok" and "ud800" in json.loads(printed.stdout)["text"]


def test_what_a_tool_needs_must_be_allowed() -> None:
    result = run("call", "weather_live", '{"city": "Paris"}')
    assert isinstance(result.exception, ToolboxError) and "--allow network" in str(result.exception)
    assert "there are network, files" in str(run("call", "weather", '{"city": "Paris"}', "--allow", "net").exception)


def test_a_batch_keeps_its_order_among_hostile_and_broken_lines(tmp_path: Path) -> None:
    lines, expected = [], []
    for n in range(60):
        lines.append(json.dumps({"name": "calculator", "arguments": {"expression": f"{n} * 3"}}))
        expected.append(("ok", str(n * 3)))
        if n % 5 == 0:
            lines.append(json.dumps({"name": "python", "arguments": {"code": HOSTILE[n // 5 % len(HOSTILE)]}}))
            expected.append(("", ""))
        if n % 20 == 0:
            lines += ['{"name": "calculator", ', json.dumps({"name": "nothing", "arguments": {}}), ""]
            expected += [("invalid_json", ""), ("unknown_tool", ""), ("invalid_json", "")]
    calls = tmp_path / "calls.jsonl"
    calls.write_text("\n".join(lines) + "\n")
    result = run("batch", str(calls), "--json", "--deadline-s", "2", "--at-once", "3")
    got = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0 and len(got) == len(expected)
    for (status, text), row in zip(expected, got, strict=True):
        assert set(row) >= {"status", "text", "seconds", "level"}
        assert row["status"] == status if status else row["status"] != "ok"
        assert not text or row["text"] == text


def test_a_new_tool_works_at_once_and_so_does_its_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder, tests = tmp_path / "mytools", tmp_path / "tests"
    made = run("new", "echo_text", "--folder", "mytools", "--tests", "tests")
    assert made.exit_code == 0 and "mytools.echo_text" in made.stdout
    assert run("call", "echo_text", '{"text": "hey", "times": 3}', "--folder", "mytools").stdout == "hey hey hey\n"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    assert subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, timeout=60).returncode == 0
    for name, message in (("echo_text", "already"), ("2fast", "cannot name"), ("class", "cannot name")):
        assert message in str(run("new", name, "--folder", "mytools", "--tests", "tests").exception)
    (folder / "broken.py").write_text("import nowhere_at_all\n")
    listed = run("list", "--folder", "mytools", "--json")
    shown = json.loads(listed.stdout)
    assert [t["name"] for t in shown["tools"]] == ["echo_text"] and "nowhere_at_all" in shown["broken"][
        "mytools.broken"
    ]


def test_list_and_show_know_every_shipped_tool() -> None:
    shown = json.loads(run("list", "--json").stdout)
    names = {t["name"] for t in shown["tools"]}
    assert {"calculator", "weather", "search", "python", "convert_units", "sql", "text_statistics"} <= names
    assert {"add_to_date", "add_to_cart", "write_file", "book", "weather_live"} <= names and shown["broken"] == {}
    assert json.loads(run("show", "book", "--json").stdout)["toolset"] == "BookingCalendar"
    assert "did you mean 'book'" in str(run("show", "bok").exception)
