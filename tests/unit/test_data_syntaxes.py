"""Calls that stand in text, in the syntax of any model family: read, or refused with a reason, never taken for text."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayplay.data.conversation import read_conversation
from rayplay.data.normal import Rejected, checked, read_tools
from rayplay.data.syntaxes import calls_in_text
from tests.families import TEMPLATES, family_tokenizer

OVEN = {
    "name": "bake_bread",
    "description": "Bakes.",
    "parameters": {
        "type": "object",
        "properties": {
            "flour": {"type": "string"},
            "loaves": {"type": "integer"},
            "seeds": {"type": "array", "items": {"type": "string"}},
            "crust": {"type": "object"},
            "rye": {"type": "boolean"},
            "kilos": {"type": "number"},
            "code": {"type": ["string", "null"]},
        },
    },
}
FRIDGE = {"name": "open_fridge", "parameters": {"type": "object", "properties": {}}}
TOOLS = read_tools([OVEN, FRIDGE])
SIMPLE = {"flour": "spelt", "loaves": 2}


def read(text, tools=TOOLS):
    """(what is said, the calls with their arguments as the schema wants them)."""
    said, calls = calls_in_text(text, tools)
    return said, [(name, checked(tools.find(name), arguments)) for name, arguments in calls]


WRITTEN = {
    "hermes": '<tool_call>\n{"name": "bake_bread", "arguments": {"flour": "spelt", "loaves": 2}}\n</tool_call>',
    "hermes without an end": '<tool_call>{"name": "bake_bread", "arguments": {"flour": "spelt", "loaves": 2}}',
    "hermes python": "<tool_call>{'name': 'bake_bread', 'arguments': {'flour': 'spelt', 'loaves': 2}}</tool_call>",
    "nemotron": '<TOOLCALL>[{"name": "bake_bread", "arguments": {"flour": "spelt", "loaves": 2}}]</TOOLCALL>',
    "qwen coder": "<tool_call>\n<function=bake_bread>\n<parameter=flour>\nspelt\n</parameter>\n<parameter=loaves>\n2\n"
    "</parameter>\n</function>\n</tool_call>",
    "qwen coder bare": "<function=bake_bread><parameter=flour>spelt</parameter><parameter=loaves>2</parameter></fu"
    "nction>",
    "llama function": '<function=bake_bread>{"flour": "spelt", "loaves": 2}</function>',
    "glaive": """<functioncall> {"name": "bake_bread", "arguments": '{"flour": "spelt", "loaves": 2}'} <|endoftext|>""",
    "mistral": '[TOOL_CALLS] [{"name": "bake_bread", "arguments": {"flour": "spelt", "loaves": 2}}]</s>',
    "mistral v11": '[TOOL_CALLS]bake_bread[CALL_ID]abc123def[ARGS]{"flour": "spelt", "loaves": 2}',
    "mistral v13": '[TOOL_CALLS]bake_bread[ARGS]{"flour": "spelt", "loaves": 2}</s>',
    "mistral bare": '[TOOL_CALLS]bake_bread{"flour": "spelt", "loaves": 2}',
    "llama": '<|python_tag|>{"name": "bake_bread", "parameters": {"flour": "spelt", "loaves": 2}}<|eom_id|>',
    "llama plain": '{"name": "bake_bread", "parameters": {"flour": "spelt", "loaves": 2}}<|eot_id|>',
    "llama typed": '{"type": "function", "name": "bake_bread", "parameters": {"flour": "spelt", "loaves": 2}}',
    "llama python": '<|python_tag|>bake_bread.call(flour="spelt", loaves=2)',
    "pythonic": '[bake_bread(flour="spelt", loaves=2)]',
    "pythonic line": 'bake_bread(flour="spelt", loaves=2)',
    "lfm": '<|tool_call_start|>[bake_bread(flour="spelt", loaves=2)]<|tool_call_end|>',
    "olmo": '<function_calls>bake_bread(flour="spelt", loaves=2)</function_calls>',
    "tool code": '```tool_code\nprint(bake_bread(flour="spelt", loaves=2))\n```',
    "gemma": '<|tool_call>call:bake_bread{flour:<|"|>spelt<|"|>,loaves:2}<tool_call|>',
    "function gemma": "<start_function_call>call:bake_bread{flour:<escape>spelt<escape>,loaves:2}<end_function_call>",
    "gpt-oss": "<|channel|>commentary to=functions.bake_bread <|constrain|>json<|message|>"
    '{"flour": "spelt", "loaves": 2}<|call|>',
    "gpt-oss turned": " to=functions.bake_bread<|channel|>commentary json<|message|>"
    '{"flour": "spelt", "loaves": 2}<|call|>',
    "deepseek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>bake_bread\n```json\n"
    '{"flour": "spelt", "loaves": 2}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "deepseek 3.1": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>bake_bread<｜tool▁sep｜>"
    '{"flour": "spelt", "loaves": 2}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "deepseek 3.2": '<｜DSML｜function_calls>\n<｜DSML｜invoke name="bake_bread">\n'
    '<｜DSML｜parameter name="flour" string="true">spelt</｜DSML｜parameter>\n'
    '<｜DSML｜parameter name="loaves" string="false">2</｜DSML｜parameter>\n'
    "</｜DSML｜invoke>\n</｜DSML｜function_calls>",
    "minimax": '<minimax:tool_call>\n<invoke name="bake_bread">\n<parameter name="flour">spelt</parameter>\n'
    '<parameter name="loaves">2</parameter>\n</invoke>\n</minimax:tool_call>',
    "kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.bake_bread:0<|tool_call_argument_begin|>"
    '{"flour": "spelt", "loaves": 2}<|tool_call_end|><|tool_calls_section_end|>',
    "glm": "<tool_call>bake_bread\n<arg_key>flour</arg_key>\n<arg_value>spelt</arg_value>\n<arg_key>loaves</arg_key>\n"
    "<arg_value>2</arg_value>\n</tool_call>",
    "granite": '<|tool_call|>[{"name": "bake_bread", "arguments": {"flour": "spelt", "loaves": 2}}]',
    "phi": '<|tool_call|>[{"name": "bake_bread", "arguments": {"flour": "spelt", "loaves": 2}}]<|/tool_call|>',
    "firefunction": 'functools[{"name": "bake_bread", "arguments": {"flour": "spelt", "loaves": 2}}]',
    "internlm": '<|action_start|><|plugin|>{"name": "bake_bread", "parameters": '
    '{"flour": "spelt", "loaves": 2}}<|action_end|>',
    "command": '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "bake_bread", "parameters": '
    '{"flour": "spelt", "loaves": 2}}]<|END_ACTION|>',
    "json": '{"name": "bake_bread", "arguments": {"flour": "spelt", "loaves": 2}}',
    "json text": '{"name": "bake_bread", "arguments": "{\\"flour\\": \\"spelt\\", \\"loaves\\": 2}"}',
    "json list": '[{"name": "bake_bread", "arguments": {"flour": "spelt", "loaves": 2}}]',
    "json fence": '```json\n{"name": "bake_bread", "arguments": {"flour": "spelt", "loaves": 2}}\n```',
    "openai json": '{"tool_calls": [{"function": {"name": "bake_bread", "arguments": '
    '{"flour": "spelt", "loaves": 2}}}]}',
    "react": 'Action: bake_bread\nAction Input: {"flour": "spelt", "loaves": 2}',
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_call_is_read_from_the_text_of_every_family(name):
    assert read(WRITTEN[name]) == ("", [("bake_bread", SIMPLE)])


@pytest.mark.parametrize("name", sorted(set(WRITTEN) - {"react"}))
def test_what_is_said_before_a_call_is_kept(name):
    assert read(f"One moment.\n{WRITTEN[name]}") == ("One moment.", [("bake_bread", SIMPLE)])


MARKED = sorted(
    n for n in WRITTEN if n.split()[0] not in ("json", "openai", "react", "pythonic", "llama", "firefunction")
)


@pytest.mark.parametrize("name", [n for n in MARKED if "without" not in n and n not in ("granite",)])
def test_two_calls_of_one_message_are_two(name):
    text = WRITTEN[name]
    assert read(f"{text}\n{text}")[1] == [("bake_bread", SIMPLE)] * 2


def test_a_parameter_may_hold_the_tags_of_parameters():
    value = "write </parameter> and <parameter=x> here"
    text = f"<tool_call>\n<function=bake_bread>\n<parameter=flour>\n{value}\n</parameter>\n</function>\n</tool_call>"
    assert read(text)[1] == [("bake_bread", {"flour": value})]


def test_calls_of_llama_are_parted_by_semicolons():
    one = '{"name": "open_fridge", "parameters": {}}'
    assert [n for n, _ in read(f"<|python_tag|>{one}; {one}")[1]] == ["open_fridge"] * 2


TRL_FILES = [
    "deepseekv3_training", "diffusion_gemma", "gemma4_v5", "glm4moe", "gptoss", "lfm2_v2", "llama3_1", "llama3_2",
    "muse_glimmer", "nemotron_3_super", "qwen2_5", "qwen3", "qwen3_5_nothink", "qwen3_5_think", "qwen3_6", "qwen3_8",
    "qwen3_instruct_2507", "qwen3_vl",
]  # fmt: skip


@pytest.fixture(scope="module")
def rendered():
    """(file, arguments) -> the text of an assistant message, as the family's own chat template writes it."""
    tokenizers = {}

    def render(file, arguments, content=""):
        if file not in tokenizers:
            tokenizers[file] = family_tokenizer((TEMPLATES / f"{file}.jinja").read_text(encoding="utf-8"))
            tokenizers[file].bos_token = tokenizers[file].eos_token = "<|im_end|>"
        asked = [{"role": "user", "content": "Bread?"}]
        tool = [{"type": "function", "function": OVEN}]
        call = {"id": "abcdefghi", "type": "function", "function": {"name": "bake_bread", "arguments": arguments}}
        said = [*asked, {"role": "assistant", "content": content, "tool_calls": [call]}]
        before = tokenizers[file].apply_chat_template(asked, tools=tool, tokenize=False)
        return tokenizers[file].apply_chat_template(said, tools=tool, tokenize=False)[len(before) :]

    return render


