"""Every format: detected, read, and what cannot be used is counted with its reason."""

import json
from pathlib import Path

import pytest

from rayplay.data.census import Census
from rayplay.data.sources import SOURCES, open_source, read_opened, read_source
from rayplay.data.writing import line_of
from rayplay.errors import DataError

FIXTURES = Path(__file__).with_name("data_fixtures")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

# format -> (rows, usable, rejected, calls, turns, parallel)
EXPECTED = {
    "openai-jsonl": (3, 3, {}, 3, 5, 1),
    "sharegpt": (3, 3, {}, 1, 5, 0),
    "alpaca": (3, 3, {}, 1, 4, 0),
    "chat-log": (3, 2, {"no_final_answer": 1}, 3, 3, 1),
    "responses-log": (4, 2, {"marked_bad": 1, "unknown_tool": 1}, 3, 4, 1),
    "bedrock": (1, 1, {}, 1, 2, 0),
    "gemini": (2, 2, {}, 2, 3, 1),
    "langchain-runs": (2, 2, {}, 1, 2, 0),
    "preference-jsonl": (3, 3, {}, 2, 3, 0),
    "xlam": (3, 3, {}, 3, 2, 1),
    "apigen-mt": (1, 1, {}, 1, 2, 0),
    "glaive-sharegpt": (2, 2, {}, 1, 3, 0),
    "glaive-v2": (2, 2, {}, 1, 3, 0),
    "hermes": (2, 2, {}, 3, 3, 1),
    "toolace": (1, 1, {}, 2, 2, 1),
    "when2call": (3, 3, {}, 2, 3, 0),
    "when2call-preferences": (2, 2, {}, 1, 2, 0),
    "button": (1, 1, {}, 2, 2, 1),
    "toolalpaca": (4, 3, {"unknown_tool": 1}, 2, 4, 0),
    "toolllama": (2, 1, {"no_final_answer": 1}, 1, 2, 0),
    "toolbench-answers": (3, 2, {"no_winning_path": 1}, 2, 4, 0),
    "toolbench-traces": (4, 2, {"no_final_answer": 2}, 1, 2, 0),
    "toolbench-queries": (1, 1, {}, 0, 0, 0),
    "seal-tools": (6, 4, {"unknown_tool": 1, "unresolved_reference": 1}, 6, 6, 0),
    "seal-tools-text": (2, 1, {"unknown_tool": 1}, 1, 1, 0),
    "toolrl": (3, 3, {}, 4, 4, 1),
    "api-bank": (3, 1, {"empty": 1, "call_as_text": 1}, 2, 3, 0),
    "api-bank-rows": (6, 4, {"unknown_tool": 1, "call_as_text": 1}, 6, 9, 0),
    "prompt-completion": (3, 2, {"marked_bad": 1}, 1, 3, 0),
    "prompt-only": (3, 2, {"roles_out_of_order": 1}, 0, 0, 0),
    "verl": (2, 2, {}, 0, 0, 0),
    "bfcl": (2, 1, {"wrong_format": 1}, 0, 0, 0),
    "nestful": (3, 2, {"unknown_tool": 1}, 0, 0, 0),
    "tau": (2, 1, {"marked_bad": 1}, 1, 2, 0),
    "tooltalk": (1, 1, {}, 1, 2, 0),
    "swe-agent": (2, 2, {}, 3, 4, 0),
    "rayplay-records": (2, 1, {"wrong_format": 1}, 0, 0, 0),
}  # fmt: skip


def census_of(path, name=None, **options):
    opened = open_source(path, name, options)
    census = Census.of(opened)
    for outcome in read_opened(opened):
        census.count(outcome)
    return census


def usable_of(name):
    return [o.usable for o in read_source(FIXTURES / name) if o.usable]


def test_every_format_has_a_fixture():
    assert set(EXPECTED) == set(SOURCES)


@pytest.mark.parametrize("name", EXPECTED)
def test_format_is_detected_and_every_row_is_usable_or_rejected(name):
    summary = census_of(FIXTURES / name).summary()
    rows, usable, rejected, calls, turns, parallel = EXPECTED[name]
    assert summary["format"] == name
    assert (summary["rows"], summary["usable"], summary["rejected"]) == (rows, usable, rejected)
    assert summary["usable"] + sum(summary["rejected"].values()) == summary["rows"]
    assert (summary["calls"], summary["turns"], summary["parallel_calls"]) == (calls, turns, parallel)
    assert set(summary["first_rejected"]) == set(rejected)


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_written_is_read_again_with_the_same_calls(name, tmp_path):
    for kind, field in (("demonstrations", "messages"), ("preferences", "chosen"), ("tasks", "messages")):
        records = [record for usable in usable_of(name) for record in getattr(usable, kind)]
        if not records:
            continue
        path = tmp_path / f"{kind}.jsonl"
        path.write_text("".join(json.dumps(line_of(r)) + "\n" for r in records))
        again = [r for o in read_source(path) for r in getattr(o.usable, kind)]
        assert len(again) == len(records)
        for before, after in zip(records, again, strict=True):
            assert _calls(getattr(before, field)) == _calls(getattr(after, field))
            assert [t.name for t in before.tools] == [t.name for t in after.tools]
            assert before.source == after.source


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"openai-jsonl"}))
def test_the_wrong_format_is_rejected_row_by_row(name):
    census = census_of_or_error(FIXTURES / "openai-jsonl", name)
    if isinstance(census, Census):
        assert census.usable == 0
        assert census.rejected
        with pytest.raises(DataError, match="none of"):
            census.require_usable("x")


