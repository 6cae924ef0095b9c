"""Toolformer's filter against numbers worked out by hand."""

import math

import pytest

from rayplay.data.teacher import (
    Funnel,
    Losses,
    Notation,
    TeacherSettings,
    annotate,
    candidate_positions,
    is_kept,
    losses_of,
    weighted_loss,
    weights,
)

START, END = 90, 91
SETTINGS = TeacherSettings(tau_s=0.1, tau_f=0.5, top_positions=2, samples_per_position=3)


class TablePolicy:
    """log p of a token depends on whether the result 7 stands before it; calls are scripted."""

    def __init__(self, sampled=((), ())):
        self.sampled = [list(s) for s in sampled]

    def score(self, token_ids):
        found = [0.0]
        for j in range(1, len(token_ids)):
            knows_result = 7 in token_ids[:j]
            found.append(math.log(0.8 if knows_result else 0.2) if token_ids[j] == 5 else math.log(0.5))
        return found

    def next_logprobs(self, token_ids, token_id, least):
        assert token_id == START
        return [math.log({1: 0.3, 2: 0.05, 3: 0.6}.get(t, 0.2)) for t in token_ids]

    def continue_until(self, prompt_ids, count, max_new_tokens, stop_id, seed):
        return self.sampled[:count]


NOTATION = Notation(
    START, END, encode=lambda text: [int(c) for c in text if c.isdigit()], decode=lambda ids: "".join(map(str, ids))
)


def test_weights_fall_by_a_fifth_and_sum_to_one():
    assert weights(7) == pytest.approx([1 / 3, 0.8 / 3, 0.6 / 3, 0.4 / 3, 0.2 / 3, 0.0, 0.0], abs=1e-12)
    assert sum(weights(5)) == pytest.approx(1.0)


def test_weights_of_a_short_rest_are_not_scaled_up():
    assert weights(2) == pytest.approx([1 / 3, 0.8 / 3])


def test_weighted_loss_is_the_sum_by_hand():
    # (1*1 + 0.8*2 + 0.6*3) / 3 = 4.4 / 3
    assert weighted_loss([-1.0, -2.0, -3.0]) == pytest.approx(4.4 / 3, abs=1e-9)


def test_losses_equal_a_direct_computation():
    # text 1 5 4, position 1: x_1 = 5 (weight 1/3) and x_2 = 4 (weight 0.8/3)
    losses = losses_of(TablePolicy(), NOTATION, [8], [1, 5, 4], 1, "3", "7")
    without = -(math.log(0.2) + 0.8 * math.log(0.5)) / 3
    with_result = -(math.log(0.8) + 0.8 * math.log(0.5)) / 3
    assert losses.without_call == pytest.approx(without, abs=1e-5)
    assert losses.without_result == pytest.approx(without, abs=1e-5)
    assert losses.with_result == pytest.approx(with_result, abs=1e-5)
    assert losses.gain == pytest.approx(math.log(4) / 3, abs=1e-5)


def test_filter_compares_with_the_better_of_no_call_and_no_result():
    assert Losses(3.0, 1.5, 1.0).gain == pytest.approx(0.5)
    assert is_kept(Losses(3.0, 1.5, 1.0), 0.5)
    assert not is_kept(Losses(3.0, 1.4, 1.0), 0.5)
    assert not is_kept(Losses(1.2, 3.0, 1.0), 0.5)


def test_filter_keeps_a_gain_of_exactly_tau():
    assert is_kept(Losses(2.0, 2.0, 1.0), 1.0)


def test_candidates_are_the_likeliest_positions_above_tau_in_text_order():
    # prompt 9; x = 1 2 3 4: p before x_0 = p(after 9) = 0.2, x_1 = 0.3 (after 1), x_2 = 0.05, x_3 = 0.6
    found = candidate_positions(TablePolicy(), [9], [1, 2, 3, 4], START, SETTINGS)
    assert [(c.index, round(c.probability, 6)) for c in found] == [(1, 0.3), (3, 0.6)]


def test_without_a_prompt_no_call_begins_before_the_first_token():
    found = candidate_positions(TablePolicy(), [], [1, 2, 3], START, SETTINGS)
    assert [c.index for c in found] == [1]


def test_annotate_keeps_the_helpful_call_and_says_why_the_others_were_dropped():
    policy = TablePolicy(sampled=([3], [3], [4]))
    results = {"3": ("7", ""), "4": ("6", "")}
    funnel = Funnel()
    settings = TeacherSettings(tau_s=0.25, tau_f=0.4, top_positions=1, samples_per_position=3)
    kept = annotate(policy, NOTATION, [9], [8], [1, 5, 4], results.__getitem__, settings, funnel)
    assert [(k.index, k.call, k.result) for k in kept] == [(1, "3", "7")]
    assert kept[0].losses.gain == pytest.approx(math.log(4) / 3, abs=1e-5)
    assert (funnel.candidates, funnel.proposed, funnel.executed, funnel.kept) == (1, 3, 2, 1)
    assert +funnel.dropped == {"repeated": 1, "does_not_help": 1}


def test_annotate_counts_calls_that_fail_or_do_not_end():
    policy = TablePolicy(sampled=([3], [4]))
    funnel = Funnel()
    settings = TeacherSettings(tau_s=0.25, tau_f=0.4, top_positions=1, samples_per_position=3)
    kept = annotate(policy, NOTATION, [9], [8], [1, 5, 4], lambda call: ("", "tool_error"), settings, funnel)
    assert kept == []
    assert +funnel.dropped == {"call_does_not_end": 1, "tool_error": 2}
    assert funnel.proposed == funnel.kept + funnel.dropped.total()


def test_a_stricter_filter_drops_the_same_call():
    funnel = Funnel()
    settings = TeacherSettings(tau_s=0.25, tau_f=0.47, top_positions=1, samples_per_position=1)
    policy = TablePolicy(sampled=([3],))
    assert annotate(policy, NOTATION, [9], [8], [1, 5, 4], lambda call: ("7", ""), settings, funnel) == []
    assert +funnel.dropped == {"does_not_help": 1}