@pytest.mark.parametrize("file", TRL_FILES)
def test_what_the_chat_templates_of_the_families_render_is_read_back(rendered, file):
    arguments = {
        "flour": 'the miller\'s "best" {x}: 3, </tool_call>', "loaves": 3, "seeds": ["a", "b, c"],
        "crust": {"k": "1", "n": None}, "rye": True, "kilos": 0.5, "code": "true",
    }  # fmt: skip
    said, calls = read(rendered(file, arguments, "I bake."))
    assert calls == [("bake_bread", arguments)]
    assert "I bake." in said or file in ("gptoss", "llama3_1", "llama3_2", "muse_glimmer")  # thinking, or not rendered


def test_a_draft_in_thinking_is_no_call():
    text = f"<think>Perhaps {WRITTEN['hermes']}, no.</think>\nThere is bread already."
    assert read(text) == (text, [])


def test_thinking_before_a_call_is_kept():
    assert read(f"<think>Bake.</think>\n\n{WRITTEN['hermes']}")[0] == "<think>Bake.</think>"


PLAIN = [
    "The fridge is open.", "", "[Chorus (twice)]", "[see the manual](https://example.org)", "f(x) = x + 1", "print(2)",
    '{"loaves": 2}', "[1, 2, 3]", "Use `bake_bread` for that.", '{"name": "Ada", "age": 36}', "Call me (maybe)",
    "<b>bold</b>", "A list: [a, b] and {c}.", "```json\n{\"a\": 1}\n```",
]  # fmt: skip


