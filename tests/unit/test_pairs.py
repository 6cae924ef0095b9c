import random

import pytest

from rayplay.pairs import balance_reasons, kto_rows, make_pairs, pair_at_divergence, sft_rows
from rayplay.records import Message, Reason, Status, StopReason, Task, ToolCall, ToolResult, Trajectory, Turn

TASK = Task.build("test", (Message(role="user", content="q"),), ())
PROMPT = (1, 2, 3)


def turn(start: int, ids: tuple[int, ...], calls=(), statuses=(), content="", finish="stop") -> Turn:
    made = tuple(ToolCall(call_id=f"c{i}", **c) for i, c in enumerate(calls))
    results = tuple(ToolResult(call_id=f"c{i}", status=s) for i, s in enumerate(statuses))
    return Turn(start=start, end=start + len(ids), content=content, calls=made, results=results, finish=finish)


def sample(k: int, reward: float, *parts, stop=StopReason.ANSWERED) -> Trajectory:
    """Each part is (ids, turn arguments); a result of two tokens stands between two parts."""
    ids, mask, turns = list(PROMPT), [0] * len(PROMPT), []
    for index, (sampled, rest) in enumerate(parts):
        if index:
            ids += [90, 91]
            mask += [0, 0]
        turns.append(turn(len(ids), sampled, **rest))
        ids += sampled
        mask += [1] * len(sampled)
    return Trajectory(
        sample_id=f"r001/t/{k}",
        group="r001/t",
        task=TASK,
        policy="base",
        seed=k,
        prompt_length=len(PROMPT),
        token_ids=tuple(ids),
        sampled_mask=tuple(mask),
        turns=tuple(turns),
        stop_reason=stop,
        reward=reward,
    )


ADD = {"name": "add", "arguments": {"a": 1}}
RIGHT = ((10, 11), {"calls": [ADD], "statuses": [Status.OK]})
DONE = ((20, 21), {"content": "It is 2."})
GOOD = sample(0, 1.0, RIGHT, DONE)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([((30,), {"content": "No."})], Reason.NO_CALL),
        ([((31,), {"calls": [{"name": "", "problem": Status.INVALID_JSON}]})], Reason.INVALID_JSON),
        ([((32,), {"calls": [{"name": "sub"}], "statuses": [Status.OK]})], Reason.WRONG_TOOL),
        ([((33,), {"calls": [{"name": "add"}], "statuses": [Status.BAD_ARGUMENTS]})], Reason.BAD_ARGUMENTS),
        ([((34,), {"calls": [{"name": "add"}], "statuses": [Status.TOOL_ERROR]})], Reason.EXECUTION_FAILED),
        ([((35,), {"calls": [{"name": "add"}], "statuses": [Status.OK]})], Reason.WRONG_ARGUMENTS),
        ([((36,), {"calls": [ADD, ADD], "statuses": [Status.OK, Status.OK]})], Reason.EXTRA_CALLS),
        ([((37,), {"content": "", "finish": "length"})], Reason.NOT_FINISHED),
        ([RIGHT, ((38,), {"content": "It is 3."})], Reason.WRONG_ANSWER),
        ([RIGHT, RIGHT], Reason.EXTRA_CALLS),
    ],
)
def test_the_reason_is_found_at_the_first_divergent_decision(parts, reason):
    pair = pair_at_divergence(GOOD, sample(1, 0.0, *parts))
    assert pair.reason is reason
    assert pair.prompt_ids == GOOD.token_ids[: len(pair.prompt_ids)]
    assert pair.chosen_ids != pair.rejected_ids
    assert set(pair.chosen_mask) == set(pair.rejected_mask) == {1}


def test_a_call_where_none_is_needed_is_should_not_call():
    assert pair_at_divergence(sample(0, 1.0, DONE), sample(1, 0.0, RIGHT, DONE)).reason is Reason.SHOULD_NOT_CALL


def test_a_missing_call_is_told_from_a_wrong_tool():
    both = ((40,), {"calls": [ADD, {"name": "sub"}], "statuses": [Status.OK, Status.OK]})
    assert pair_at_divergence(sample(0, 1.0, both), sample(1, 0.0, RIGHT)).reason is Reason.MISSING_CALLS


def test_a_whole_trajectory_pair_keeps_tool_output_without_loss():
    pair = pair_at_divergence(GOOD, sample(1, 0.0, ((30,), {"content": "No."})), one_decision=False)
    assert pair.chosen_ids == (10, 11, 90, 91, 20, 21)
    assert pair.chosen_mask == (1, 1, 0, 0, 1, 1)


def test_pairing_ignores_arrival_order():
    group = [GOOD, *(sample(k, 0.1 * k, ((30 + k,), {"content": f"No {k}."})) for k in range(1, 6))]
    expected = make_pairs(group, max_per_task=3)
    for seed in range(5):
        shuffled = random.Random(seed).sample(group, len(group))
        assert make_pairs(shuffled, max_per_task=3) == expected


def test_no_pair_from_our_own_faults_equal_rewards_or_equal_decisions():
    lost = sample(1, 0.0, RIGHT, stop=StopReason.UNAVAILABLE)
    late = sample(2, 0.0, RIGHT, stop=StopReason.TIME_LIMIT)
    equal = sample(3, 1.0, ((30,), {"content": "No."}))
    spaced = sample(4, 0.0, ((12, 13), {"calls": [ADD], "statuses": [Status.OK]}), DONE)
    assert make_pairs([GOOD, lost, late]) == []
    assert make_pairs([GOOD, equal]) == []
    assert make_pairs([GOOD, spaced]) == []


def test_histories_that_differ_in_tool_output_alone_give_no_pair():
    other = GOOD.model_copy(update={"sample_id": "r001/t/9", "reward": 0.0})
    ids = list(other.token_ids)
    ids[5] = 99  # a token of the tool's result
    assert pair_at_divergence(GOOD, other.model_copy(update={"token_ids": tuple(ids)})) is None


def test_two_pairs_of_one_task_prefer_two_reasons():
    group = [GOOD]
    group += [sample(k, 0.0, ((30 + k,), {"content": f"No {k}."})) for k in range(1, 4)]
    group += [sample(5, 0.1, ((40,), {"calls": [{"name": "sub"}], "statuses": [Status.OK]}))]
    assert {p.reason for p in make_pairs(group, max_per_task=2)} == {Reason.NO_CALL, Reason.WRONG_TOOL}


def test_balancing_caps_the_common_reasons():
    group = [GOOD, *(sample(k, 0.0, ((30 + k,), {"content": f"No {k}."})) for k in range(1, 9))]
    many = make_pairs(group, max_per_task=8)
    wrong = make_pairs([GOOD, sample(1, 0.0, ((40,), {"calls": [{"name": "sub"}], "statuses": [Status.OK]}))])
    assert len(many) == 8
    assert len(balance_reasons([*many, *wrong])) < 9 or len(balance_reasons([*wrong, *many])) <= 9


def test_rejection_sampling_and_kto_rows_come_from_the_same_log():
    bad = sample(1, 0.0, ((30,), {"content": "No."}))
    rows = sft_rows([GOOD, bad, GOOD.model_copy(update={"sample_id": "r001/t/2"})])
    assert [(r.token_ids, r.mask) for r in rows] == [(GOOD.token_ids, GOOD.sampled_mask)]
    assert sorted(r.label for r in kto_rows([GOOD, bad])) == [False, True]
    assert [r.label for r in kto_rows([bad])] == [False]
