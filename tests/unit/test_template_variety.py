"""All tools' templates: enough of each, right end states, rewording, distractors and masks that touch no label."""

import importlib
import inspect
import json
import random
import re
from collections import Counter
from collections.abc import Callable

import pytest

from rayplay.data.template_files import fill, literal_parts, read_templates
from rayplay.data.templates import KINDS, build_tasks, read_options
from rayplay.data.variation import distractor_tools, mask_names, offer, reword
from rayplay.errors import DataError
from rayplay.matching import answer_found, end_state_reached, match_calls
from rayplay.records import Demonstration, Status, Task, ToolResult, ToolSpec
from rayplay.toolbox import check_arguments, find_tool, is_tool, spec_of

TOOLSETS = "shopping_cart file_system booking_calendar"
NAMES = f"calculator weather search python convert_units dates sql text_statistics {TOOLSETS}"


def load(name: str) -> dict[str, tuple[ToolSpec, Callable, type | None]]:
    """(description, function, toolset class) by name, of the tools of a file."""
    module = importlib.import_module(f"tools.{name}")
    own = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
    found = [(value, None) for value in own if is_tool(value)]
    found += [(f, c) for c in own if inspect.isclass(c) for f in vars(c).values() if is_tool(f)]
    specs = [(spec_of(f, module.__name__, c.__name__ if c else ""), f, c) for f, c in found]
    return {spec.name: (spec, function, toolset) for spec, function, toolset in specs}


TOOLS = {name: entry for file in NAMES.split() for name, entry in load(file).items()}
SPECS = tuple(spec for spec, _, _ in TOOLS.values())
PRINTED = re.compile(r"print\((.*)\)$")


def execute(name: str, arguments: dict, state: str = "") -> ToolResult:
    """The tool itself, without a sandbox; what Python code prints is caught by asking for `result` instead."""
    _, function, toolset = TOOLS[name]
    if name == "python":
        arguments = {"code": PRINTED.sub(r"result = \1", arguments["code"])}
    if toolset is None:
        value, after = function(**arguments), None
    else:
        one = toolset(json.loads(state))
        value = function(one, **arguments)
        after = json.dumps(one.state)
    text = value if isinstance(value, str) else json.dumps(value)
    return ToolResult(call_id="", name=name, status=Status.OK, text=text, state=after)


def build(count: int, split: str, **rest: object) -> list[tuple[Task, Demonstration]]:
    return build_tasks(
        SPECS, execute, count=count, split=split, **{"seed": 3, "kinds": dict.fromkeys(KINDS, 1.0), **rest}
    )


MIXED = build(800, "train", paraphrase=0.3, kinds=dict.fromkeys(KINDS, 1.0) | {"stateful": 2.0})


def test_every_built_in_tool_and_every_toolset_has_fifty_requests() -> None:
    wordings: Counter[str] = Counter()
    conversations: Counter[str] = Counter()
    for template in read_templates():
        called = [find_tool(SPECS, name) for name in template.called & TOOLS.keys()]
        of = {spec.toolset or spec.name for spec in called}
        wordings.update(of)
        conversations.update(of if template.earlier else ())
    of_toolsets = {spec.toolset for spec in SPECS} - {""}
    assert len(of_toolsets) == 3
    for name in of_toolsets | {spec.name for spec in SPECS if not spec.toolset}:
        assert wordings[name] >= 50, name
    assert all(conversations[toolset] >= 20 for toolset in of_toolsets)


def test_every_template_can_be_built_with_right_labels() -> None:
    assert {t.origin for t, _ in MIXED} >= {
        t.template_id for t in read_templates() if t.split == "train" and t.kind != "one_call"
    }
    for task, row in MIXED:
        assert row.messages[: len(task.messages)] == task.messages
        made = [call for message in row.messages[len(task.messages) :] for call in message.tool_calls]
        assert match_calls(task.expected, made, SPECS).exact
        assert answer_found(task.expected, row.messages[-1].content) == 1.0
        assert all(check_arguments(find_tool(SPECS, call.name), call.arguments) == "" for call in made)


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_one_call_templates_of_all_tools_build(split: str) -> None:
    fitting = [t for t in read_templates() if t.fits(set(TOOLS))]
    usable = [t for t in fitting if t.kind == "one_call" and t.split == split]
    built = build(len(usable), split, kinds={"one_call": 1.0})
    assert {t.origin for t, _ in built} == {t.template_id for t in usable}


