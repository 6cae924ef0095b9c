"""One reader under every shape of messages: roles, parts, calls, results, thinking and marks."""

import json

import pytest

from rayplay.data.conversation import hear, read_conversation, usable_of
from rayplay.data.normal import Rejected, read_tools
from rayplay.data.reading import RawRow
from rayplay.data.sides import read_rejected, why
from rayplay.data.source import Context
from rayplay.records import Message

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
    {"content": None, "function_call": {**CALL, "arguments": json.dumps(json.dumps(CALL["arguments"]))}},
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


def test_thinking_before_a_call_in_a_turn_of_its_own_is_kept():
    turns = said(ASKED, {"role": "tool_call", "content": f"<think>\nThe attic.\n</think>\n\n{json.dumps(CALL)}"})
    assert turns[-1] == ("assistant", "<think>The attic.</think>", [("set_lamp", CALL["arguments"])])


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


EXPLAINED = [
    "You call functions. Signatures stand within <tools></tools> tags. <tools>\n{tool}\n</tools>\nUse <tool_call>.",
    "You have access to the following functions. Use them if required -\n{tool}",
    "Here is a list of functions in JSON format that you can invoke.\n[{tool}]",
    "[AVAILABLE_TOOLS] [{tool}][/AVAILABLE_TOOLS]",
    "<|tool|>[{tool}]<|/tool|>",
]


@pytest.mark.parametrize("text", EXPLAINED, ids=range(len(EXPLAINED)))
@pytest.mark.parametrize("own", ["", "You look after lamps."])
def test_tools_are_found_in_a_system_text_and_its_own_words_are_kept(text, own):
    system = "\n\n".join(part for part in (own, text.replace("{tool}", json.dumps(LAMP))) if part)
    called = {"role": "assistant", "content": f"<tool_call>{json.dumps(CALL)}</tool_call>"}
    builder = read_conversation([{"role": "system", "content": system}, ASKED, called])
    assert [t.name for t in builder.tools.specs] == ["set_lamp"]
    assert [m.content for m in builder.messages if m.role == "system"] == ([own] if own else [])
    assert builder.messages[-1].tool_calls[0].arguments == CALL["arguments"]


def test_a_system_text_that_speaks_of_tools_is_the_authors_own():
    assert said({"role": "system", "content": "People ask about tools [hammers]."}, ASKED)[0][1].endswith("[hammers].")


DEFINITIONS = [
    [{"type": "function", "function": LAMP}],
    [{"type": "function", "function": json.dumps(LAMP)}],
    [json.dumps({"type": "function", "function": LAMP})],
    json.dumps([LAMP]),
    json.dumps(json.dumps([LAMP])),
    str([LAMP]),
    {"set_lamp": {"description": "Dims a lamp.", "parameters": LAMP["parameters"]}},
    [{"name": "set_lamp", "description": "Dims a lamp.", "input_schema": LAMP["parameters"]}],
    [{"name": "set_lamp", "description": "Dims a lamp.", "parameters": json.dumps(LAMP["parameters"])}],
    [{"functionDeclarations": [LAMP]}],
    [LAMP, LAMP],
    [LAMP, {"type": "code_interpreter"}, {"google_search": {}}, {"type": "web_search_2025", "name": "web_search"}],
]


@pytest.mark.parametrize("raw", DEFINITIONS, ids=range(len(DEFINITIONS)))
def test_definitions_are_read_from_every_shape(raw):
    (spec,) = read_tools(raw).specs
    assert (spec.name, spec.description) == ("set_lamp", "Dims a lamp.")
    assert set(spec.parameters["properties"]) == {"room", "level", "tags"}


def test_built_in_tools_are_left_out_and_counted():
    assert read_conversation([ASKED], read_tools(DEFINITIONS[-1])).repairs == {"built_in_tool_left_out"}


