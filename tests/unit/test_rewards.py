import pytest

from rayplay.errors import RecipeError
from rayplay.metrics import measure, pass_at_k, pass_rates
from rayplay.records import (
    Expected,
    ExpectedCall,
    Message,
    Status,
    StopReason,
    Task,
    ToolCall,
    ToolResult,
    ToolSpec,
    Trajectory,
    Turn,
)
from rayplay.rewards import REWARDS, find_rewards, score

TOOLS = (ToolSpec(name="add"), ToolSpec(name="sub"))
ONE_CALL = Expected(calls=(ExpectedCall(name="add", arguments={"a": 1}),), answer=("2",))
NO_CALL = Expected()


def episode(expected: Expected, *turns: Turn, stop=StopReason.ANSWERED) -> Trajectory:
    task = Task.build("test", (Message(role="user", content="q"),), TOOLS, expected=expected, kind="k")
    return Trajectory(
        sample_id="g/0", group="g", task=task, policy="p", seed=0, prompt_length=1, token_ids=(1, 2),
        sampled_mask=(0, 1), turns=turns, stop_reason=stop,
    )  # fmt: skip


def calling(*names: str, status=Status.OK, finish="stop", **arguments) -> Turn:
    calls = tuple(ToolCall(call_id=f"c{i}", name=n, arguments=arguments) for i, n in enumerate(names))
    results = tuple(ToolResult(call_id=c.call_id, status=status) for c in calls)
    return Turn(start=1, end=2, calls=calls, results=results, finish=finish)


def saying(text: str) -> Turn:
    return Turn(start=1, end=2, content=text)


RIGHT = episode(ONE_CALL, calling("add", a=1), saying("It is 2."))
EXPECTED_PARTS = [
    (RIGHT, {"format": 1, "tool_choice": 1, "arguments": 1, "execution": 1, "answer": 1, "success": 1, "toolrl": 1}),
    (
        episode(ONE_CALL, saying("It is 2.")),
        {"tool_choice": 0, "arguments": 0, "execution": 0, "answer": 1, "success": 0},
    ),
    (episode(ONE_CALL, calling("add", a=9), saying("It is 2.")), {"tool_choice": 1, "arguments": 0, "success": 0}),
    (episode(ONE_CALL, calling("sub", a=1), saying("It is 2.")), {"tool_choice": 0, "arguments": 0, "execution": 1}),
    (
        episode(ONE_CALL, calling("add", "sub", a=1), saying("2")),
        {"no_extra_calls": 0.5, "success": 0, "arguments": 0.5},
    ),
    (episode(ONE_CALL, calling("add", status=Status.BAD_ARGUMENTS), saying("2")), {"format": 0.5, "execution": 0}),
    (episode(ONE_CALL, calling("add", a=1), stop=StopReason.TURN_LIMIT), {"answer": 0, "success": 0, "execution": 1}),
    (
        episode(NO_CALL, saying("Hello.")),
        {"tool_choice": 1, "arguments": 1, "execution": 1, "irrelevance": 1, "success": 1},
    ),
    (episode(NO_CALL, calling("add"), saying("Hello.")), {"tool_choice": 0, "irrelevance": 0, "no_extra_calls": 0}),
]


@pytest.mark.parametrize(("trajectory", "parts"), EXPECTED_PARTS)
def test_each_part_scores_what_it_says(trajectory, parts):
    assert {name: REWARDS[name](trajectory) for name in parts} == pytest.approx(parts)


TWO_CALLS = Expected(calls=tuple(ExpectedCall(name="add", arguments={"a": a, "b": 1}) for a in (1, 2)))
UNREADABLE = Turn(start=1, end=2, calls=(ToolCall(call_id="c", name="add", problem=Status.INVALID_JSON),))


@pytest.mark.parametrize(
    ("trajectory", "total"),
    [
        (episode(TWO_CALLS, calling("add", a=1, b=1), calling("add", a=2, b=1), saying("ok")), 4.0),
        (episode(TWO_CALLS, calling("add", a=1, b=1)), 1 - 3 + 6 * (1 / 2 + 3) / 7),
        (episode(TWO_CALLS, calling("add", "add", c=1)), 1 - 3 + 6 * 1 / 7),
        (episode(TWO_CALLS, calling("add", a=1), calling("sub", b=1)), 1 - 3 + 6 * (1 / 3 + 1 / 2 + 1) / 7),
        (episode(TWO_CALLS, calling("add", "add", a=1, b=1), calling(finish="length")),
         0 - 3 + 6 * (1 + 3 + 2) / 7),
        (episode(TWO_CALLS, saying("no")), -3.0),
        (episode(TWO_CALLS, UNREADABLE), -3.0),
        (episode(NO_CALL, saying("Hello.")), 4.0),
        (episode(NO_CALL, calling("add")), -3.0),
    ],
)  # fmt: skip
def test_toolrl_is_the_papers_total_mapped_to_the_unit_interval(trajectory, total):
    assert REWARDS["toolrl"](trajectory) == pytest.approx((total + 3) / 7)


