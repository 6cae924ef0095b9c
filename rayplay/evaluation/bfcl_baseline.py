"""Right answers, or empty ones -> the accuracies that they get through the whole path: the harness proves itself.

Gold must reach 1.0, but for cases whose official answers do not pass the official checker; empty answers must reach
0.0, and 1.0 on irrelevance, where saying nothing is right.
"""

from pathlib import Path
from typing import NamedTuple

from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl import (
    Contestant,
    Facts,
    Verdict,
    accuracy_table,
    choose_cases,
    keep_verdicts,
    official_run,
    read_cases,
    read_facts,
    resolve_categories,
)
from rayplay.evaluation.bfcl_endpoint import AnswerBook, answering_endpoint
from rayplay.records import Json


class Known(NamedTuple):
    """Cases whose right answers are known, and where they come from."""

    facts: Facts
    chosen: dict[str, list[str]]
    cases: list[Json]


def choose_known(categories: list[str], *, empty: bool, limit: int | None, seed: int) -> Known:
    """The cases to answer; nothing is written.

    Raises:
        EvaluationError: A category is unknown, or has no right calls to give (agentic ones are judged by their text).
    """
    facts = read_facts()
    chosen = choose_cases(facts, resolve_categories(categories, facts), limit, seed)
    cases = read_cases(chosen)
    unanswerable = sorted({case["category"] for case in cases if case["gold"] is None})
    if unanswerable and not empty:
        raise EvaluationError(f"--gold: BFCL holds no right calls for {', '.join(unanswerable)}; leave them out")
    return Known(facts, chosen, cases)


def score_baseline(folder: Path, known: Known, *, empty: bool) -> Json:
    """{"bfcl": {category: accuracy, interval, n, "failing" ids where gold fails}, "data": version and hash}."""
    facts, chosen, cases = known
    label = "empty" if empty else "gold"
    verdicts: list[Verdict] = []
    for batch in _batches(chosen):
        book = AnswerBook([case for case in cases if case["category"] in batch], empty=empty)
        with answering_endpoint(book) as endpoint:
            verdicts += official_run(folder, batch, [Contestant(label, label)], endpoint)
    keep_verdicts(folder, chosen, verdicts)
    table: dict[str, Json] = {category: rows[label] for category, rows in accuracy_table(verdicts).items()}
    if not empty:
        for verdict in verdicts:
            if not verdict.valid:
                table[verdict.category].setdefault("failing", []).append(verdict.case)
    return {"bfcl": table, "data": facts.model_dump(include={"package", "data", "data_sha256"})}


def _batches(chosen: dict[str, list[str]]) -> list[dict[str, list[str]]]:
    """Multi-turn categories share conversations but not their answers, so each is asked apart."""
    together = {category: ids for category, ids in chosen.items() if not category.startswith("multi_turn")}
    apart = [{category: ids} for category, ids in chosen.items() if category.startswith("multi_turn")]
    return [batch for batch in [together, *apart] if batch]