def test_two_tools_of_one_name_are_told_apart_by_their_arguments():
    other = {"name": "set_lamp", "parameters": {"type": "object", "properties": {"colour": {"type": "string"}}}}
    called = {"role": "assistant", "tool_calls": [{"function": CALL}]}
    builder = read_conversation([ASKED, called], read_tools([other, LAMP]))
    assert builder.messages[-1].tool_calls[0].name == builder.tools.specs[1].name == "set_lamp_2"


def test_a_row_that_ends_with_the_user_is_a_task_with_its_answer():
    row = RawRow({"solution": [4, "lux"]}, "rows.jsonl", 3)
    builder = read_conversation(
        [ASKED, TWO, {"role": "tool", "content": "[4, 0]"}, {"role": "assistant", "content": "Yes."}, ASKED], tools()
    )
    usable = usable_of(builder, row, Context("mine"))
    assert not usable.demonstrations
    (task,) = usable.tasks
    assert (task.kind, task.expected.answer, task.expected.check_calls) == ("open", ("4", "lux"), False)
    assert len(task.messages) == 6


def test_calls_said_twice_are_made_once():
    both = {
        "role": "assistant",
        "content": f"Now.\n<tool_call>{json.dumps(CALL)}</tool_call>",
        "tool_calls": [{"function": CALL}],
    }
    builder = read_conversation([ASKED, both], tools())
    assert (builder.messages[-1].content, len(builder.messages[-1].tool_calls)) == ("Now.", 1)
    assert builder.repairs == {"call_said_twice"}
    other = {**both, "tool_calls": [{"function": {"name": "other", "arguments": {}}}]}
    with pytest.raises(Rejected, match="call_as_text"):
        read_conversation([ASKED, other], tools())


def test_a_rejected_call_that_cannot_be_read_stays_as_it_is_written():
    written = '{"room": "attic'
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "set_lamp", "arguments": written}}]}
    side = read_rejected([call], tools())
    assert side.is_broken and not side.messages[0].tool_calls
    assert written in side.messages[0].content
    chosen = read_conversation([ASKED, {"role": "assistant", "tool_calls": [{"function": CALL}]}], tools()).messages[1:]
    assert why(chosen, side) == "invalid_json"
    fine = read_rejected([{"role": "assistant", "content": "No."}], tools())
    assert why(chosen, fine) == "no_call"
    assert why([Message(role="assistant", content="Yes.")], fine) == "dataset_preference"


def test_a_name_with_brackets_is_called_as_it_is_written():
    odd = read_tools([{"name": "Lamp (Attic, V2)", "parameters": LAMP["parameters"]}])
    builder = read_conversation([ASKED, {"role": "assistant", "content": '[Lamp (Attic, V2)(room="attic")]'}], odd)
    assert builder.messages[-1].tool_calls[0].arguments == {"room": "attic"}


def test_constants_are_read_outside_of_strings_alone():
    builder = read_conversation(
        [
            ASKED,
            {
                "role": "assistant",
                "content": "<tool_call>{'name': 'set_lamp', 'arguments': "
                "{'room': 'is it true', 'tags': [true, null]}}</tool_call>",
            },
        ],
        tools(),
    )
    assert builder.messages[-1].tool_calls[0].arguments == {"room": "is it true", "tags": [True, None]}


@pytest.mark.parametrize(
    ("parameters", "is_open"),
    [
        ({"type": "object"}, True),
        ({"type": "object", "additionalProperties": True}, True),
        ({"type": "object", "title": "Anything"}, True),
        ({"type": "object", "properties": {}}, False),
        ({"type": "object", "additionalProperties": False}, False),
        (None, False),
    ],
)
def test_an_object_without_a_word_of_what_it_holds_takes_any_argument(parameters, is_open):
    free = read_tools([{"name": "note", "parameters": parameters}])
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "note", "arguments": {"wind": "NE"}}}]}
    if is_open:
        assert read_conversation([ASKED, call], free).messages[-1].tool_calls[0].arguments == {"wind": "NE"}
    else:
        with pytest.raises(Rejected, match="bad_arguments"):
            read_conversation([ASKED, call], free)
