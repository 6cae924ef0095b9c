"""`rayplay doctor --security` says what stands open, and its exit code is 1 where a promise does not hold."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rayplay import security_report
from rayplay.cli import doctor
from rayplay.listening import Listening, listening_of, listening_of_all
from rayplay.recipe import Recipe
from rayplay.sandbox import IsolationReport, Level
from rayplay.security_report import as_json, file_rows, isolation_rows, listening_rows, recipe_rows, route_rows

RECIPE = {
    "model": {"name": "smollm2-135m-instruct"},
    "tools": ["tools.calculator", {"mcp": {"command": "python", "args": ["server.py"], "env": ["SERVER_TOKEN"]}}],
    "judge": {"base_url": "http://127.0.0.1:1/v1", "model": "j", "api_key_env": "JUDGE_KEY"},
    "sandbox": {"require": "L3"},
}
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at processes through /proc")


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SERVER_TOKEN", "JUDGE_KEY", "RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor, "isolation_report", lambda: IsolationReport(level=Level.L3))
    (tmp_path / "recipe.json").write_text(json.dumps(RECIPE))
    return tmp_path / "recipe.json"


def asked(recipe, *more):
    done = CliRunner().invoke(doctor.doctor_app, ["--security", str(recipe), "--json", *more])
    return done.exit_code, json.loads(done.stdout)


def test_the_table_has_every_area_and_fails_for_a_variable_that_is_not_set(recipe, monkeypatch):
    monkeypatch.setattr(security_report, "listening_of_all", list)
    code, found = asked(recipe)
    assert {row["area"] for row in found["rows"]} == {"listens", "files", "routes", "isolation", "recipe"}
    assert (code, found["not_held"]) == (1, ["recipe: MCP server python server.py"])
    monkeypatch.setenv("SERVER_TOKEN", "x" * 20)
    code, found = asked(recipe)
    assert (code, found["not_held"]) == (0, []) and "x" * 20 not in json.dumps(found)
    table = CliRunner().invoke(doctor.doctor_app, ["--security", str(recipe)])
    assert table.exit_code == 0 and "SERVER_TOKEN" in table.stdout.replace("\n", "")


def test_modes_that_let_others_in_are_found(recipe, tmp_path, monkeypatch):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("x")
    (tmp_path / ".ray" / "auth_token").chmod(0o644)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools").chmod(0o777)
    (tmp_path / "runs" / "recipe").mkdir(parents=True)
    (tmp_path / "runs" / "recipe").chmod(0o700)
    held = {row.what.split(" /")[0].split(" tools")[0]: row.held for row in file_rows(Path("recipe.json"))}
    assert held["Ray's token file"] is False and held["tools"] is False
    assert [row.held for row in file_rows(Path("recipe.json")) if row.what.startswith("run folder")] == [True]


def test_a_level_below_the_required_one_is_found_on_each_node(recipe):
    nodes = {"a": IsolationReport(level=Level.L3), "b": IsolationReport(level=Level.L1, not_held=("disk",))}
    assert [row.held for row in isolation_rows(nodes, "L2")] == [True, False]


def test_routes_are_really_tried():
    assert [row.held for row in route_rows()].count(True) == 1


def test_what_a_recipe_trusts_is_named_with_its_variables(recipe, monkeypatch):
    monkeypatch.setenv("SERVER_TOKEN", "there")
    rows = {row.what: row for row in recipe_rows(Recipe.model_validate_json(json.dumps(RECIPE)))}
    assert rows["MCP server python server.py"].found == "trusted: nothing holds it; SERVER_TOKEN is set"
    assert rows["judge http://127.0.0.1:1/v1"].found.endswith("JUDGE_KEY is not set")
    assert rows["tool tools.calculator"].found == "held by the sandbox"


@needs_proc
def test_a_socket_of_a_local_run_that_everybody_reaches_is_found(monkeypatch):
    script = "import socket, time; s = socket.create_server(('0.0.0.0', 0)); print(s.getsockname()[1], flush=True); "
    script += "time.sleep(60)"
    environment = {**os.environ, security_report.OURS: "0"}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        port = int(process.stdout.readline())
        rows = listening_rows(e for e in listening_of_all() if e.port == port)
        assert [row.held for row in rows] == [False] and as_json(rows)["not_held"] == [f"listens: 0.0.0.0:{port}"]
        assert [e.port for e in listening_of(process.pid)] == [port]
        monkeypatch.setattr(security_report, "environment_of", lambda pid: {})
        assert [row.held for row in listening_rows(e for e in listening_of_all() if e.port == port)] == [None]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@needs_proc
@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_loopback_is_told_from_the_rest(family, address):
    with socket.socket(family) as listening:
        try:
            listening.bind((address, 0))
        except OSError:
            pytest.skip(f"this machine has no {address}")
        listening.listen()
        port = listening.getsockname()[1]
        assert [(e.address, e.loopback) for e in listening_of(os.getpid()) if e.port == port] == [(address, True)]


@pytest.mark.parametrize(("address", "loopback"), [("::ffff:127.0.0.1", True), ("::", False), ("10.0.0.1", False)])
def test_addresses(address, loopback):
    assert Listening(address, 1, 1, "").loopback is loopback


def test_a_recipe_without_the_option_is_a_users_error(recipe):
    done = CliRunner().invoke(doctor.doctor_app, [str(recipe)])
    assert "--security" in str(done.exception)
