"""One reader under every shape of messages: roles, parts, calls, results, thinking and marks."""

import json

import pytest

from rayplay.data.conversation import hear, read_conversation
from rayplay.data.normal import Rejected, read_tools

LAMP = {
    "name": "set_lamp",
    "description": "Dims a lamp.",
    "parameters": {
        "type": "object",
        "properties": {"room": {"type": "string"}, "level": {"type": "integer"}, "tags": {"type": "array"}},
        "required": ["room"],
    },
}
CALL = {"name": "set_lamp", "arguments": {"room": "attic", "level": 4}}
ASKED = {"role": "user", "content": "Light up there?"}


def tools():
    return read_tools([LAMP])


def said(*turns, **options):
    """(role, content, calls) of each message read."""
    builder = read_conversation(list(turns), tools(), **options)
    return [(m.role, m.content, [(c.name, c.arguments) for c in m.tool_calls]) for m in builder.messages]


CALLED = [
    ("user", "Light up there?", []),
    ("assistant", "", [("set_lamp", {"room": "attic", "level": 4})]),
    ("tool", '{"watts": 7}', []),
    ("assistant", "It glows.", []),
]


def spelled(asks, answers, observes, calls):
    """The same conversation with other names for the roles, the call in a turn of its own."""
    return [
        {"from": asks, "value": "Light up there?"},
        {"from": calls, "value": json.dumps(CALL)},
        {"from": observes, "value": '{"watts": 7}'},
        {"from": answers, "value": "It glows."},
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("human", "gpt", "observation", "function_call"),
        ("user", "assistant", "tool_response", "tool_call"),
        ("Human", "AI", "tool-result", "function-call"),
        ("USER", "Model", "ipython", "tool_calls"),
        ("user", "bot", "environment", "function_call"),
    ],
)
def test_every_spelling_of_the_roles_is_read(names):
    assert said(*spelled(*names)) == CALLED


ASSISTANTS = [
    {"tool_calls": [{"id": "a", "type": "function", "function": {**CALL, "arguments": json.dumps(CALL["arguments"])}}]},
    {"content": None, "tool_calls": json.dumps([{"function": CALL}])},
    {"content": "", "tool_calls": [json.dumps({"id": "a", "function": CALL})]},
    {"content": None, "function_call": CALL},
    {"content": None, "function_calls": "set_lamp(room='attic', level=4)"},
    {"content": [{"type": "tool_use", "id": "t1", "name": "set_lamp", "input": CALL["arguments"]}]},
    {"content": [{"type": "tool_call", "value": json.dumps(CALL)}]},
    {"parts": [{"functionCall": {"name": "set_lamp", "args": CALL["arguments"]}}]},
    {"content": f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>"},
]


@pytest.mark.parametrize("assistant", ASSISTANTS, ids=range(len(ASSISTANTS)))
def test_calls_are_read_from_wherever_they_stand(assistant):
    result = {"role": "tool", "content": {"watts": 7}}
    assert (
        said(ASKED, {"role": "assistant", **assistant}, result, {"role": "assistant", "content": "It glows."}) == CALLED
    )


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_thinking_is_kept_before_the_text(key):
    turns = said(ASKED, {"role": "assistant", "content": "Yes.", key: "They mean the attic."})
    assert turns[-1][1] == "<think>They mean the attic.</think>\nYes."


@pytest.mark.parametrize(
    "mark", [{"weight": 0}, {"loss": False}, {"loss_weight": 0.0}, {"train": False}, {"masked": True}]
)
def test_a_message_that_its_author_excluded_carries_no_loss(mark):
    builder = read_conversation([ASKED, {"role": "assistant", "content": "No idea.", **mark}], tools())
    assert [m.loss for m in builder.messages] == [True, False]


TWO = {"role": "assistant", "tool_calls": [{"function": CALL}, {"function": {**CALL, "arguments": {"room": "hall"}}}]}


@pytest.mark.parametrize(
    "answers",
    [
        [{"role": "tool", "content": "4"}, {"role": "tool", "content": "0"}],
        [{"role": "tool", "content": "[4, 0]"}],
        [{"role": "tool", "content": "4\n0"}],
        [{"role": "tool", "content": [{"name": "set_lamp", "results": 4}, {"name": "set_lamp", "results": 0}]}],
        [{"role": "tool", "content": "<tool_response>4</tool_response><tool_response>0</tool_response>"}],
        [{"role": "user", "content": "<tool_response>\n4\n</tool_response>\n<tool_response>\n0\n</tool_response>"}],
    ],
    ids=range(6),
)
def test_each_parallel_call_gets_its_own_result(answers):
    assert [text for role, text, _ in said(ASKED, TWO, *answers) if role == "tool"] == ["4", "0"]


def test_one_text_answers_all_calls_and_that_is_counted():
    builder = read_conversation([ASKED, TWO, {"role": "tool", "content": "done"}], tools())
    assert [m.content for m in builder.messages[2:]] == ["done", "done"]
    assert builder.repairs == {"one_result_for_all_calls"}


def test_messages_of_one_role_in_a_row_are_joined():
    turns = said(ASKED, {"role": "user", "content": "Quick."}, {"role": "assistant", "content": "Look"}, TWO)
    assert [t[1] for t in turns] == ["Light up there?\nQuick.", "Look"]
    assert len(turns[1][2]) == 2


def test_an_unknown_role_is_named():
    with pytest.raises(Rejected, match="unknown role 'narrator'"):
        said({"role": "narrator", "content": "Once."})


def test_pictures_have_a_reason_of_their_own():
    with pytest.raises(Rejected) as caught:
        said({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]})
    assert caught.value.reason == "not_text"


def test_a_completion_goes_on_after_its_prompt():
    builder = read_conversation([ASKED], tools())
    hear(builder, [{"role": "assistant", "content": "Fine."}])
    assert [m.role for m in builder.messages] == ["user", "assistant"]
