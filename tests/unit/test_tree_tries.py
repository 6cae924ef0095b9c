"""Tries: every token once, every row recoverable, and no row lost in splitting or sharing out."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayplay.training.trie import count_unique, fold, share_out, split

ROWS = st.lists(st.lists(st.integers(0, 2), max_size=8).map(tuple), min_size=1, max_size=8)


def distinct_prefixes(rows):
    return {row[:n] for row in rows for n in range(1, len(row) + 1)}


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_a_trie_has_each_distinct_prefix_once_and_gives_back_every_row(rows):
    trie = fold(rows)
    assert len(trie.tokens) == len(distinct_prefixes(rows)) == count_unique(rows)
    for row, path in zip(rows, trie.paths, strict=True):
        assert tuple(trie.tokens[node] for node in path) == row
        assert [trie.depths[node] for node in path] == list(range(len(row)))


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_a_node_sees_exactly_its_ancestors_and_itself(rows):
    trie = fold(rows)
    for path in trie.paths:
        for position, node in enumerate(path):
            seen = {j for j in range(len(trie.tokens)) if j <= node < trie.ends[j]}
            assert seen == set(path[: position + 1])


@given(ROWS, st.integers(1, 20), st.floats(0, 0.5))
@settings(max_examples=200, deadline=None)
def test_splitting_keeps_every_row_once_and_within_the_budget(rows, budget, attention_share):
    groups = split(rows, budget, attention_share)
    assert sorted(r for group in groups for r in group) == list(range(len(rows)))
    assert all(len(group) == 1 or count_unique([rows[r] for r in group]) <= budget for group in groups)


@given(ROWS, st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_sharing_out_gives_every_worker_rows_and_each_row_to_one(rows, parts):
    if len(rows) < parts:
        with pytest.raises(ValueError, match="cannot be shared"):
            share_out(rows, parts)
        return
    shares = share_out(rows, parts)
    assert len(shares) == parts
    assert all(shares)
    assert sorted(r for share in shares for r in share) == list(range(len(rows)))
    order = [r for share in shares for r in share]
    busiest = max(count_unique([rows[r] for r in share]) for share in shares)
    for cuts in itertools.combinations(range(1, len(rows)), parts - 1):
        other = [order[a:b] for a, b in itertools.pairwise((0, *cuts, len(rows)))]
        assert busiest <= max(count_unique([rows[r] for r in share]) for share in other)


def test_rows_that_share_nothing_stand_alone_and_rows_that_share_much_go_together():
    rng = random.Random(0)
    prefix = tuple(rng.randrange(1000) for _ in range(300))
    apart = [tuple(rng.randrange(1000) for _ in range(340)) for _ in range(6)]
    together = [prefix + tuple(rng.randrange(1000) for _ in range(40)) for _ in range(6)]
    assert [len(group) for group in split(apart, 4096, 3e-4)] == [1] * 6
    assert [len(group) for group in split(together, 4096, 3e-4)] == [6]
