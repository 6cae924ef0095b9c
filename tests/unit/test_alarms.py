"""Every alarm on hand-made samples: what raises it, what does not, and what it tells to look at."""

import pytest

from rayplay.alarms import measure_rates, raised
from rayplay.recipe import Alarms
from rayplay.records import (
    Expected,
    ExpectedCall,
    Message,
    Status,
    StopReason,
    Task,
    ToolCall,
    ToolResult,
    Trajectory,
    Turn,
)

CALL = Task.build("t", (Message(role="user", content="q"),), (), expected=Expected(calls=(ExpectedCall(name="add"),)))
TALK = Task.build("t", (Message(role="user", content="hello"),), ())


def sample(k: int, task=CALL, *statuses: Status, reward=0.0, stop=StopReason.ANSWERED, finish="stop") -> Trajectory:
    calls = tuple(ToolCall(call_id=str(i), name="add") for i in range(len(statuses)))
    results = tuple(ToolResult(call_id=str(i), status=status) for i, status in enumerate(statuses))
    return Trajectory(
        sample_id=f"g/{k}",
        group="g",
        task=task,
        policy="base",
        seed=k,
        prompt_length=1,
        token_ids=(1, 2),
        sampled_mask=(0, 1),
        turns=(Turn(start=1, end=2, calls=calls, results=results, finish=finish),),
        stop_reason=stop,
        reward=reward,
    )


def alarms(*samples: Trajectory, before=None, **wanted) -> dict[str, str]:
    return raised(measure_rates(samples, "p"), before or {}, Alarms(**wanted))


def test_a_healthy_round_raises_nothing():
    assert alarms(sample(0, CALL, Status.OK, reward=1.0), sample(1, CALL, Status.TOOL_ERROR, reward=0.2)) == {}


def test_no_call_where_one_is_expected():
    assert "warm_start" in alarms(sample(0), sample(1, reward=0.5))["no_call"]
    assert "no_call" not in alarms(sample(0, TALK), sample(1, TALK, reward=0.5))


def test_rewards_without_spread():
    assert set(alarms(sample(0, CALL, Status.OK), sample(1, CALL, Status.OK))) == {"no_spread"}


def test_every_sample_cut_off():
    cut = [sample(k, CALL, Status.OK, reward=k, stop=StopReason.TOKEN_LIMIT, finish="length") for k in (0, 1)]
    assert "max_new_tokens" in alarms(*cut)["truncated"]
    assert "truncated" not in alarms(*cut, sample(2, CALL, Status.OK))


def test_more_tool_errors_than_allowed():
    samples = [sample(0, CALL, Status.TIMEOUT, Status.OK, Status.CRASHED), sample(1, CALL, Status.OK, reward=1.0)]
    assert "50%" not in alarms(*samples).get("tool_errors", "")
    assert "50%" in alarms(*samples, tool_error_rate=0.4)["tool_errors"]


@pytest.mark.parametrize("rate, name", [("call_rate", "falling_calls"), ("format_rate", "falling_format")])
def test_a_rate_that_falls_from_one_round_to_the_next(rate, name):
    now = {"call_rate": 0.6, "format_rate": 0.6, "spread": 0.5}
    assert "from 0.90 to 0.60" in raised(now, {**now, rate: 0.9}, Alarms())[name]
    assert raised(now, {**now, rate: 0.75}, Alarms()) == {}
    assert raised(now, {}, Alarms()) == {}


def test_what_ended_by_our_fault_stands_in_no_rate():
    ours = [sample(k, CALL, Status.UNAVAILABLE, stop=StopReason.UNAVAILABLE) for k in range(3)]
    assert measure_rates(ours, "p") == {}
    assert alarms(*ours) == {}
