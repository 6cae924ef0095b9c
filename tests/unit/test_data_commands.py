"""`rayplay data ...` as people run it: exit codes, the JSON line, files that appear whole."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rayplay.cli.data import data_app
from rayplay.errors import DataError
from rayplay.models.micro import save_chat_model

FIXTURES = Path(__file__).with_name("data_fixtures")
KEYS = ["format", "rows", "usable", "rejected", "tools", "calls", "turns", "parallel_calls", "licence"]


def run(*arguments):
    return CliRunner().invoke(data_app, [str(a) for a in arguments], catch_exceptions=True)


def test_inspect_prints_one_json_line_with_the_promised_keys():
    result = run("inspect", FIXTURES / "seal-tools", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout.splitlines()[-1])
    assert list(report)[: len(KEYS)] == KEYS
    assert report["rows"] == report["usable"] + sum(report["rejected"].values())
    assert report["first_rejected"]["unknown_tool"].endswith("dev.jsonl:3: getMoon")


def test_inspect_gives_lengths_in_tokens_of_a_model(tmp_path):
    rows = FIXTURES / "glaive-v2"
    characters = json.loads(run("inspect", rows, "--json").stdout)["characters"]
    tokens = json.loads(run("inspect", rows, "--tokens", save_chat_model(tmp_path), "--json").stdout)["tokens"]
    assert tokens == characters  # this tokenizer has one token a byte
    assert (tokens["rows"], tokens["min"] <= tokens["median"] <= tokens["max"]) == (2, True)


@pytest.mark.parametrize(
    ("more", "message"),
    [(("--format", "xlam"), "none of 2 rows"), (("--what", "preferences"), "hold no preferences")],
)
def test_convert_leaves_the_file_alone_where_there_is_nothing_to_write(tmp_path, more, message):
    out = tmp_path / "out.jsonl"
    out.write_text("before")
    result = run("convert", FIXTURES / "glaive-v2", out, *more)
    assert isinstance(result.exception, DataError)
    assert message in str(result.exception)
    assert [p.name for p in tmp_path.iterdir()] == ["out.jsonl"]
    assert out.read_text() == "before"


def test_inspect_for_people_shows_reasons():
    result = run("inspect", FIXTURES / "toolbench-answers")
    assert result.exit_code == 0
    assert "no_winning_path" in result.stdout


def test_a_format_may_be_named_by_its_beginning():
    report = json.loads(run("inspect", FIXTURES / "glaive-v2", "--format", "glaive", "--json").stdout)
    assert report["format"] == "glaive-v2"


def test_nothing_usable_raises_the_error_that_exits_with_two():
    result = run("inspect", FIXTURES / "hermes", "--format", "xlam", "--json")
    assert isinstance(result.exception, DataError)


def test_convert_writes_chat_lines_that_inspect_reads(tmp_path):
    out = tmp_path / "deep" / "out.jsonl"
    result = run("convert", FIXTURES / "toolace", out, "--json")
    assert json.loads(result.stdout)["written"] == 1
    line = json.loads(out.read_text())
    assert line["source"] == "toolace" and line["licence"] and line["origin"].endswith("data.json:2")
    call = line["messages"][1]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"])["metric"] is True
    assert json.loads(run("inspect", out, "--json").stdout)["format"] == "openai-jsonl"
    assert [p.name for p in out.parent.iterdir()] == ["out.jsonl"]


def test_convert_can_write_preferences_and_tasks(tmp_path):
    for what, written in (("preferences", 3), ("tasks", 2)):
        out = tmp_path / f"{what}.jsonl"
        result = run("convert", FIXTURES / "toolbench-answers", out, "--what", what, "--json")
        assert json.loads(result.stdout)["written"] == written


def test_options_of_a_format_are_passed_on(tmp_path):
    report = json.loads(run("inspect", FIXTURES / "toolrl", "--option", "repair=false", "--json").stdout)
    assert report["rejected"] == {"bad_arguments": 1}


@pytest.mark.parametrize("name", ["openai-jsonl", "preference-jsonl", "toolbench-queries", "seal-tools"])
def test_show_prints_transcripts(name):
    result = run("show", FIXTURES / name, "--n", "2")
    assert result.exit_code == 0
    assert "user:" in result.stdout and "tools:" in result.stdout


def test_show_says_what_is_preferred_to_what():
    text = run("show", FIXTURES / "preference-jsonl", "--n", "1").stdout
    assert 'assistant -> get_tide({"port": "Brest"})' in text
    assert text.index("--- chosen") < text.index("--- rejected (no_call)")


def test_overlap_names_training_rows_that_ask_a_test_question(tmp_path):
    questions = [{"id": "simple_0", "question": [[{"role": "user", "content": "tides in BREST for 2 days"}]]}]
    (tmp_path / "bfcl.json").write_text("\n".join(map(json.dumps, questions)))
    result = run("overlap", FIXTURES / "openai-jsonl", tmp_path / "bfcl.json", "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["overlaps"]) == (1, 1)
    assert report["rows"][0]["train_id"] == "openai-jsonl/a/0"
    assert report["rows"][0]["test_id"] == "simple_0"
    assert run("overlap", FIXTURES / "xlam", tmp_path / "bfcl.json").exit_code == 0


def chat_rows(*kinds):
    """Lines of chat: a good row with a call, a good one without, or one whose call names an unknown tool."""
    tool = {"name": "dig", "parameters": {"type": "object", "properties": {"depth": {"type": "integer"}}}}
    rows = {
        "call": {"role": "assistant", "tool_calls": [{"name": "dig", "arguments": {"depth": 2}}]},
        "talk": {"role": "assistant", "content": "No."},
        "lost": {"role": "assistant", "tool_calls": [{"name": "fly", "arguments": {}}]},
    }
    return "".join(
        json.dumps({"messages": [{"role": "user", "content": f"{n}?"}, rows[kind]], "tools": [tool]}) + "\n"
        for n, kind in enumerate(kinds)
    )


WARNED = {
    ("call", "lost", "lost"): "2 of 3 rows are rejected (2 unknown_tool)",
    ("talk", "talk", "lost"): "all 1 rows with calls are rejected",
    ("talk", "call", "lost"): "",
    ("call", "talk"): "",
}


@pytest.mark.parametrize("kinds", WARNED)
@pytest.mark.parametrize("command", ["inspect", "convert"])
def test_losses_are_told_and_strict_ends_with_one(tmp_path, command, kinds):
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    path.write_text(chat_rows(*kinds))
    arguments = (command, path) if command == "inspect" else (command, path, out)
    result, strict = run(*arguments, "--json"), run(*arguments, "--strict")
    report = json.loads(result.stdout)
    assert (result.exit_code, strict.exit_code) == (0, 1 if WARNED[kinds] else 0)
    assert WARNED[kinds] in " ".join(report["warnings"]) and bool(report["warnings"]) == bool(WARNED[kinds])
    assert ("WARNING" in strict.stderr) == bool(WARNED[kinds])
    if command == "convert":
        assert out.exists()
        out.unlink()
        assert run(*arguments, "--strict").exit_code == strict.exit_code
        assert out.exists() != bool(WARNED[kinds])


def test_convert_says_how_many_rows_were_kept_and_why_the_others_were_not(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(chat_rows("call", "lost", "talk"))
    (tmp_path / "stats.json").write_text('{"rows": 3}')
    text = run("convert", tmp_path, tmp_path / "out.jsonl").stdout
    assert (
        "2 demonstrations; 2 of 3 rows kept, 1 rejected: 1 unknown_tool, first" in text and "rows.jsonl:2: fly" in text
    )
    assert "not read: stats.json" in text


def test_several_paths_have_a_report_each(tmp_path):
    (tmp_path / "a.jsonl").write_text(chat_rows("call", "talk"))
    (tmp_path / "b.jsonl").write_text('{"text": "x | y"}\n')
    result = run("inspect", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--json")
    first, second = map(json.loads, result.stdout.splitlines())
    assert (first["usable"], first["calls"]) == (2, 1) and "no known format" in second["error"]
    assert result.exit_code == 2 and "b.jsonl" in result.stderr
    table = run("inspect", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--table").stdout.splitlines()
    assert len(table) == 4 and table[0].startswith("| data | detected as | rows | usable | kept |")
    assert "| openai-jsonl | 2 | 2 | 2 demonstrations, 2 tasks, 1 call | - |" in table[2]
    assert table[3].count(" | ") == 5


def test_text_of_rows_never_steers_the_terminal(tmp_path):
    hostile = "\x1b]0;title\x07 \x1b[2J [bold]x[/nothing] \u202e \x9b31m"
    row = json.loads(chat_rows("call"))
    row["messages"][0]["content"] = hostile
    broken = json.loads(chat_rows("lost"))
    broken["messages"][1]["tool_calls"][0]["name"] = hostile
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(row)}\n{json.dumps(broken)}\n")
    for arguments in (
        ("inspect", path),
        ("show", path),
        ("convert", path, tmp_path / "out.jsonl"),
        ("inspect", path, "--table"),
    ):
        result = run(*arguments)
        assert result.exit_code == 0, result.exception
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(result.stdout + result.stderr)
