"""Counts and scores -> intervals and tests: what may be claimed from n observations.

Pure Python, so that every number of an evaluation can be recomputed without a numerical library. All draws come from a
seed. An empty sample has no interval: it is (0, 1) for a rate and (0, 0) for a mean, and its n of 0 stands beside it.
"""

import math
import random
from collections.abc import Sequence

Z_95 = 1.959963984540054  # the 97.5 % point of the standard normal distribution


def wilson_interval(successes: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a rate (Wilson 1927, JASA 22:209); stays inside [0, 1] and is not empty at 0 or n.

    `successes` may be a fraction where a rate is a mean of partial scores; the interval is then only wider.

    Raises:
        ValueError: n is negative, or successes lies outside 0..n.
    """
    if n < 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} is no rate")
    if n == 0:
        return 0.0, 1.0
    rate, z2 = successes / n, Z_95**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def bootstrap_mean_interval(values: Sequence[float], seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """The 95 % percentile interval of a mean (Efron 1979): resample `values` with replacement `draws` times."""
    if not values:
        return 0.0, 0.0
    chance, n = random.Random(seed), len(values)
    means = sorted(math.fsum(chance.choices(values, k=n)) / n for _ in range(draws))
    return quantile(means, 0.025), quantile(means, 0.975)


def paired_bootstrap(a: Sequence[float], b: Sequence[float], seed: int = 0, draws: int = 2000) -> dict[str, float]:
    """How much better `b` is than `a` on the same items, in the same order.

    Returns:
        `difference` mean(b) - mean(a); `low` and `high` its 95 % percentile interval; `n`; and `p_not_better`, the
        share of resamples in which b does not beat a (one-sided, ties count against b: Koehn 2004).

    Raises:
        ValueError: The two do not have the same length.
    """
    if len(a) != len(b):
        raise ValueError(f"paired samples must have one length, not {len(a)} and {len(b)}")
    gains = [after - before for before, after in zip(a, b, strict=True)]
    if not gains:
        return {"difference": 0.0, "low": 0.0, "high": 0.0, "p_not_better": 1.0, "n": 0}
    chance, n = random.Random(seed), len(gains)
    means = sorted(math.fsum(chance.choices(gains, k=n)) / n for _ in range(draws))
    return {
        "difference": math.fsum(gains) / n,
        "low": quantile(means, 0.025),
        "high": quantile(means, 0.975),
        "p_not_better": sum(mean <= 0 for mean in means) / draws,
        "n": n,
    }


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided exact p of McNemar's test: `b` items went right to wrong, `c` wrong to right; the rest says nothing.

    The binomial tail at one half, doubled and capped at 1 (McNemar 1947; exact form: Fagerland et al. 2013).

    Raises:
        ValueError: A count is negative.
    """
    if b < 0 or c < 0:
        raise ValueError(f"counts of changed items cannot be negative: {b}, {c}")
    n = b + c
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, k) for k in range(min(b, c) + 1))
    return min(1.0, 2 * tail / 2**n)


def transitions(before: Sequence[bool], after: Sequence[bool]) -> dict[str, int]:
    """Counts of right and wrong in two runs over the same items: `kept`, `lost`, `gained`, `still_wrong`.

    Raises:
        ValueError: The two do not have the same length.
    """
    names = {(True, True): "kept", (True, False): "lost", (False, True): "gained", (False, False): "still_wrong"}
    counts = dict.fromkeys(names.values(), 0)
    for pair in zip(before, after, strict=True):
        counts[names[(bool(pair[0]), bool(pair[1]))]] += 1
    return counts


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value at `share` of an ascending sample, linear between neighbours (type 7 of Hyndman and Fan 1996)."""
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
