import random

import pytest

from rayplay.pairs import (
    UNUSABLE,
    as_sample,
    balance_reasons,
    grpo_rows,
    kto_rows,
    make_pairs,
    needs_demonstration,
    pair_at_divergence,
    sft_rows,
)
from rayplay.records import (
    Demonstration,
    Message,
    Reason,
    Status,
    StopReason,
    Task,
    ToolCall,
    ToolResult,
    Trajectory,
    Turn,
)

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


@pytest.mark.parametrize("stop", UNUSABLE)
@pytest.mark.parametrize("rows", [make_pairs, kto_rows, sft_rows])
def test_samples_that_were_cut_off_or_ended_by_our_fault_teach_nothing(rows, stop):
    cut = sample(1, 0.0, ((37,), {"content": "It", "finish": "length"}), stop=stop)
    best = GOOD.model_copy(update={"stop_reason": stop, "sample_id": "r001/t/2"})
    assert rows([GOOD, cut, best]) == rows([GOOD])


def test_a_sample_that_the_judge_did_not_grade_is_not_compared_with_graded_ones():
    no = ((30,), {"content": "No."})
    graded = [t.model_copy(update={"rewards": {"answer": t.reward, "judge": 0.5}}) for t in (GOOD, sample(1, 0.4, no))]
    lucky = sample(2, 1.0, ((31,), {"content": "Perhaps."})).model_copy(update={"rewards": {"answer": 1.0}})
    assert make_pairs([*graded, lucky]) == make_pairs(graded) != []


@pytest.mark.parametrize(("worse", "pairs"), [(0.8, 1), (0.81, 0)])
def test_the_margin_is_what_people_reckon(worse, pairs):
    """In floats 1.0 - 0.8 is less than 0.2."""
    assert len(make_pairs([GOOD, sample(1, worse, ((30,), {"content": "No."}))], min_margin=0.2)) == pairs


def test_no_pair_from_equal_rewards_or_equal_decisions():
    equal = sample(3, 1.0, ((30,), {"content": "No."}))
    spaced = sample(4, 0.0, ((12, 13), {"calls": [ADD], "statuses": [Status.OK]}), DONE)
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


def test_what_counts_as_right_is_the_recipes_to_say():
    short_of_full = sample(1, 0.9, ((30,), {"content": "It is 2, at length."}))
    assert sft_rows([short_of_full]) == [] and len(sft_rows([short_of_full], 0.9)) == 1
    assert [r.label for r in kto_rows([short_of_full], 0.9)] == [True]
    assert not needs_demonstration([short_of_full], "unsolved_groups", 0.2, 0.9)


def shown_for(task: Task) -> Trajectory:
    call = ToolCall(call_id="d", name="add", arguments={"a": 1})
    messages = (
        Message(role="user", content="q"),
        Message(role="assistant", tool_calls=(call,)),
        Message(role="tool", content="2", tool_call_id="d", name="add"),
        Message(role="assistant", content="It is 2."),
    )
    shown = Demonstration(row_id=task.task_id, source="test", messages=messages)
    return as_sample("r001/t", task, shown, [*PROMPT, 10, 11, 90, 91, 20], [0, 0, 0, 1, 1, 0, 0, 1])


@pytest.mark.parametrize(
    "when, rewards, wanted",
    [
        ("never", (0.1, 0.1), False),
        ("dead_groups", (0.1, 0.1), True),
        ("dead_groups", (0.1, 0.6), False),
        ("unsolved_groups", (0.1, 0.6), True),
        ("unsolved_groups", (0.1, 1.0), False),
        ("dead_groups", (1.0, 1.0), False),
    ],
)
def test_a_group_without_a_right_sample_gets_its_demonstration_when_asked(when, rewards, wanted):
    group = [sample(k, reward, ((30 + k,), {})) for k, reward in enumerate(rewards)]
    assert needs_demonstration(group, when, 0.2) is wanted


def test_samples_that_ended_by_our_fault_make_no_group_dead():
    group = [sample(k, 0.0, ((30 + k,), {}), stop=StopReason.UNAVAILABLE) for k in range(3)]
    assert not needs_demonstration(group, "dead_groups", 0.2)


def test_a_demonstration_is_chosen_at_the_decision_where_the_sample_went_wrong_and_says_what_it_is():
    shown = shown_for(TASK)
    wrong_call = sample(0, 0.3, ((12, 11), {"calls": [{"name": "sub"}], "statuses": [Status.OK]}), ((21,), {}))
    wrong_answer = sample(
        1, 0.6, ((10, 11), {"calls": [{"name": "add", "arguments": {"a": 1}}], "statuses": [Status.OK]}), ((21,), {})
    )
    pairs = {p.reason: p for p in make_pairs([wrong_call, wrong_answer, shown], min_margin=0.2)}
    assert set(pairs) == {Reason.WRONG_TOOL, Reason.WRONG_ANSWER}
    assert all(p.chosen_sample == "r001/t/demonstration" for p in pairs.values())
    assert pairs[Reason.WRONG_TOOL].chosen_ids == (10, 11)
    assert pairs[Reason.WRONG_ANSWER].prompt_ids == (*PROMPT, 10, 11, 90, 91)
    assert pairs[Reason.WRONG_ANSWER].chosen_ids == (20,)


def test_what_a_conversation_held_before_the_request_is_prompt_and_no_part_of_the_demonstration():
    before = (Message(role="user", content="p"), Message(role="assistant", content="r"))
    asked = (*before, Message(role="user", content="q"))
    task = Task(task_id="t", source="test", messages=asked)
    messages = (*asked, Message(role="assistant", content="It is 2."))
    shown = Demonstration(row_id="t", source="test", messages=messages)
    sample = as_sample("r001/t", task, shown, [1, 9, 2, 20, 21], [0, 1, 0, 1, 1])
    assert (sample.prompt_length, sample.sampled_mask) == (3, (0, 0, 0, 1, 1))
    assert [(t.start, t.end, t.content) for t in sample.turns] == [(3, 5, "It is 2.")]


def test_advantages_are_relative_to_the_group_and_alike_rewards_give_none():
    rows = grpo_rows([sample(0, 1.0, ((10,), {})), sample(1, 0.0, ((11,), {}))])
    assert [(row.row_id, round(row.advantage, 3)) for row in rows] == [("r001/t/0", 0.707), ("r001/t/1", -0.707)]
    assert grpo_rows([sample(0, 1.0, ((10,), {})), sample(1, 1.0, ((11,), {}))]) == []


def test_samples_that_ended_by_our_fault_have_no_advantage():
    cut = sample(2, 0.0, ((12,), {}), stop=StopReason.TIME_LIMIT)
    rows = grpo_rows([sample(0, 1.0, ((10,), {})), sample(1, 0.0, ((11,), {})), cut])
    assert [row.row_id for row in rows] == ["r001/t/0", "r001/t/1"]
