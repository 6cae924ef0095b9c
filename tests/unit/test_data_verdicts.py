"""What authors say of their rows: bad ones are not imitated, excluded messages carry no loss, samples of an id stay."""

import json

import pytest

from rayplay.data.census import Census
from rayplay.data.sources import number_of_row, open_source, read_opened
from rayplay.data.transcript import transcript
from rayplay.data.writing import line_of
from rayplay.errors import DataError
from tests.families import family_dialect

TOOL = {"name": "pump", "parameters": {"type": "object", "properties": {"litres": {"type": "integer"}}}}


def chat(answer="Pumped.", **rest):
    call = {"id": "1", "function": {"name": "pump", "arguments": '{"litres": 9}'}}
    messages = [
        {"role": "user", "content": "Empty the hold."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "ok"},
        {"role": "assistant", "content": answer},
    ]
    return {"messages": messages, "tools": [TOOL], **rest}


def turns(**rest):
    said = [{"from": "human", "value": "Empty the hold."}, {"from": "gpt", "value": "Pumped."}]
    return {"conversations": said, **rest}


def outcomes(tmp_path, *rows, **options):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    opened = open_source(path, None, options)
    census = Census.of(opened)
    return [census.counted(outcome) for outcome in read_opened(opened)], census


BAD = [
    {"label": False}, {"label": "rejected"}, {"label": 0}, {"kto_tag": False}, {"reward": 0.0}, {"reward": -1},
    {"reward": 0.2}, {"score": "0"}, {"is_correct": False}, {"success": False}, {"resolved": False}, {"passed": 0},
    {"metadata": {"success": False}}, {"extra_info": {"reward": 0}}, {"rewards": {"total": 0.1, "format": 1}},
    {"failed": True}, {"feedback": "thumbs down"}, {"rejected": True}, {"chosen": False}, {"status": "failed"},
]  # fmt: skip
FINE = [
    {"label": True}, {"label": "greeting"}, {"label": 7}, {"kto_tag": True}, {"reward": 1.0}, {"score": 4.5},
    {"success": True}, {"failed": False}, {"reward": None}, {"label": None}, {"correct": "Paris"}, {"reward": []},
    {"metadata": {"topic": "ships"}}, {"feedback": "thank you"}, {"score": 0.8}, {"status": "completed"}, {"rating": 4},
]  # fmt: skip


@pytest.mark.parametrize("mark", BAD, ids=str)
@pytest.mark.parametrize("make", [chat, turns])
def test_a_row_that_its_author_marks_as_bad_is_rejected_by_its_mark(tmp_path, make, mark):
    (outcome,), census = outcomes(tmp_path, make(**mark))
    assert outcome.rejected.reason == "marked_bad"
    assert next(iter(mark)) in census.first["marked_bad"]


@pytest.mark.parametrize("mark", FINE, ids=str)
def test_other_marks_change_nothing(tmp_path, mark):
    (outcome,), _ = outcomes(tmp_path, chat(**mark))
    assert outcome.usable.demonstrations


def test_how_much_reward_is_good_enough_is_an_option(tmp_path):
    (outcome,), _ = outcomes(tmp_path, chat(reward=0.2), reward_min=0.1)
    assert outcome.usable.demonstrations
    (outcome,), _ = outcomes(tmp_path, chat(reward=0.8), reward_min=1)
    assert outcome.rejected.reason == "marked_bad"
    with pytest.raises(DataError, match="reward_min is 'high'; write a number"):
        outcomes(tmp_path, chat(reward=0.8), reward_min="high")


def test_a_request_alone_may_come_from_a_bad_row(tmp_path):
    (outcome,), _ = outcomes(tmp_path, {"messages": chat()["messages"][:1], "tools": [TOOL], "reward": 0})
    assert outcome.usable.tasks[0].expected.check_calls is False


@pytest.mark.parametrize(
    "column", [{"images": ["a.jpg"]}, {"image": {"bytes": "x"}}, {"audio": "b.WAV"}, {"videos": [{"path": "c"}]}]
)
def test_columns_of_pictures_and_sound_have_a_reason_of_their_own(tmp_path, column):
    (outcome,), census = outcomes(tmp_path, turns(**column))
    assert outcome.rejected.reason == "not_text"
    assert repr(next(iter(column))) in census.first["not_text"]


