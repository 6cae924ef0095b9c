"""Rows and Pairs -> the columns that TRL's trainers read, token for token; what cannot be trained on is named.

`labels` and the `*_mask` columns keep tool output and prompt out of the loss. Nothing is cut: a row that is longer than
the limit, or that has no token with loss, is left out and its id reported.
"""

from collections.abc import Sequence
from typing import NamedTuple

from datasets import Dataset, Features, List, Value

from rayplay.errors import DataError
from rayplay.records import Pair, Row

IGNORED = -100
IDS = List(Value("int64"))


class Usable(NamedTuple):
    """What can be trained on, and the ids of what cannot with the reason."""

    kept: list
    left_out: dict[str, str]


def usable_rows(rows: Sequence[Row | Pair], max_length: int) -> Usable:
    """Rows or pairs that fit in `max_length` tokens and carry loss (on both sides, for pairs).

    Raises:
        DataError: A mask has another length than its ids, or nothing is left.
    """
    kept, left_out = [], {}
    for row in rows:
        problem = _problem_of_pair(row, max_length) if isinstance(row, Pair) else _problem_of_row(row, max_length)
        if problem:
            left_out[row.pair_id if isinstance(row, Pair) else row.row_id] = problem
        else:
            kept.append(row)
    if not kept:
        reason = next(iter(left_out.items()), ("", "there were none to begin with"))
        raise DataError(f"no rows left to train on; first: {' '.join(reason).strip()}")
    return Usable(kept, left_out)


def prompt_of(row: Row | Pair) -> tuple[int, ...]:
    """What stands before the first token with loss."""
    return row.prompt_ids if isinstance(row, Pair) else row.token_ids[: row.mask.index(1)]


def sft_columns(rows: Sequence[Row]) -> Dataset:
    """Rows -> input_ids and labels (ignored where the mask is 0)."""
    labels = [[t if m else IGNORED for t, m in zip(r.token_ids, r.mask, strict=True)] for r in rows]
    return Dataset.from_dict(
        {"input_ids": [list(r.token_ids) for r in rows], "labels": labels},
        features=Features({"input_ids": IDS, "labels": IDS}),
    )


def dpo_columns(pairs: Sequence[Pair]) -> Dataset:
    """Pairs -> prompt, chosen and rejected ids with their masks."""
    names = ("prompt_ids", "chosen_ids", "rejected_ids", "chosen_mask", "rejected_mask")
    columns = {name: [list(getattr(pair, name)) for pair in pairs] for name in names}
    return Dataset.from_dict(columns, features=Features(dict.fromkeys(names, IDS)))


def kto_columns(rows: Sequence[Row]) -> Dataset:
    """Labelled rows -> prompt and completion ids with the completion's mask; it starts at the first token with loss."""
    starts = [len(prompt_of(row)) for row in rows]
    columns = {
        "prompt_ids": [list(row.token_ids[:start]) for row, start in zip(rows, starts, strict=True)],
        "completion_ids": [list(row.token_ids[start:]) for row, start in zip(rows, starts, strict=True)],
        "completion_mask": [list(row.mask[start:]) for row, start in zip(rows, starts, strict=True)],
    }
    labels = {"label": [bool(row.label) for row in rows]}
    return Dataset.from_dict(
        columns | labels, features=Features(dict.fromkeys(columns, IDS) | {"label": Value("bool")})
    )


def grpo_columns(rows: Sequence[Row]) -> Dataset:
    """Rows with advantages -> prompt and completion ids with the completion's mask."""
    data = kto_columns(rows).remove_columns("label")
    return data.add_column("advantage", [float(row.advantage or 0.0) for row in rows])


def rows_with_advantage(rows: Sequence[Row]) -> list[Row]:
    """The rows themselves.

    Raises:
        DataError: A row has no advantage (pairs and demonstrations have none).
    """
    missing = next((row for row in rows if getattr(row, "advantage", None) is None), None)
    if missing is not None:
        raise DataError("grpo needs rows with an advantage: groups of scored samples of the same task")
    return list(rows)


def labelled_rows(rows: Sequence[Row | Pair]) -> list[Row]:
    """Pairs -> their two sides as desirable and undesirable rows, each distinct row once; Rows stay as they are.

    Raises:
        DataError: A row has no label.
    """
    result: dict[tuple, Row] = {}
    for row in rows:
        for side in _sides(row) if isinstance(row, Pair) else (row,):
            if side.label is None:
                raise DataError(f"row {side.row_id}: kto needs a label (true = desirable); it has none")
            result.setdefault((side.token_ids, side.mask, side.label), side)
    return list(result.values())


def _sides(pair: Pair) -> tuple[Row, Row]:
    quiet = (0,) * len(pair.prompt_ids)
    return (
        Row(
            row_id=f"{pair.pair_id}/chosen",
            token_ids=pair.prompt_ids + pair.chosen_ids,
            mask=quiet + pair.chosen_mask,
            label=True,
        ),
        Row(
            row_id=f"{pair.pair_id}/rejected",
            token_ids=pair.prompt_ids + pair.rejected_ids,
            mask=quiet + pair.rejected_mask,
            label=False,
        ),
    )


def _problem_of_row(row: Row, max_length: int) -> str:
    if len(row.mask) != len(row.token_ids):
        raise DataError(f"row {row.row_id}: {len(row.token_ids)} token ids but a mask of {len(row.mask)}")
    if len(row.token_ids) > max_length:
        return f"has {len(row.token_ids)} tokens, model.max_length is {max_length}"
    return "" if any(row.mask[1:]) else "has no token with loss"


def _problem_of_pair(pair: Pair, max_length: int) -> str:
    for side, ids, mask in (
        ("chosen", pair.chosen_ids, pair.chosen_mask),
        ("rejected", pair.rejected_ids, pair.rejected_mask),
    ):
        if len(mask) != len(ids):
            raise DataError(f"pair {pair.pair_id}: {len(ids)} {side} ids but a mask of {len(mask)}")
        length = len(pair.prompt_ids) + len(ids)
        if length > max_length:
            return f"has {length} tokens on the {side} side, model.max_length is {max_length}"
        if not pair.prompt_ids or not any(mask):
            return f"has no token with loss on the {side} side" if pair.prompt_ids else "has no prompt"
    return ""
