"""Intervals and tests against published and hand-computed values."""

import pytest

from rayplay.statistics import (
    bootstrap_mean_interval,
    mcnemar_exact,
    paired_bootstrap,
    quantile,
    transitions,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_agrees_with_published_examples(successes, n, low, high):
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_is_symmetric_and_touches_the_ends():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(7, 7)[1] == 1.0
    low, high = wilson_interval(3, 10)
    assert wilson_interval(7, 10) == pytest.approx((1 - high, 1 - low))


def test_wilson_interval_refuses_what_is_no_rate():
    for successes, n in ((5, 4), (-1, 4), (0, -1)):
        with pytest.raises(ValueError, match="no rate"):
            wilson_interval(successes, n)


def test_bootstrap_interval_holds_the_mean_and_repeats_with_its_seed():
    values = [0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0] * 10
    low, high = bootstrap_mean_interval(values, seed=3)
    assert low < 0.625 < high
    assert (low, high) == bootstrap_mean_interval(values, seed=3)
    assert bootstrap_mean_interval([2.0] * 5, seed=1) == (2.0, 2.0)
    assert bootstrap_mean_interval([], seed=1) == (0.0, 0.0)


def test_paired_bootstrap_sees_a_gain_that_is_the_same_on_every_item():
    found = paired_bootstrap([0.1, 0.5, 0.9], [0.3, 0.7, 1.1], seed=0)
    assert found["difference"] == pytest.approx(0.2)
    assert found["low"] == pytest.approx(0.2)
    assert found["p_not_better"] == 0.0


def test_paired_bootstrap_of_no_change_is_not_better():
    assert paired_bootstrap([1.0, 0.0], [1.0, 0.0])["p_not_better"] == 1.0
    assert paired_bootstrap([], [])["n"] == 0
    with pytest.raises(ValueError, match="one length"):
        paired_bootstrap([1.0], [])


@pytest.mark.parametrize(
    ("lost", "gained", "p"),
    [(0, 0, 1.0), (0, 5, 2 / 32), (1, 5, 2 * 7 / 64), (3, 3, 1.0), (10, 2, 2 * (1 + 12 + 66) / 4096)],
)
def test_mcnemar_is_the_doubled_binomial_tail(lost, gained, p):
    assert mcnemar_exact(lost, gained) == pytest.approx(p)
    assert mcnemar_exact(gained, lost) == pytest.approx(p)


def test_transitions_count_each_item_once():
    counts = transitions([True, True, False, False], [True, False, True, False])
    assert counts == {"kept": 1, "lost": 1, "gained": 1, "still_wrong": 1}


def test_quantile_is_linear_between_neighbours():
    assert quantile([0.0, 10.0], 0.25) == 2.5
    assert quantile([4.0], 0.9) == 4.0