def call_of(**arguments) -> Expected:
    return Expected(calls=(ExpectedCall(name="add", arguments=arguments),))


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        *((call_of(a=value), {"a": value}) for value in (1, True, None, "b", [1], {"k": 1.5})),
        (Expected(calls=(ExpectedCall(name="add", alternatives={"a": ("x", "y")}),)), {"a": "y"}),
        (Expected(calls=(ExpectedCall(name="add", arguments={"a": 1}, optional=("b",)),)), {"a": 1}),
        (Expected(calls=(ExpectedCall(name="add", alternatives={"a": (1,), "b": (2, None)}),)), {"a": 1}),
        (Expected(calls=(ExpectedCall(name="add", alternatives={"a": (1,), "b": (2, None)}),)), {"a": 1, "b": 2}),
        (Expected(calls=(ExpectedCall(name="add", arguments={"a": 1}, accepted={"/a": (2,)}),)), {"a": 2}),
        (call_of(a="East Side, Bergen"), {"a": "east side bergen"}),
    ],
)
def test_toolrl_gives_all_where_the_call_is_wholly_right(expected, given):
    sample = episode(expected, calling("add", **given), saying("done"))
    assert REWARDS["success"](sample) == REWARDS["toolrl"](sample) == 1.0


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        *((call_of(a=1), {"a": value}) for value in (True, "1", None, 2, [1])),
        *((call_of(a={"k": [0]}), {"a": {"k": [value]}}) for value in (False, None, "0")),
        (Expected(calls=(ExpectedCall(name="add", alternatives={"a": ("x", "y")}),)), {"a": "z"}),
        (Expected(calls=(ExpectedCall(name="add", arguments={"a": 1}, optional=("b",)),)), {"a": 1, "b": 5}),
        (call_of(a=1), {"a": 1, "c": 2}),
    ],
)
def test_toolrl_gives_less_where_a_value_is_wrong(expected, given):
    sample = episode(expected, calling("add", **given), saying("done"))
    assert REWARDS["success"](sample) == 0.0 and REWARDS["toolrl"](sample) < 1.0


def test_toolrl_pairs_calls_whatever_their_order():
    expected = Expected(
        calls=(ExpectedCall(name="add", alternatives={"a": (1, 2)}), ExpectedCall(name="add", arguments={"a": 1}))
    )
    for values in ((1, 2), (2, 1)):
        turns = [calling("add", a=value) for value in values]
        assert REWARDS["toolrl"](episode(expected, *turns, saying("done"))) == 1.0


def test_the_reward_is_the_weighted_mean_and_the_parts_are_kept():
    weights = {"answer": 3.0, "arguments": 1.0}
    scored = score(episode(ONE_CALL, calling("add", a=9), saying("It is 2.")), weights, find_rewards(weights))
    assert scored.rewards == {"answer": 1.0, "arguments": 0.0}
    assert scored.reward == 0.75


def test_a_users_own_reward_is_named_by_module_and_function():
    assert find_rewards({"tests.unit.test_rewards:half": 1.0})["tests.unit.test_rewards:half"](RIGHT) == 0.5


def half(trajectory: Trajectory) -> float:
    return 0.5


def broken(trajectory: Trajectory) -> float:
    raise KeyError("answer")


def endless(trajectory: Trajectory) -> float:
    return float("nan")


@pytest.mark.parametrize(("name", "said"), [("broken", "KeyError"), ("endless", "gave nan")])
def test_a_users_reward_that_fails_is_named_with_the_sample(name, said):
    weights = {f"tests.unit.test_rewards:{name}": 1.0}
    with pytest.raises(RecipeError, match=f"{name} .*{said}"):
        score(RIGHT, weights, find_rewards(weights))


@pytest.mark.parametrize("weights", [{"anwser": 1.0}, {"no.such:thing": 1.0}, {"answer": 0.0}])
def test_unknown_or_weightless_rewards_are_refused(weights):
    with pytest.raises(RecipeError):
        find_rewards(weights)


def test_metrics_count_tasks_and_leave_out_our_own_faults():
    lost = episode(ONE_CALL, stop=StopReason.UNAVAILABLE)
    table = measure([RIGHT, RIGHT, episode(ONE_CALL, saying("no")), episode(NO_CALL, saying("Hi.")), lost])
    assert table["success_rate"]["n"] == 4 and table["success_rate"]["mean"] == 0.75
    assert table["argument_accuracy"]["n"] == 3
    assert table["unneeded_call_rate"] == {**table["unneeded_call_rate"], "mean": 0.0, "n": 1}
    assert table["success_rate"]["low"] < 0.75 < table["success_rate"]["high"]


def test_pass_at_k_is_the_unbiased_estimate():
    assert pass_at_k(0, 10, 1) == 0.0
    assert pass_at_k(3, 10, 1) == pytest.approx(0.3)
    assert pass_at_k(3, 10, 2) == pytest.approx(1 - (7 * 6) / (10 * 9))
    assert pass_at_k(9, 10, 2) == 1.0


def test_pass_rates_are_means_over_tasks_of_the_samples_that_count():
    lost = episode(ONE_CALL, stop=StopReason.UNAVAILABLE)
    wrong = episode(ONE_CALL, saying("no"))
    rates = pass_rates([RIGHT, RIGHT, wrong, lost])
    task = {t.task.task_id for t in (RIGHT, wrong)}
    assert len(task) == 1 and set(rates) == {"pass@1", "pass@2", "pass@3"}
    assert rates["pass@1"]["mean"] == pytest.approx(2 / 3) and rates["pass@1"]["n"] == 1
    assert rates["pass@2"]["mean"] == 1.0 and pass_rates([]) == {}
    assert set(pass_rates([RIGHT] * 4 + [wrong])) == {"pass@1", "pass@2", "pass@4", "pass@5"}


def test_a_task_of_calls_alone_is_done_where_the_turn_limit_ends_it():
    calls = Expected(calls=ONE_CALL.calls)
    ended = {"stop": StopReason.TURN_LIMIT}
    assert REWARDS["success"](episode(calls, calling("add", a=1), **ended)) == 1.0
    assert REWARDS["success"](episode(calls, calling("add", a=2), **ended)) == 0.0
    assert REWARDS["success"](episode(ONE_CALL, calling("add", a=1), **ended)) == 0.0  # an answer is expected
    assert REWARDS["success"](episode(calls, calling("add", a=1), stop=StopReason.TOKEN_LIMIT)) == 0.0
