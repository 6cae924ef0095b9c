"""Preferences, prompts with a truth, questions and trajectories, in the shapes that people have them."""

import json

import pytest

from rayplay.data.sources import read_source
from rayplay.matching import answer_found, match_calls
from rayplay.records import Expected, ToolCall

LAMP = {
    "name": "set_lamp",
    "description": "Switch a lamp.",
    "parameters": {
        "type": "object",
        "properties": {"room": {"type": "string"}, "level": {"type": "integer"}},
        "required": ["room"],
    },
}
TOOLS = [{"type": "function", "function": LAMP}]
ASK = {"role": "user", "content": "Dim the attic to 20."}
CALL = {"name": "set_lamp", "arguments": {"room": "attic", "level": 20}}
RIGHT = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": CALL}]}
GUESS = "Done, I think."
WRONG = {"role": "assistant", "content": GUESS}


def read(tmp_path, rows, name="rows.jsonl", source=None):
    """Outcomes of rows written as JSON lines."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return list(read_source(path if source is None else source, None))


def usable_of(outcome):
    assert outcome.usable is not None, outcome.rejected
    return outcome.usable


PREFERENCES = {
    "trl": {"prompt": [ASK], "chosen": [RIGHT], "rejected": [WRONG], "tools": TOOLS},
    "whole conversations": {"chosen": [ASK, RIGHT], "rejected": [ASK, WRONG], "tools": TOOLS},
    "prompt beside whole conversations": {
        "prompt": ASK["content"], "chosen": [ASK, RIGHT], "rejected": [ASK, WRONG], "tools": TOOLS,
        "score_chosen": 8, "score_rejected": 2,
    },
    "openai": {
        "input": {"messages": [ASK], "tools": TOOLS}, "preferred_output": [RIGHT], "non_preferred_output": [WRONG],
    },
    "sharegpt ranking": {
        "conversations": [{"from": "human", "value": ASK["content"]}],
        "chosen": {"from": "function_call", "value": json.dumps(CALL)},
        "rejected": {"from": "gpt", "value": GUESS},
        "tools": json.dumps([LAMP]),
    },
    "alpaca ranking": {
        "instruction": "Dim the attic", "input": "to 20.", "chosen": f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>",
        "rejected": GUESS, "tools": [LAMP],
    },
    "rejected response": {
        "messages": [ASK, {"role": "tool_call", "content": json.dumps(CALL)}], "rejected_response": GUESS,
        "tools": TOOLS,
    },
    "rejected messages": {"messages": [ASK, RIGHT], "rejected_messages": [ASK, WRONG], "tools": TOOLS},
}  # fmt: skip


@pytest.mark.parametrize("shape", PREFERENCES)
def test_a_better_and_a_worse_side_are_found_under_every_usual_name(tmp_path, shape):
    (outcome,) = read(tmp_path, [PREFERENCES[shape]])
    (made,) = usable_of(outcome).preferences
    assert [m.role for m in made.prompt] == ["user"] and "attic" in made.prompt[0].content
    assert [(c.name, c.arguments) for c in made.chosen[0].tool_calls] == [("set_lamp", CALL["arguments"])]
    assert made.rejected[0].content == GUESS and not made.rejected[0].tool_calls
    assert made.reason == "no_call" and [t.name for t in made.tools] == ["set_lamp"]


def test_plain_sides_and_transcripts_need_no_tools(tmp_path):
    rows = [
        {"conversations": [{"from": "human", "value": "Hi?"}], "chosen": {"from": "gpt", "value": "Hello."},
         "rejected": {"from": "gpt", "value": "No."}},
        {"system": "Be short.", "question": "Hi?", "chosen": "Hello.", "rejected": "Hello and welcome to this chat."},
        {"chosen": "\n\nHuman: Hi?\n\nAssistant: Hello.", "rejected": "\n\nHuman: Hi?\n\nAssistant: No."},
        {"prompt": [{"role": "system", "content": "Be short."}], "chosen": [{"role": "user", "content": "Hi?"},
         {"role": "assistant", "content": "Hello."}], "rejected": [{"role": "user", "content": "Hi?"},
         {"role": "assistant", "content": "No."}]},
    ]  # fmt: skip
    for outcome in [read(tmp_path, [row])[0] for row in rows]:
        (made,) = usable_of(outcome).preferences
        assert made.prompt[-1].content == "Hi?" and made.chosen[0].content == "Hello."
        assert made.rejected[0].content != "Hello."


def test_a_rejected_call_that_cannot_be_read_stays_as_it_is(tmp_path):
    broken = {"role": "assistant", "tool_calls": [{"function": {"name": "set_lamp", "arguments": '{"room": att'}}]}
    (outcome,) = read(tmp_path, [{"prompt": [ASK], "chosen": [RIGHT], "rejected": [broken], "tools": TOOLS}])
    (made,) = usable_of(outcome).preferences
    assert made.reason == "invalid_json" and '{"room": att' in made.rejected[0].content


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": [ASK], "chosen": [RIGHT], "rejected": [RIGHT], "tools": TOOLS}, "same_response"),
        ({"chosen": [ASK, RIGHT], "rejected": [ASK, RIGHT], "tools": TOOLS}, "same_response"),
        ({"chosen": "Hello.", "rejected": "No."}, "roles_out_of_order"),
        ({"prompt": "Hi?", "chosen": "a", "rejected": "b", "score_chosen": 1, "score_rejected": 4}, "marked_bad"),
    ],
)
def test_what_is_no_preference_is_rejected_by_its_reason(tmp_path, row, reason):
    (outcome,) = read(tmp_path, [row])
    assert outcome.rejected.reason == reason


def test_a_completion_is_learned_and_the_prompt_before_it_is_not(tmp_path):
    earlier = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    row = {"prompt": [*earlier, ASK], "completion": [RIGHT, {"role": "tool", "content": "ok"}, WRONG], "tools": TOOLS}
    (outcome,) = read(tmp_path, [row])
    (shown,) = usable_of(outcome).demonstrations
    assert [(m.role, m.loss) for m in shown.messages if m.role == "assistant"] == [
        ("assistant", False), ("assistant", True), ("assistant", True),
    ]  # fmt: skip
    (plain,) = read(tmp_path, [{"prompt": "Hi?", "completion": "Hello."}])
    assert [m.content for m in usable_of(plain).demonstrations[0].messages] == ["Hi?", "Hello."]


def test_a_bad_completion_is_no_demonstration(tmp_path):
    rows = [{"prompt": [ASK], "completion": [WRONG], "label": label, "tools": TOOLS} for label in (True, False)]
    kept, left = read(tmp_path, rows)
    assert kept.usable and left.rejected.reason == "marked_bad"


@pytest.mark.parametrize(
    ("truth", "answer"),
    [
        ({"answer": "12"}, ("12",)),
        ({"solution": 12}, ("12",)),
        ({"answer": "3 * 4 = <<3*4=12>>12\n#### 12"}, ("12",)),
        ({"solution": "so it is \\boxed{12}"}, ("12",)),
        ({"golden_answers": ["Oslo", "Kristiania"]}, (("Oslo", "Kristiania"),)),
        ({"reward_model": {"style": "rule", "ground_truth": "12"}}, ("12",)),
        ({"reward_model": {"ground_truth": {"target": ["Oslo", "Kristiania"]}}}, (("Oslo", "Kristiania"),)),
        ({"reward_model": {"ground_truth": None}}, ()),
        ({}, ()),
    ],
)
def test_a_prompt_alone_is_a_task_and_what_is_right_is_found(tmp_path, truth, answer):
    (outcome,) = read(tmp_path, [{"prompt": [ASK], "tools": TOOLS, **truth}])
    (task,) = usable_of(outcome).tasks
    assert task.expected.answer == answer and not task.expected.check_calls
    assert task.messages[-1].content == ASK["content"]


@pytest.mark.parametrize("as_text", [False, True])
def test_expected_calls_are_calls_where_the_row_has_their_tools(tmp_path, as_text):
    truth = json.dumps([CALL]) if as_text else [CALL]
    with_tools, without = read(
        tmp_path,
        [{"prompt": [ASK], "tools": TOOLS, "reward_model": {"ground_truth": truth}},
         {"prompt": [ASK], "reward_model": {"ground_truth": json.dumps([CALL])}}],
    )  # fmt: skip
    (call,) = usable_of(with_tools).tasks[0].expected.calls
    assert (call.name, call.arguments) == ("set_lamp", CALL["arguments"])
    assert not usable_of(without).tasks[0].expected.check_calls


def test_one_of_several_forms_of_an_answer_is_enough():
    expected = Expected(answer=(("Oslo", "Kristiania"), "12"))
    assert answer_found(expected, "Kristiania, 12 km away") == 1.0
    assert answer_found(expected, "Bergen, 12 km away") == 0.5
    assert Expected.model_validate_json(expected.model_dump_json()) == expected


def bfcl(tmp_path, question, functions, truth, category="simple_python"):
    """One task from a question with its possible answer beside it."""
    folder = tmp_path / "bfcl"
    row = {"id": f"{category}_0", "question": [[{"role": "user", "content": question}]], "function": functions}
    if truth is not None:
        (folder / "possible_answer").mkdir(parents=True)
        line = json.dumps({"id": row["id"], "ground_truth": truth})
        (folder / "possible_answer" / f"BFCL_v4_{category}.json").write_text(line + "\n")
    (outcome,) = read(tmp_path, [row], f"bfcl/BFCL_v4_{category}.json", folder)
    return usable_of(outcome).tasks[0]


def test_a_leaderboard_question_takes_every_possible_answer_and_no_other(tmp_path):
    functions = [
        {
            "name": "lights.dim",
            "description": "Dim.",
            "parameters": {
                "type": "dict",
                "properties": {
                    "room": {"type": "string"}, "level": {"type": "float"}, "scene": {"type": "string"},
                    "when": {"type": "dict", "properties": {"day": {"type": "string"}, "hour": {"type": "integer"}}},
                },
                "required": ["room"],
            },
        }
    ]  # fmt: skip
    truth = [{"lights.dim": {"room": ["attic", "loft"], "level": [20.0, 0.2], "scene": ["", "night"],
                             "when": [{"day": ["Monday", "Mon"], "hour": [8, ""]}]}}]  # fmt: skip
    task = bfcl(tmp_path, "Dim the attic.", functions, truth)

    def right(**arguments):
        made = [ToolCall(call_id="0", name=task.expected.calls[0].name, arguments=arguments)]
        return match_calls(task.expected, made, task.tools).exact

    when = {"day": "Mon", "hour": 8}
    assert right(room="attic", level=20.0, when=when) and right(room="Loft", level=0.2, scene="night", when=when)
    assert right(room="attic", level=20.0, when={"day": "Monday"})
    assert not right(room="cellar", level=20.0, when=when) and not right(room="attic", when=when)
    assert not right(room="attic", level=20.0, scene="day", when=when)
    assert not right(room="attic", level=20.0, when={"hour": 8})


def test_an_irrelevant_question_expects_no_call_and_one_of_several_turns_is_left_to_evaluate(tmp_path):
    task = bfcl(tmp_path, "How are you?", [LAMP], None, "irrelevance")
    assert task.expected.check_calls and not task.expected.calls
    row = {"id": "multi_turn_0", "question": [[ASK], [ASK]], "function": [LAMP]}
    (outcome,) = read(tmp_path, [row])
    assert outcome.rejected.reason == "wrong_format" and "evaluate --bfcl" in outcome.rejected.detail


def test_calls_that_use_results_are_judged_by_their_answer(tmp_path):
    tools = [
        LAMP,
        {"name": "find_room", "parameters": {"type": "object", "properties": {"floor": {"type": "integer"}}}},
    ]
    nested = [
        {"name": "find_room", "label": "var1", "arguments": {"floor": 3}},
        {"name": "set_lamp", "label": "var2", "arguments": {"room": "$var1.name$"}},
        {"name": "var_result", "arguments": {"lamp": "$var2$"}},
    ]
    rows = [
        {"sample_id": "a", "input": "Light on floor 3.", "output": json.dumps(nested), "tools": json.dumps(tools),
         "gold_answer": "attic"},
        {"sample_id": "b", "input": "Room on floor 3?", "output": nested[:1], "tools": tools},
        {"sample_id": "c", "input": "Light on floor 3.", "output": nested, "tools": tools},
    ]  # fmt: skip
    answered, alone, unknown = (usable_of(o).tasks[0].expected for o in read(tmp_path, rows))
    assert answered.answer == ("attic",) and not answered.check_calls
    assert [(c.name, c.arguments) for c in alone.calls] == [("find_room", {"floor": 3})]
    assert not unknown.calls and not unknown.check_calls


def assistant(content, *calls):
    made = [{"id": f"c{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for n, (name, arguments) in enumerate(calls)]  # fmt: skip
    return {"role": "assistant", "content": content, "tool_calls": made or None}


def test_agent_trajectories_become_demonstrations_with_the_tools_they_used(tmp_path):
    traj = [
        {"role": "system", "content": "Policy."}, {"role": "user", "content": "Dim it."},
        assistant(None, ("set_lamp", {"room": "attic", "level": 20})),
        {"role": "tool", "tool_call_id": "c0", "name": "set_lamp", "content": "ok"},
        assistant("Dimmed."), {"role": "user", "content": "###STOP###"},
    ]  # fmt: skip
    rows = [{"task_id": n, "trial": 0, "reward": 1.0 - n, "info": {}, "traj": traj} for n in range(2)]
    kept, failed = read(tmp_path, rows)
    (shown,) = usable_of(kept).demonstrations
    assert [m.role for m in shown.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert shown.tools[0].parameters["properties"] == {"room": {"type": "string"}, "level": {"type": "integer"}}
    assert "tools_inferred_from_use" in kept.usable.repairs and failed.rejected.reason == "marked_bad"


def test_two_more_benchmarks_of_agents_are_read(tmp_path):
    tooltalk = {
        "name": "Lamps-easy", "apis_used": ["SetLamp"], "metadata": {},
        "conversation": [
            {"index": 0, "role": "user", "text": "Dim it."},
            {"index": 1, "role": "assistant", "text": "Dimmed.", "apis": [
                {"request": {"api_name": "SetLamp", "parameters": {"room": "attic"}}, "response": {"ok": 1},
                 "exception": None},
                {"request": {"api_name": "SetLamp", "parameters": {"room": "hall"}}, "response": None,
                 "exception": "no such room"}]},
            {"index": 2, "role": "user", "text": "Thanks"},
        ],
    }  # fmt: skip
    (outcome,) = read(tmp_path, [tooltalk])
    (shown,) = usable_of(outcome).demonstrations
    assert [m.role for m in shown.messages] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert json.loads(shown.messages[4].content) == {"error": "no such room"}
    swe = {
        "environment": "swe", "info": {"exit_status": "submitted"},
        "history": [{"role": "system", "content": "Fix bugs."}, {"role": "user", "content": "Fix issue 7."},
                    {"role": "assistant", "content": "look"}],
        "trajectory": [{"thought": "Look first.", "action": "ls\n", "observation": "setup.py", "response": "x"},
                       {"thought": "Done.", "action": "submit", "observation": "", "response": "y"}],
    }  # fmt: skip
    (outcome,) = read(tmp_path, [swe])
    (shown,) = usable_of(outcome).demonstrations
    assert [c.arguments for m in shown.messages for c in m.tool_calls] == [{"command": "ls"}, {"command": "submit"}]


def test_several_simulations_of_one_file_are_rows_of_their_own(tmp_path):
    call = {"id": "q", "name": "set_lamp", "arguments": {"room": "a"}}
    messages = [
        {"role": "assistant", "content": "Hi! How can I help?"}, {"role": "user", "content": "Dim it."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "id": "q", "content": "ok"}, {"role": "assistant", "content": "Dimmed."},
    ]  # fmt: skip
    runs = [{"id": f"s{n}", "messages": messages, "reward_info": {"reward": 1.0 - n}} for n in range(2)]
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"info": {"a": 1, "b": 2}, "tasks": [], "simulations": runs}, indent=1))
    outcomes = list(read_source(path, None))
    assert [o.rejected.reason if o.rejected else "usable" for o in outcomes] == ["usable", "marked_bad"]
