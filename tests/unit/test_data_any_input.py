"""Whatever stands in a row, judging it gives an outcome; whatever shape a conversation has, the same one is read."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayplay.data.census import Census
from rayplay.data.normal import REASONS
from rayplay.data.reading import RawRow, rows_of
from rayplay.data.source import Context
from rayplay.data.sources import SOURCES, Opened, judge
from rayplay.records import Demonstration

FIXTURES = Path(__file__).with_name("data_fixtures")
ROWS = {
    name: [row.value for file in sorted((FIXTURES / name).rglob("*.json*")) for row in rows_of(file) if not row.problem]
    for name in SOURCES
    if (FIXTURES / name).is_dir()
}
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["\ud800", "\x00", "<tool_call>", "[TOOL_CALLS]", "{", "[f(", "null", "[1", "assistant", "tool", "<think>", "name"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
KEYS = TEXTS | st.sampled_from(
    ["role", "from", "content", "value", "type", "text", "tool_calls", "function", "name", "arguments", "parameters"]
)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(KEYS, v, max_size=3), max_leaves=6)


def places(value, path=()):
    """The path of every value within a value, itself included."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def put(value, path, new):
    """A copy in which `new` stands at `path`."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


def judged(name, value):
    opened = Opened(SOURCES[name], (), Context(name))
    return judge(RawRow(value, "rows.jsonl", 1), opened)


@pytest.mark.parametrize("name", sorted(n for n in ROWS if SOURCES[n].prepare is None and SOURCES[n].unit == "row"))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_value_in_any_field_gives_an_outcome(name, data):
    row = data.draw(st.sampled_from(ROWS[name]))
    for _ in range(data.draw(st.integers(1, 3))):
        row = put(row, data.draw(st.sampled_from(list(places(row)))), data.draw(VALUES))
    outcome = judged(name, row)
    assert (outcome.usable is None) != (outcome.rejected is None)
    assert outcome.usable or outcome.rejected.reason in REASONS
    census = Census(name)
    census.count(outcome)
    assert json.dumps(census.summary()).encode()
    for source in SOURCES.values():
        assert source.unit == "file" or source.matches(row) in (True, False)


TOOL = {
    "name": "weigh",
    "description": "Weighs.",
    "parameters": {
        "type": "object",
        "properties": {"what": {"type": "string"}, "times": {"type": "integer"}, "notes": {"type": "array"}},
    },
}
WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=12).filter(
    lambda t: t.strip() == t and not set(t) & set("[{<(`")
)
ARGUMENTS = st.fixed_dictionaries(
    {}, optional={"what": WORDS, "times": st.integers(), "notes": st.lists(WORDS, max_size=2)}
)
STEPS = st.tuples(st.lists(st.tuples(ARGUMENTS, WORDS), max_size=3), WORDS)
TALKS = st.lists(st.tuples(WORDS, STEPS), min_size=1, max_size=3)


def openai(talk):
    messages, number = [], 0
    for asked, (calls, answer) in talk:
        messages.append({"role": "user", "content": asked})
        made = []
        for arguments, result in calls:
            number += 1
            call = {"id": f"c{number}", "function": {"name": "weigh", "arguments": json.dumps(arguments)}}
            made.append((call, {"role": "tool", "tool_call_id": f"c{number}", "content": result}))
        if made:
            messages.append({"role": "assistant", "content": None, "tool_calls": [call for call, _ in made]})
            messages.extend(result for _, result in reversed(made))
        messages.append({"role": "assistant", "content": answer})
    return {"messages": messages, "tools": [{"type": "function", "function": TOOL}]}


def anthropic(talk):
    messages, number = [], 0
    for asked, (calls, answer) in talk:
        messages.append({"role": "user", "content": [{"type": "text", "text": asked}]})
        made = []
        for arguments, result in calls:
            number += 1
            use = {"type": "tool_use", "id": f"t{number}", "name": "weigh", "input": arguments}
            made.append((use, {"type": "tool_result", "tool_use_id": f"t{number}", "content": result}))
        if made:
            messages.append({"role": "assistant", "content": [use for use, _ in made]})
            messages.append({"role": "user", "content": [result for _, result in made]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return {"messages": messages, "tools": [{**TOOL, "input_schema": TOOL["parameters"], "parameters": None}]}


def sharegpt(talk):
    turns = []
    for asked, (calls, answer) in talk:
        turns.append({"from": "human", "value": asked})
        if calls:
            held = [{"name": "weigh", "arguments": arguments} for arguments, _ in calls]
            turns.append({"from": "function_call", "value": json.dumps(held)})
            turns += [{"from": "observation", "value": result} for _, result in calls]
        turns.append({"from": "gpt", "value": answer})
    return {"conversations": turns, "tools": json.dumps([TOOL])}


def hermes(talk):
    turns = [{"role": "system", "content": f"You call functions. <tools>{json.dumps(TOOL)}</tools>"}]
    for asked, (calls, answer) in talk:
        turns.append({"role": "user", "content": asked})
        if calls:
            tags = [f"<tool_call>\n{json.dumps({'name': 'weigh', 'arguments': a})}\n</tool_call>" for a, _ in calls]
            turns.append({"role": "assistant", "content": "\n".join(tags)})
            answers = [f"<tool_response>\n{result}\n</tool_response>" for _, result in calls]
            turns.append({"role": "tool", "content": "\n".join(answers)})
        turns.append({"role": "assistant", "content": answer})
    return {"messages": turns}


def ms_swift(talk):
    turns = []
    for asked, (calls, answer) in talk:
        turns.append({"role": "user", "content": asked})
        turns += [
            {"role": "tool_call", "content": json.dumps({"name": "weigh", "arguments": arguments})}
            for arguments, _ in calls
        ]
        turns += [{"role": "tool_response", "content": result} for _, result in calls]
        turns.append({"role": "assistant", "content": answer})
    return {"messages": json.dumps(turns), "tools": json.dumps([{"type": "function", "function": TOOL}])}


def content_of(demonstration: Demonstration):
    """Roles, texts, calls, and which call each result answers."""
    numbers = {c.call_id: n for n, c in enumerate(c for m in demonstration.messages for c in m.tool_calls)}
    said = [(m.role, m.content, [(c.name, c.arguments) for c in m.tool_calls]) for m in demonstration.messages]
    results = sorted((numbers[m.tool_call_id], m.content) for m in demonstration.messages if m.role == "tool")
    return [s for s in said if s[0] != "tool"], results


@settings(max_examples=80, deadline=None)
@given(TALKS)
def test_the_same_conversation_is_read_from_every_shape(talk):
    found = [judged("openai-jsonl", shape(talk)) for shape in (openai, anthropic, hermes, ms_swift)]
    found.append(judged("sharegpt", sharegpt(talk)))
    problems = [o.rejected for o in found if o.rejected]
    assert not problems
    first, *others = [content_of(o.usable.demonstrations[0]) for o in found]
    assert len(first[1]) == sum(len(calls) for _, (calls, _) in talk)
    assert all(other == first for other in others)