@pytest.mark.parametrize("text", PLAIN)
def test_other_text_stays_text(text):
    assert read(text) == (text, [])
    assert read(text, read_tools([])) == (text, [])


HIDDEN = {
    'First {"name": "bake_bread", "arguments": {"loaves": 1}} and then we wait.': "call_as_text",
    "I would write [bake_bread(loaves=1)] and wait.": "call_as_text",
    "<tool_call>bake two loaves</tool_call>": "broken_call",
    '<tool_call>{"name": "bake_bread", "arguments": {"loaves": </tool_call>': "broken_call",
    "<|python_tag|>import os": "broken_call",
    "[TOOL_CALLS]": "broken_call",
}


@pytest.mark.parametrize("text", HIDDEN)
def test_a_call_that_cannot_be_told_from_text_is_refused(text):
    with pytest.raises(Rejected) as caught:
        read(text)
    assert caught.value.reason == HIDDEN[text]


@pytest.mark.parametrize("name", ["json", "json list", "pythonic", "react"])
def test_a_call_without_a_mark_and_without_tools_is_refused(name):
    with pytest.raises(Rejected) as caught:
        calls_in_text(WRITTEN[name], read_tools([]))
    assert caught.value.reason == "call_as_text"


PIECES = [*WRITTEN.values(), "<think>", "</think>", "{", "]", "x"]


@settings(max_examples=300, deadline=None)
@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from([*WRITTEN.values(), "<think>", "</think>", "{", "]", "x"])).map("".join)
)
def test_no_text_raises_anything_but_a_rejection(text):
    try:
        said, calls = calls_in_text(text, TOOLS)
    except Rejected:
        return
    assert isinstance(said, str) and (calls or said == text or "<|channel|>" in text or ":" in text or "｜" in text)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["flour", "code"]), st.text(max_size=30), max_size=2), st.integers(-99, 99))
def test_any_argument_text_survives_json_between_marks(texts, loaves):
    arguments = {**texts, "loaves": loaves}
    call = json.dumps({"name": "bake_bread", "arguments": arguments}, ensure_ascii=False)
    assert read(f"<tool_call>\n{call}\n</tool_call>")[1] == [("bake_bread", arguments)]
    assert read(f"[TOOL_CALLS] [{call}]")[1] == [("bake_bread", arguments)]


@pytest.mark.parametrize(
    "piece",
    [
        "<tool_call>", "<tool_response>", "<think>", "<arg_key>", "{", "[", "\n", " ", "\n[bake_bread(", "\n{\"a\": 1}",
        "<function=", "<|tool_call>", "[TOOL_CALLS]", "to=functions.", "bake_bread", '{"name": "bake_bread"', "`",
        "<tool_call>{}</tool_call>", '<tool_call>{"name": "a"}</tool_call>', "\n```json", "x(", '"arguments": {',
    ],
)  # fmt: skip
def test_hostile_repetition_comes_to_an_end(piece):
    text = piece * (100_000 // len(piece))
    for said in (text, f"bake_bread\n{text}", f"<tool_call>bake_bread{text}x</tool_call>", f"{text}x"):
        with contextlib.suppress(Rejected):
            calls_in_text(said, TOOLS)
    with contextlib.suppress(Rejected):
        read_conversation([{"role": "system", "content": text}, {"role": "user", "content": text}])
    with contextlib.suppress(Rejected):
        read_conversation([{"role": "user", "content": "x"}, {"role": "tool", "content": text}])
