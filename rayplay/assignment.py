"""Weights of all pairs -> the pairs of greatest total weight, each row and column used once at most."""

import math
from collections.abc import Sequence
from fractions import Fraction


def assign(weights: Sequence[Sequence[Fraction]]) -> dict[int, int]:
    """Row -> column, min(rows, columns) pairs of greatest total weight; exact, so that no order of either matters.

    The Hungarian method with potentials (Kuhn 1955, Jonker and Volgenant 1987), O(rows^2 * columns).

    Args:
        weights: [rows][columns]; any number.
    """
    if not weights or not weights[0]:
        return {}
    if len(weights) > len(weights[0]):
        return {row: column for column, row in assign(list(zip(*weights, strict=True))).items()}
    scale = math.lcm(*(weight.denominator for row in weights for weight in row))
    costs = [[-int(weight * scale) for weight in row] for row in weights]
    return _cheapest(costs)


def _cheapest(costs: list[list[int]]) -> dict[int, int]:
    """Row -> column of least total cost; no more rows than columns."""
    columns = len(costs[0])
    of_rows, of_columns = [0] * len(costs), [0] * (columns + 1)  # potentials
    row_at: list[int] = [-1] * (columns + 1)  # the row that holds each column; the last one is where a new row waits
    for row in range(len(costs)):
        row_at[columns] = row
        column = columns
        least, before, done = [math.inf] * columns, [columns] * columns, [False] * (columns + 1)
        while row_at[column] >= 0:
            done[column] = True
            held = row_at[column]
            for j in (j for j in range(columns) if not done[j]):
                reduced = costs[held][j] - of_rows[held] - of_columns[j]
                if reduced < least[j]:
                    least[j], before[j] = reduced, column
            nearest = min((j for j in range(columns) if not done[j]), key=least.__getitem__)
            step = least[nearest]
            for j in range(columns + 1):
                if done[j]:
                    of_rows[row_at[j]] += step
                    of_columns[j] -= step
                elif j < columns:
                    least[j] -= step
            column = nearest
        while column != columns:
            row_at[column] = row_at[before[column]]
            column = before[column]
    return {row: column for column, row in enumerate(row_at[:columns]) if row >= 0}