@pytest.mark.parametrize("column", [{"images": []}, {"image": None}, {"image": "org/sandbox:1.2"}])
def test_empty_columns_and_names_of_containers_are_no_pictures(tmp_path, column):
    assert outcomes(tmp_path, turns(**column))[0][0].usable


@pytest.mark.parametrize("mark", [{"weight": 0}, {"loss": False}, {"train": False}])
def test_what_its_author_excluded_is_context_and_never_learned(tmp_path, mark):
    row = chat()
    row["messages"][1] |= mark
    (outcome,), census = outcomes(tmp_path, row)
    shown = outcome.usable.demonstrations[0]
    dialect = family_dialect("qwen2.5")
    ids, mask = dialect.supervise(shown.messages, shown.tools)
    learned = dialect.tokenizer.decode([t for t, m in zip(ids, mask, strict=True) if m])
    assert "Pumped." in learned and "litres" not in learned
    assert "litres" in dialect.tokenizer.decode(ids)
    assert census.summary()["without_loss"] == 1
    assert outcome.usable.tasks[0].expected.check_calls is False


def test_excluded_messages_are_written_and_read_again(tmp_path):
    row = chat()
    row["messages"][3]["weight"] = 0
    (outcome,), _ = outcomes(tmp_path, row)
    (again,), _ = outcomes(tmp_path, line_of(outcome.usable.demonstrations[0]))
    assert [m.loss for m in again.usable.demonstrations[0].messages] == [True, True, True, False]
    assert "assistant (without loss): Pumped." in transcript(again.usable.demonstrations[0])


def test_several_samples_of_one_id_are_kept_under_ids_of_their_own(tmp_path):
    rows = [chat("Pumped.", id="hold"), chat("Done.", id="hold"), chat("Pumped.", id="hold"), chat("Dry.", id="hold")]
    found, census = outcomes(tmp_path, *rows)
    assert [o.usable.demonstrations[0].row_id for o in found if o.usable] == ["hold", "hold#2", "hold#3"]
    tasks = [t.task_id for o in found if o.usable for t in o.usable.tasks]
    assert len(set(tasks)) == 3 and tasks[1] == "openai-jsonl/hold#2/0"
    assert dict(census.rejected) == {"duplicate_id": 1}


def test_the_number_of_a_row_is_found_among_many_of_its_id():
    seen: set[int] = set()
    assert [number_of_row(seen, "f", "x", str(n)) for n in range(70)] == list(range(1, 71))
    assert number_of_row(seen, "f", "x", "3") == 0
    assert (number_of_row(seen, "g", "x", "3"), number_of_row(seen, "f", "y", "3")) == (1, 1)
    assert number_of_row(seen, "f", "x", "new") == 71


def test_most_rows_lost_is_a_warning(tmp_path):
    broken = {
        "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "<tool_call>?</tool_call>"}]
    }
    _, census = outcomes(tmp_path, turns_as_messages(), broken, broken)
    most, calls = census.warnings()
    assert "2 of 3 rows are rejected (2 broken_call)" in most
    assert "all 2 rows with calls are rejected" in calls
    assert census.summary()["rejected_with_calls"] == 2


def turns_as_messages():
    return {"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hi."}]}


def test_a_sound_file_has_no_warning_and_says_what_is_kept(tmp_path):
    row = chat("<think>Dry now.</think>\nPumped.")
    _, census = outcomes(tmp_path, row)
    assert census.warnings() == []
    summary = census.summary()
    assert (summary["calls"], summary["results"], summary["thoughts"], summary["without_loss"]) == (1, 1, 1, 0)


def test_a_file_without_loss_is_a_warning(tmp_path):
    row = turns_as_messages()
    row["messages"][1]["weight"] = 0
    _, census = outcomes(tmp_path, row)
    assert "nothing to imitate" in census.warnings()[0]