def test_a_conversation_begins_at_its_last_request_in_the_state_that_the_others_left() -> None:
    task, row = next(pair for pair in MIXED if pair[0].origin.startswith("cart-fewer/"))
    assert [m.role for m in task.messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert [c.name for c in task.expected.calls] == ["remove_from_cart"]
    (before,), (after,) = (
        states["ShoppingCart"]["cart"].values() for states in (json.loads(task.state), task.expected.end_state)
    )
    assert before == task.messages[1].tool_calls[0].arguments["count"]
    assert before - after == task.expected.calls[0].arguments["count"]
    assert len({c.call_id for m in row.messages for c in m.tool_calls}) == 2


def test_end_states_are_reached_by_the_calls_and_by_nothing_less() -> None:
    changing = 0
    for task, row in (pair for pair in MIXED if pair[0].kind == "stateful"):
        states = json.loads(task.state)
        changing += states != task.expected.end_state
        assert end_state_reached(task.expected, json.dumps(states)) == (states == task.expected.end_state)
        for call in (call for message in row.messages[len(task.messages) :] for call in message.tool_calls):
            toolset = find_tool(SPECS, call.name).toolset
            states[toolset] = json.loads(execute(call.name, call.arguments, json.dumps(states[toolset])).state)
        assert end_state_reached(task.expected, json.dumps(states))
    assert changing > 50


def test_negatives_expect_no_call_and_are_only_given_where_no_tool_fits() -> None:
    for task, _ in MIXED:
        if task.kind in ("missing_parameter", "no_fitting_tool", "no_tool"):
            assert task.expected.calls == ()
    email = next(spec for spec in distractor_tools() if spec.name == "send_email")
    with_email = build_tasks((*SPECS, email), execute, count=60, split="train", seed=3, kinds={"no_fitting_tool": 1.0})
    assert not any(t.origin.startswith("no-email/") for t, _ in with_email)


def test_negatives_come_only_where_they_are_asked_for() -> None:
    kinds = {t.kind for t, _ in build(300, "train", kinds=None)}
    assert "stateful" in kinds and not kinds & {"missing_parameter", "no_fitting_tool"}


def test_rewording_leaves_slots_and_labels_alone() -> None:
    plain, reworded = (build(300, "train", kinds={"one_call": 1.0}, paraphrase=share) for share in (0.0, 1.0))
    for (task, _), (other, _) in zip(plain, reworded, strict=True):
        assert task.origin == other.origin and task.messages != other.messages
        assert task.expected.answer == other.expected.answer
        assert [c.arguments for c in task.expected.calls] == [c.arguments for c in other.expected.calls]


def test_a_rule_never_reaches_into_a_slot() -> None:
    rng = random.Random(1)
    for template in read_templates():
        slots = literal_parts(template.request)[1::2]
        for _ in range(3):
            assert literal_parts(reword(template.request, template.split, 1.0, rng))[1::2] == slots
    assert fill(reword("What is {a}?", "train", 1.0, rng), {"a": "What is "}).count("What is ") >= 1


def test_distractors_stand_beside_the_tools_and_change_no_label() -> None:
    built = build_tasks(SPECS[:3], execute, count=40, split="train", seed=3, distractors=3)
    plain = build_tasks(SPECS[:3], execute, count=40, split="train", seed=3)
    for (task, row), (other, _) in zip(built, plain, strict=True):
        assert len(task.tools) == 6 and {s.name for s in SPECS[:3]} < {s.name for s in task.tools}
        assert task.expected == other.expected and row.tools == task.tools
        assert len({s.name for s in task.tools}) == 6
    assert len({tuple(s.name for s in t.tools) for t, _ in built}) > 20
    assert len(distractor_tools()) >= 20 and offer(SPECS, 0, 1) == SPECS


def test_masked_names_are_consistent_and_keep_the_way_back() -> None:
    for task, row in MIXED[::7]:
        masked, masked_row = mask_names(task, row, seed=5)
        back = {spec.name: spec.original_name for spec in masked.tools}
        assert all(re.fullmatch(r"tool_\d\d", name) for name in back) and len(back) == len(task.tools)
        assert [back[c.name] for c in masked.expected.calls] == [c.name for c in task.expected.calls]
        calls = [c for m in masked_row.messages for c in m.tool_calls]
        assert [back[c.name] for c in calls] == [c.name for m in row.messages for c in m.tool_calls]
        assert masked_row.messages[: len(masked.messages)] == masked.messages
        assert masked_row.row_id == masked.task_id != task.task_id


def test_options_of_a_recipe_are_checked() -> None:
    assert read_options({"paraphrase": 0.5, "distractors": 2}) == {"paraphrase": 0.5, "distractors": 2}
    for wrong in ({"paraphase": 1}, {"paraphrase": 2}, {"distractors": 1.5}, {"distractors": True}):
        with pytest.raises(DataError, match="option"):
            read_options(wrong)