def census_of_or_error(path, name):
    try:
        return census_of(path, name)
    except DataError as error:
        return error


def _calls(messages):
    return [[(c.name, c.arguments) for c in m.tool_calls] for m in messages]


def test_seal_tools_values_of_earlier_calls_become_simulated_results():
    plain, nested, *_ = (u.demonstrations[0] for u in usable_of("seal-tools"))
    assert not plain.simulated
    assert plain.messages[1].tool_calls[0].arguments == {"port": "Brest", "days": 3}
    assert nested.simulated
    first, result, second = nested.messages[1:4]
    assert first.tool_calls[0].name == "getTide"
    assert second.tool_calls[0].arguments == {"station": json.loads(result.content)["station_id"]}


def test_names_that_no_api_accepts_are_made_valid_and_kept_beside():
    tool = usable_of("toolace")[0].demonstrations[0].tools[0]
    assert (tool.name, tool.original_name) == ("Get_Tide", "Get Tide")
    assert tool.parameters["type"] == "object"


def test_toolace_values_keep_quotes_brackets_and_types():
    call = usable_of("toolace")[0].demonstrations[0].messages[1].tool_calls[0]
    assert call.arguments == {"port": "St. John's (1)", "dates": ["2025-01-01", "2025-01-02"], "metric": True}


def test_tree_gives_the_winning_path_and_a_pair_for_each_failed_attempt():
    usable = usable_of("toolbench-answers")[0]
    assert [m.role for m in usable.demonstrations[0].messages] == ["user", "assistant", "tool", "assistant"]
    assert usable.demonstrations[0].messages[-1].content == "At 04:10."
    assert [p.reason for p in usable.preferences] == ["wrong_tool", "not_finished"]
    assert usable.preferences[0].chosen[0].tool_calls[0].name == "tide_for_sea"
    assert usable.preferences[0].rejected[0].tool_calls[0].name == "moon_for_sky"


def test_a_trace_with_cut_messages_is_a_task_only():
    whole, cut = usable_of("toolbench-traces")
    assert whole.demonstrations and whole.tasks
    assert not cut.demonstrations
    assert cut.tasks[0].expected.check_calls is False


def test_toolrl_cut_values_are_closed_and_counted():
    first = next(iter(usable_of("toolrl")))
    assert first.repairs == ("cut_value_closed",)
    assert first.demonstrations[0].messages[1].tool_calls[1].arguments == {"port": "Kiel", "marks": ["a"]}
    assert census_of(FIXTURES / "toolrl", repair=False).summary()["rejected"] == {"bad_arguments": 1}


def test_glaive_arguments_in_single_quotes_are_read():
    call = usable_of("glaive-v2")[0].demonstrations[0].messages[1].tool_calls[0]
    assert call.arguments == {"port": "L'Aber", "days": 2}


def test_results_go_to_the_call_whose_id_they_name():
    messages = usable_of("openai-jsonl")[1].demonstrations[0].messages
    ids = [c.call_id for c in messages[1].tool_calls]
    assert [m.tool_call_id for m in messages[2:4]] == ids[::-1]
    assert [m.content for m in messages[2:4]] == ["05:00", "06:00"]


def test_preferences_keep_a_rejected_side_that_violates_the_schema():
    usable = usable_of("preference-jsonl")
    assert usable[2].preferences[0].rejected[0].tool_calls[0].arguments["length_m"] == "seven"
    assert [u.preferences[0].reason for u in usable] == ["no_call", "should_not_call", "wrong_arguments"]


def test_expected_calls_of_a_task_are_those_until_the_next_request():
    tasks = usable_of("openai-jsonl")[1].tasks
    assert [c.arguments for c in tasks[0].expected.calls] == [{"port": "Ystad"}, {"port": "Esbjerg"}]
    assert usable_of("openai-jsonl")[2].tasks[0].expected.calls == ()


SHARES = {
    "seal-tools": ("seal-tools", 1400, 0.95),
    "toolbench/answer": ("toolbench-answers", 15, 0.6),
    "toolbench/traces": ("toolbench-traces", 600, 296 / 600),
    "toolrl": ("toolrl", 400, 0.95),
    "glaive": ("glaive-sharegpt", 300, 0.95),
    "api-bank": ("api-bank", 264, 0.9),
}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published sets are not beside the project (../shared/data)")
@pytest.mark.parametrize("folder", SHARES)
def test_published_sets_are_mostly_usable(folder):
    name, rows, share = SHARES[folder]
    summary = census_of(SHARED / folder).summary()
    assert (summary["format"], summary["rows"]) == (name, rows)
    assert summary["usable"] >= share * rows
    assert summary["usable"] + sum(summary["rejected"].values()) == rows
    assert summary["licence"] == "Apache-2.0"
    if name == "seal-tools":
        assert summary["tools"] == 4076
    if name == "toolbench-answers":
        assert summary["usable"] == 9
        assert summary["preferences"] >= 30
