"""Rows of token ids -> a prefix trie: each shared token once, numbered depth first.

With depth-first numbers the subtree of node j is the interval [j, end[j]), so "j is an ancestor of i, or i itself" is
`j <= i < end[j]`: two vectors describe the whole attention mask. Rows in lexicographic order share with a trie exactly
what they share with the row before them, so no dictionary of children is needed.

Shapes: U unique tokens (nodes), R rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Tokens = Sequence[int]
TRIE_OVERHEAD = 16  # what starting one more forward pass costs, in tokens


@dataclass(frozen=True)
class Trie:
    """Unique tokens in depth-first order, and where each row runs through them."""

    tokens: list[int]  # (U,)
    depths: list[int]  # (U,) = position of the token in its row
    ends: list[int]  # (U,) one past the last node of the subtree
    paths: list[list[int]]  # (R,) of (row length,): the nodes of each row, in the caller's order of rows


def fold(rows: Sequence[Tokens]) -> Trie:
    """The trie of `rows`; an empty row has an empty path."""
    order = sorted(range(len(rows)), key=lambda r: rows[r])
    tokens: list[int] = []
    depths: list[int] = []
    ends: list[int] = []
    paths: list[list[int]] = [[] for _ in rows]
    previous: Tokens = ()
    path: list[int] = []
    for r in order:
        row = rows[r]
        shared = shared_length(previous, row)
        new = range(len(tokens), len(tokens) + len(row) - shared)
        tokens.extend(row[shared:])
        depths.extend(range(shared, len(row)))
        ends.extend([0] * len(new))
        path = path[:shared] + list(new)
        for node in path:
            ends[node] = len(tokens)
        paths[r] = path
        previous = row
    return Trie(tokens, depths, ends, paths)


def count_unique(rows: Sequence[Tokens]) -> int:
    """Nodes of the trie of `rows`, without building it."""
    return sum(_fresh(sorted(rows)))


def split(rows: Sequence[Tokens], max_unique: int, attention_share: float = 0.0) -> list[list[int]]:
    """Indices of `rows` in groups, each to be one trie: neighbours that are cheaper together than apart.

    A trie of U tokens costs U + attention_share * U**2 + TRIE_OVERHEAD token-forwards, since a dense mask lets the
    hardware compute every pair of tokens. Rows that share nothing therefore stand alone, rows with a long common prefix
    go together.

    Args:
        rows: Token ids.
        max_unique: Unique tokens of one trie. A longer row stands alone: it is never cut.
        attention_share: Cost of attention between two tokens, in units of all else that one token costs; 0 where the
            kernel skips what the mask hides.
    """
    groups: list[list[int]] = []
    size = 0
    previous: Tokens = ()
    for r in sorted(range(len(rows)), key=lambda r: rows[r]):
        length = len(rows[r])
        new = length - shared_length(previous, rows[r])
        together = new + attention_share * ((size + new) ** 2 - size**2)
        apart = length + attention_share * length**2 + TRIE_OVERHEAD
        if not groups or size + new > max_unique or together > apart:
            groups.append([])
            size, new = 0, length
        groups[-1].append(r)
        size += new
        previous = rows[r]
    return groups


def families(rows: Sequence[Tokens]) -> list[list[int]]:
    """Indices of `rows` in groups that share at least half of their tokens with a neighbour in lexicographic order."""
    found: list[list[int]] = []
    previous: Tokens = ()
    for r in sorted(range(len(rows)), key=lambda r: rows[r]):
        if not found or 2 * shared_length(previous, rows[r]) < min(len(previous), len(rows[r])):
            found.append([])
        found[-1].append(r)
        previous = rows[r]
    return sorted(found)


def share_out(rows: Sequence[Tokens], parts: int) -> list[list[int]]:
    """Indices of `rows` in `parts` runs of lexicographic order, none empty, with the least work for the busiest.

    A run costs the nodes of its own trie: what its first row shares with the run before is forwarded again.

    Raises:
        ValueError: There are fewer rows than parts.
    """
    if len(rows) < parts:
        raise ValueError(f"{len(rows)} rows cannot be shared by {parts} workers")
    order = sorted(range(len(rows)), key=lambda r: rows[r])
    ordered = [rows[r] for r in order]
    fresh = _fresh(ordered)
    costs = list(zip(order, map(len, ordered), fresh, strict=True))
    low, high = max(map(len, rows)), sum(fresh)
    while low < high:
        limit = (low + high) // 2
        low, high = (low, limit) if len(_runs(costs, limit)) <= parts else (limit + 1, high)
    runs = _runs(costs, low)
    while len(runs) < parts:
        longest = max(runs, key=len)
        at, half = runs.index(longest), len(longest) // 2
        runs[at : at + 1] = [longest[:half], longest[half:]]
    return runs


def _runs(costs: Sequence[tuple[int, int, int]], limit: int) -> list[list[int]]:
    """The fewest runs of rows, (index, length, nodes beyond the row before) each, with at most `limit` nodes."""
    runs: list[list[int]] = []
    size = 0
    for r, length, new in costs:
        size += new
        if not runs or size > limit:
            runs.append([])
            size = length
        runs[-1].append(r)
    return runs


def _fresh(ordered: Sequence[Tokens]) -> list[int]:
    """Nodes that each row adds to the trie of the rows before it; the rows are in lexicographic order."""
    return [len(b) - shared_length(a, b) for a, b in zip([(), *ordered[:-1]], ordered, strict=True)]


def shared_length(a: Tokens, b: Tokens) -> int:
    """Number of leading tokens that `a` and `b` have in common."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while low + 1 < high:  # invariant: a[:low] == b[:low] and a[:high] != b[:high]
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low
