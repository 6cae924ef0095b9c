"""Secrets by name alone: literal ones are refused at load, and what a named variable holds is written nowhere."""

import json
import os
import stat
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayplay import cli, manifest, report
from rayplay.credentials import NAMES, literal_secrets, redact, secret_names, with_secrets, without_secrets
from rayplay.data.endpoint import endpoint
from rayplay.data.writing import write_texts
from rayplay.errors import DataError, RecipeError, ToolboxError
from rayplay.mcp_tools import McpToolbox
from rayplay.recipe import Recipe
from rayplay.recipe_text import load_recipe, parse_recipe
from rayplay.records import Message, ToolCall
from rayplay.sinks import for_line
from rayplay.store import RunFolder, write_json
from rayplay.training.export import write_card

BASE = {"model": {"name": "smollm2-135m-instruct"}, "tools": ["tools.calculator"]}


def with_server(**mcp):
    return {"tools": [{"mcp": {"command": "python", **mcp}}]}


def with_teacher(**options):
    return {"data": {"sources": [{"source": "teacher_chat", "options": {"model": "m", **options}}]}}


LITERAL = {
    "an option": with_teacher(base_url="https://h/v1", api_key="Zq81-plain-word"),
    "camel case": with_teacher(apiKey="anything"),
    "a header": with_teacher(headers={"X-Auth-Token": "anything"}),
    "a list": with_teacher(api_keys=["x"], access_token=["anything"]),
    "a value instead of a name": with_teacher(api_key_env="s3cr3t-value"),
    "a key instead of a name": with_teacher(api_key_env="AKIAQWERTYUIOPASDFGH"),
    "env": with_server(env={"SERVICE": "hunter2hunter2"}),
    "env in capitals": with_server(env={"SERVICE": "ghp_QWERTYUIOP"}),
    "env as a list": with_server(env=["SERVICE=anything"]),
    "an argument": with_server(args=["serve", "--token", "anything"]),
    "an argument with =": with_server(args=["--api-key=anything"]),
    "an argument like a variable": with_server(args=["DB_PASSWORD=anything"]),
    "a header argument": with_server(args=["-H", "Authorization: Bearer anything"]),
    "a known look": with_server(args=["xoxb-123456789-ABCDEF"]),
    "a drawn argument": with_server(args=["Zk3LmP0qRt9sUv8wXyA2bC4dE6"]),
    "a password in a url": {"tools": [{"mcp": {"url": "https://ann:anything@h.example/mcp"}}]},
    "a user without a password": {"tools": [{"mcp": {"url": "https://anything:@h.example/mcp?key=${K}"}}]},
    "a user in a url": {"tools": [{"mcp": {"url": "https://anything@h.example/mcp"}}]},
    "a query": {"tools": [{"mcp": {"url": "https://h.example/mcp?access_token=x1"}}]},
    "a drawn query": {"tools": [{"mcp": {"url": "https://h.example/mcp?c=Zk3LmP0qRt9sUv8wXyA2bC4dE6"}}]},
    "a fragment": {"tools": [{"mcp": {"url": "https://h.example/mcp#sig=x1"}}]},
    "a path": {"tools": [{"mcp": {"url": "https://h.example/s/0d9f8a7b6c5e4d3f2a1b0c9d8e7f6a5b/mcp"}}]},
    "the judge": {"judge": {"base_url": "https://j:anything@h.example/v1", "model": "j"}},
    "the judge's question": {"judge": {"base_url": "https://h/v1", "model": "j", "question": "hf_QWERTY12 grade"}},
    "an unknown key": {"judge": {"base_url": "https://h/v1", "model": "j", "api_key": "anything"}},
    "a wrong type": {"tools": [{"mcp": {"command": "python", "env": {"A": ["sk-QWERTY1234"]}}}]},
    "the address": {"resources": {"address": "ray://me:anything@head:10001"}},
    "a setting of a library": {"training": {"deepspeed": {"comet": {"api_key": "anything"}}, "gpus_per_worker": 1}},
    "about": {"about": "run it with sk-proj-QWERTY12345678"},
    "a token of three parts": {"about": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"},
    "a private key": {"about": "-----BEGIN OPENSSH PRIVATE KEY-----"},
}
HARMLESS = {
    "names": with_teacher(base_url="https://h.example/v1", api_key_env="TEACHER_KEY"),
    "places": with_server(args=["--token", "${A_TOKEN}", "--key=${B}", "-H", "Authorization: Bearer ${C}"]),
    "env names": with_server(env=["A_TOKEN"]),
    "env pairs": with_server(env={"token": "A_TOKEN"}),
    "places in a url": {"tools": [{"mcp": {"url": "https://u:${PW}@h.example/${P}/mcp?key=${K}"}}]},
    "token words": {"model": {"name": "m", "chat_template_kwargs": {"eos_token": "</s>", "add_special_tokens": True}}},
    "prose": {"about": "task-Force, risk-Free, sk-learn, bearer of news; see https://arxiv.org/abs/2305.18290v3"},
    "hub ids": {
        "model": {"name": "Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "revision": "0d9f8a7b6c5e4d3f2a1b0c9d8e7f6a5b"}
    },
    "packages": with_server(args=["-y", "@modelcontextprotocol/server-filesystem@2025.8.21", "/srv/Data_2025/Files"]),
    "a schema": {"tools": [{"name": "login", "parameters": {"properties": {"password": {"type": "string"}}}}]},
}


@pytest.mark.parametrize("part", LITERAL.values(), ids=LITERAL)
def test_a_literal_secret_is_refused_with_advice_and_without_its_value(part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("recipe.json").write_text(json.dumps({**BASE, **part}))
    monkeypatch.setattr(sys, "argv", ["rayplay", "train", "recipe.json", "--output-dir", "run"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "holds a secret" in said and "variable" in said
    assert not [word for word in ("anything", "QWERTY", "hunter2", "s3cr3t", "Zk3L", "0d9f", "c2ln") if word in said]
    assert [p.name for p in tmp_path.iterdir()] == ["recipe.json"]


@pytest.mark.parametrize("part", HARMLESS.values(), ids=HARMLESS)
def test_names_and_ordinary_text_are_not_taken_for_secrets(part):
    assert list(literal_secrets({**BASE, **part})) == []


def test_every_shipped_recipe_is_free_of_secrets():
    for path in Path("configs").glob("*.json"):
        assert list(literal_secrets(json.loads(path.read_text()))) == [], path


def test_a_recipe_that_is_built_in_python_is_held_to_the_same():
    with pytest.raises(ValueError, match="holds a secret"):
        Recipe(model={"name": "m"}, about="sk-QWERTY12345678")


def test_an_override_is_held_to_the_same():
    with pytest.raises(RecipeError, match="holds a secret"):
        parse_recipe(json.dumps(BASE), "recipe", ("about=ghp_QWERTY123456",))


def test_the_names_that_a_recipe_gives_are_found():
    part = {**HARMLESS["places"], **HARMLESS["names"], "judge": {"api_key_env": "JUDGE_KEY"}}
    assert secret_names({**BASE, **part}) == {"A_TOKEN", "B", "C", "TEACHER_KEY", "JUDGE_KEY"}
    assert secret_names(HARMLESS["env names"]) == secret_names(HARMLESS["env pairs"]) == {"A_TOKEN"}


def test_values_are_filled_in_where_a_server_is_started(monkeypatch):
    for name, value in {"A": "one/two", "B": "three"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(NAMES, "")
    server = {"args": ["--key=${A}"], "env": {"token": "B"}, "url": "https://h/?k=${A}"}
    filled = with_secrets(server)
    assert (filled["args"], filled["env"]) == (("--key=one/two",), {"token": "three"})
    assert filled["url"] == "https://h/?k=one%2Ftwo" and with_secrets({"env": ["B"]})["env"] == {"B": "three"}
    with pytest.raises(RecipeError, match="NOT_THERE, which the recipe names, is not set"):
        with_secrets({"env": ["NOT_THERE"]})


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=6, max_size=30), st.text(max_size=9))
def test_a_value_is_hidden_as_it_is_and_in_json_html_and_urls(value, before):
    os.environ["RAYPLAY_TEST_SECRET"], os.environ[NAMES] = f"x{value}y", "RAYPLAY_TEST_SECRET"
    try:
        assert f"x{value}y" not in redact(f"{before}x{value}y")
        assert f"x{value}y" not in json.loads(redact(json.dumps({"k": f"{before}x{value}y"})))["k"]
    finally:
        del os.environ["RAYPLAY_TEST_SECRET"], os.environ[NAMES]


def test_variables_that_sound_secret_are_hidden_unasked_and_others_are_not(monkeypatch):
    for name, value in {"SOME_API_KEY": "w0rd-w0rd", "TOKENIZERS_MODE": "parallel-x", "MONKEY": "chimpanzee"}.items():
        monkeypatch.setenv(name, value)
    assert redact("w0rd-w0rd parallel-x chimpanzee") == "[$SOME_API_KEY] parallel-x chimpanzee"


def test_an_old_manifest_is_read_without_the_secrets_in_it(tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin({"recipe": {**BASE, **with_teacher(api_key="anything-9")}, "mcp": ["ghp_QWERTY1234"]})
    assert "anything-9" in folder.manifest_path.read_text()
    assert "anything-9" not in json.dumps(folder.manifest()) and "QWERTY" not in json.dumps(folder.manifest())
    assert without_secrets(BASE) == BASE


# What follows plants one secret behind every door, and looks for it in everything that is left.

SECRET = 'pl4nted/"s3cret"+value'
TELLTALE = "pl4nted"
SERVER = """
import os, sys
found = [os.environ.get("SERVICE_TOKEN", ""), *sys.argv]
print("token is", *found, file=sys.stderr, flush=True)
if "die" in sys.argv:
    sys.exit("cannot log in with " + found[0])
from mcp.server import MCPServer
server = MCPServer("leaky")

@server.tool()
def tell() -> str:
    '''Say what it knows.'''
    return " ".join(found)

@server.tool(description="uses " + found[0])
def fail() -> str:
    raise ValueError("refused: " + found[0])

server.run()
"""


@contextmanager
def echoing_server():
    """Refuses every request, and says which key it got."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"error": {"message": f"Incorrect key: {self.headers['Authorization']}"}}).encode()
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A recipe that names the secret's variable wherever one can be named."""
    for name in ("SERVICE_TOKEN", "TEACHER_KEY", "JUDGE_KEY", "WANDB_API_KEY"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv(NAMES, "")
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    server = {
        "mcp": {"command": "python", "args": [str(script), "--token", "${SERVICE_TOKEN}"], "env": ["SERVICE_TOKEN"]}
    }
    recipe = {
        **BASE,
        **with_teacher(base_url="http://127.0.0.1:1/v1", api_key_env="TEACHER_KEY"),
        "tools": [server],
        "judge": {"base_url": "http://127.0.0.1:1/v1", "model": "j", "api_key_env": "JUDGE_KEY"},
        "training": {"trackers": ["wandb"]},
    }
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(recipe))
    return load_recipe(path), tmp_path


def test_an_mcp_server_that_tells_its_token_tells_it_to_nobody(planted):
    recipe, _ = planted
    server = with_secrets(recipe.tools[0].mcp.model_dump())
    with McpToolbox(**server) as box:
        told = [box.run(spec, ToolCall(call_id="1", name=spec.name)) for spec in box.describe()]
        described = json.dumps([spec.model_dump(mode="json") for spec in box.describe()] + [box.report()])
    assert {result.status.value for result in told} == {"ok", "tool_error"}
    assert TELLTALE not in " ".join(result.text for result in told) + described
    assert "[$SERVICE_TOKEN]" in " ".join(result.text for result in told)
    with pytest.raises(ToolboxError) as refused:
        McpToolbox(**{**server, "args": (*server["args"], "die")}, start_deadline_s=4)
    assert TELLTALE not in str(refused.value) and "[$SERVICE_TOKEN]" in str(refused.value)


def test_a_teacher_whose_error_repeats_the_key_is_shown_without_it(planted):
    with echoing_server() as url:
        ask = endpoint(url, "m", temperature=0.0, api_key_env="TEACHER_KEY")
        with pytest.raises(DataError) as refused:
            ask([Message(role="user", content="hi")], [], 0)
    assert "the key in TEACHER_KEY" in str(refused.value) and TELLTALE not in for_line(f"{refused.value} {SECRET}")
    with pytest.raises(RecipeError, match="NO_SUCH_KEY"):
        endpoint("http://h/v1", "m", temperature=0.0, api_key_env="NO_SUCH_KEY")


def test_a_planted_secret_is_found_in_no_file_of_a_run_or_an_export(planted, monkeypatch):
    recipe, root = planted
    monkeypatch.setattr(manifest, "model_hash", lambda folder: "0" * 16)
    folder = RunFolder(root / "run")
    folder.claim()
    made = manifest.make_manifest(recipe, {"model_dir": "/m", "dtype": "float32", "isolation": {"note": SECRET}})
    folder.begin(made)
    stage = folder.stage("base")
    write_json(stage.path / "metrics.json", {"n": 1, "metrics": {SECRET: {"mean": 1, "low": 0, "high": 1, "n": 1}}})
    stage.seal([ToolCall(call_id="1", name="tell", raw=SECRET, arguments={"said": SECRET})])
    stage.commit(seconds=1.0, recipe=made["recipe_hash"], note=SECRET)
    assert stage.damaged() == []  # hashes are of what was written
    page = report.make_page("run", {**report.make_report(folder), "about": SECRET}, [])
    card = write_card(folder, stage, {**folder.manifest(), "packages": {"x": SECRET}}, merged=True)
    (root / "export").mkdir()
    write_json(root / "export" / "report.json", report.make_report(folder))
    write_texts(root / "export" / "rows.jsonl", [json.dumps({"content": SECRET})])
    texts = [page, card, *(p.read_text() for p in root.rglob("*") if p.is_file() and p.name != "recipe.json")]
    assert len(texts) > 8 and not [text for text in texts if TELLTALE in text]


def test_an_unexpected_error_is_printed_without_secrets_and_control_characters(planted, monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", lambda: (_ for _ in ()).throw(ValueError(f"key {SECRET} \x1b[31m")))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "ValueError: key [$" in said and "\x1b" not in said


def test_what_a_run_writes_is_its_owners_alone(planted):
    _, root = planted
    folder = RunFolder(root / "private" / "run")
    folder.claim()
    folder.begin({"recipe": {}})
    folder.stage("base").seal([ToolCall(call_id="1")])
    modes = {p: stat.S_IMODE(p.stat().st_mode) for p in folder.path.rglob("*") if p.is_file()}
    assert len(modes) == 5 and set(modes.values()) == {0o600}
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    fresh = RunFolder(root / "fresh")
    fresh.begin({"recipe": {}})
    assert stat.S_IMODE(fresh.path.stat().st_mode) == 0o700
