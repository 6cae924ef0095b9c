"""Whatever was sampled, in any family: nothing raises, and what comes back can be written and read again, unchanged."""

import asyncio
import json
import math
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayplay.call_lines import read_line
from rayplay.dialects import FAMILIES, Dialect, family_named
from rayplay.dialects.reading import Found, record_of
from rayplay.episode import Completion, EpisodeLimits, play_episode
from rayplay.records import Message, Status, Task, ToolCall, ToolResult, ToolSpec, Trajectory
from rayplay.strict_json import is_storable, read_json
from tests.families import family_dialect
from tests.unit.test_family_outputs import LOOK_UP, PDF, WRITTEN

ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=20)
ANY_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), math.nan, math.inf, -math.inf, 1e-320])
    | st.floats()
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=12,
)
CHATML = Dialect(family_dialect("qwen2.5").tokenizer, FAMILIES["chatml"])
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def survives(call: ToolCall) -> bool:
    return ToolCall.model_validate_json(call.model_dump_json()) == call


def nested(depth: int):
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@QUICK
@given(ANY_TEXT, st.dictionaries(ANY_TEXT, ANY_VALUE, max_size=3) | ANY_VALUE, ANY_TEXT)
def test_any_call_becomes_a_record_or_is_invalid(name, arguments, raw):
    call = record_of(Found(raw, name, arguments if isinstance(arguments, dict) else None), "c")
    assert survives(call)
    if call.problem is None:
        assert (call.name, call.arguments) == (name, arguments) and is_storable(arguments)
    else:
        assert call.problem is Status.INVALID_JSON


@QUICK
@given(ANY_TEXT, ANY_VALUE, ANY_TEXT)
def test_any_value_that_a_model_writes_as_json_is_kept_or_invalid(name, value, key):
    """Written with escapes, so that halves of surrogate pairs come through the tokenizer."""
    body = json.dumps({"name": name, "arguments": {key: value}})
    dialect = CHATML
    ids = dialect.tokenizer(f"<tool_call>{body}</tool_call>", add_special_tokens=False)["input_ids"]
    _, (call,) = dialect.parse([], ids, "c")
    assert survives(call)
    if is_storable({name: {key: value}}):
        assert (call.name, call.arguments, call.problem) == (name, {key: value}, None)
    else:
        assert call.problem is Status.INVALID_JSON


@pytest.mark.parametrize("depth", [70, 300, 5_000])
def test_a_deep_value_is_invalid_and_can_be_written(depth):
    text = "[" * depth + "]" * depth
    dialect = CHATML
    said = f'<tool_call>{{"name": "f", "arguments": {{"a": {text}}}}}</tool_call>'
    _, (call,) = dialect.parse([], dialect.tokenizer(said, add_special_tokens=False)["input_ids"], "c")
    assert call.problem is Status.INVALID_JSON and survives(call)
    assert survives(record_of(Found("", "f", {"a": nested(depth % 400)}), "c"))


PIECES = (
    "<tool_call>", "</tool_call>", "<think>", "</think>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", "<function=",
    "<parameter=", "</parameter>", "</function>", '<|"|>', "<|tool_call>", "<tool_call|>", "call:", "<|channel|>",
    "<|message|>", "<|call|>", "<|end|>", "<|start|>", "to=functions.", "{", "}", "[", "]", "(", ")", '"', "'", "\\",
    ",", ":", "=", "\n", "\x00", "\U0001f600", "\u202e", "NaN", "null", "1e999", "9" * 400, "\\ud800", "[" * 200,
    "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "```json\n",
    "",
)  # fmt: skip


@pytest.mark.parametrize("syntax", sorted(WRITTEN))
def test_mutated_messages_never_raise(syntax):
    read, rng = family_named(syntax, "").read, random.Random(syntax)
    written = [text for text, _ in WRITTEN[syntax].values()]
    for _ in range(1_500):
        text = rng.choice(written)
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(PIECES) + text[at + rng.randrange(9) :]
        content, found = read(text, (LOOK_UP, PDF))
        content.encode()
        for call in (record_of(one, "c") for one in found):
            assert survives(call), text
            assert call.problem is Status.INVALID_JSON or is_storable(call.arguments)


@pytest.mark.parametrize("syntax", sorted(WRITTEN))
@pytest.mark.parametrize("piece", ["<tool_call>", "[a(", "{", '{"name":', "<|tool_call>call:", " ", "[TOOL_CALLS]["])
def test_a_long_message_of_openings_is_read(syntax, piece):
    content, found = family_named(syntax, "").read(f"<think></think>{piece * 3_000}", (LOOK_UP,))
    assert content or found or not piece.strip()


SPEC = ToolSpec(name="keep", description="Keep.", parameters={"type": "object", "properties": {"text": {}}})


@pytest.mark.parametrize(
    "body",
    [
        '{"name": "keep", "arguments": {"text": "\\udfff"}}',
        '{"name": "keep", "arguments": {"\\ud801": 1}}',
        '{"name": "ke\\udbffep", "arguments": {}}',
        '{"name": "keep", "arguments": {"text": -Infinity}}',
        '{"name": "keep", "arguments": {"text": ' + "1" * 5_000 + "}}",
        '{"name": "keep", "arguments": "{\\"text\\": \\"\\\\ud800\\"}"}',
    ],
)
def test_an_episode_with_it_is_sealed_and_read_again(body):
    dialect = family_dialect("qwen2.5")
    said = iter([f"<tool_call>\n{body}\n</tool_call><|im_end|>", "Done.<|im_end|>"])

    async def speak(prompt_ids, room, seed):
        return Completion(dialect.tokenizer(next(said))["input_ids"], "stop")

    async def use(call, state):
        return ToolResult(
            call_id=call.call_id, name=call.name, status=call.problem or Status.OK, text="half \ud800 pair"
        )

    played = asyncio.run(
        play_episode(
            Task.build("t", (Message(role="user", content="Keep it."),), (SPEC,)), "g/0", dialect=dialect, speak=speak,
            use=use, limits=EpisodeLimits(max_new_tokens=9_000, max_length=20_000), policy="p", seed=1,
        )
    )  # fmt: skip
    assert played.turns[0].calls[0].problem is Status.INVALID_JSON
    assert Trajectory.model_validate_json(played.model_dump_json()) == played


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "NaN", "[Infinity]", "1e400", '"\\ud800"', "1 2", "", "[" * 100])
def test_what_is_not_everybodys_json_is_refused(text):
    with pytest.raises(ValueError):
        read_json(text)


def test_json_with_space_around_is_read():
    assert read_json(' \n{"a": [1, 2.5, "\\ud83d\\ude00", null]} ') == {"a": [1, 2.5, "\U0001f600", None]}


@pytest.mark.parametrize("keys", ['"input": {}', '"arguments": {}, "text": 1', '"arguments": {}, "parameters": {}'])
def test_a_line_of_a_batch_with_values_that_nobody_reads_is_invalid(keys):
    call, _ = read_line(f'{{"name": "keep", {keys}}}'.encode(), 2)
    assert (call.name, call.problem) == ("keep", Status.INVALID_JSON)


def test_a_line_of_a_batch_may_say_parameters():
    call, _ = read_line(b'{"name": "keep", "parameters": {"text": 1}}', 2)
    assert (call.arguments, call.problem) == ({"text": 1}, None)
