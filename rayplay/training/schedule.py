"""How many rows, epochs and steps -> which rows every optimizer step sees, decided before the first one.

The plan depends on the seed alone, never on the number of workers or on micro-batches: two workers, another budget or a
resumed run train on the same steps. Rows are dealt out evenly, so that no step is much smaller than the others.
"""

import bisect
import itertools
import math
import random
from collections.abc import Sequence

from rayplay.errors import ResourceError
from rayplay.records import seed_of


def plan_steps(
    families: Sequence[Sequence[int]],
    batch_size: int,
    num_epochs: float,
    max_steps: int | None,
    seed: int,
    num_workers: int = 1,
) -> list[list[int]]:
    """Row indices of each optimizer step. A fraction of an epoch takes that share of its steps; `max_steps` wins.

    Args:
        families: Row indices that stay together when the order is drawn (one each: rows are dealt one by one).
        batch_size: Rows of a step, at most.
        num_epochs: Passes over the rows.
        max_steps: Steps, whatever the epochs.
        seed: Decides the order.
        num_workers: Training workers.

    Raises:
        ResourceError: A step would have fewer rows than there are workers.
    """
    num_rows = sum(map(len, families))
    per_epoch = math.ceil(num_rows / batch_size)
    total = max_steps if max_steps is not None else max(1, round(per_epoch * num_epochs))
    steps: list[list[int]] = []
    while len(steps) < total:
        dealt = list(families)
        random.Random(seed_of(seed, "epoch", len(steps) // per_epoch)).shuffle(dealt)
        order = list(itertools.chain.from_iterable(dealt))
        bounds = _bounds(list(itertools.accumulate(map(len, dealt))), per_epoch, batch_size)
        steps.extend(order[a:b] for a, b in itertools.pairwise(bounds))
    fewest = min(map(len, steps))
    if fewest < num_workers:
        raise ResourceError(
            f"training: {num_rows} rows in {per_epoch} steps give {fewest} rows to the smallest step, "
            f"but training.num_workers is {num_workers}; lower it or raise training.batch_size"
        )
    return steps[:total]


def _bounds(ends: list[int], steps: int, batch_size: int) -> list[int]:
    """Where each of `steps` begins and the last one ends: evenly, but at the end of a family where one is near.

    Args:
        ends: One past the last row of each family, ascending.
        steps: Their number.
        batch_size: Rows of a step, at most.
    """
    total = ends[-1]
    bounds = [0]
    for left in range(steps - 1, -1, -1):
        goal = round((steps - left) * total / steps)
        lowest = max(total - left * batch_size, bounds[-1] + 1)
        highest = min(total - left, bounds[-1] + batch_size)
        after = bisect.bisect_left(ends, goal)
        near = [end for end in ends[max(after - 1, 0) : after + 1] if abs(end - goal) <= batch_size // 4]
        fitting = [end for end in near if lowest <= end <= highest]
        bounds.append(min(fitting, key=lambda end: abs(end - goal), default=min(max(goal, lowest), highest)))
    return bounds
