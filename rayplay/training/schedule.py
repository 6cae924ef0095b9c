"""How many rows, epochs and steps -> which rows every optimizer step sees, decided before the first one.

The plan depends on the seed alone, never on the number of workers or on micro-batches: two workers, another budget or a
resumed run train on the same steps. Rows are dealt out evenly, so that no step is much smaller than the others.
"""

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
    if num_rows // per_epoch < num_workers:
        raise ResourceError(
            f"training: {num_rows} rows in {per_epoch} steps give {num_rows // per_epoch} rows a step, "
            f"but training.num_workers is {num_workers}; lower it or raise training.batch_size"
        )
    total = max_steps if max_steps is not None else max(1, round(per_epoch * num_epochs))
    steps: list[list[int]] = []
    while len(steps) < total:
        dealt = list(families)
        random.Random(seed_of(seed, "epoch", len(steps) // per_epoch)).shuffle(dealt)
        order = list(itertools.chain.from_iterable(dealt))
        bounds = [round(i * num_rows / per_epoch) for i in range(per_epoch + 1)]
        steps.extend(order[a:b] for a, b in itertools.pairwise(bounds))
    return steps[:total]
