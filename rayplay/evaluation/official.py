"""BFCL verdicts of several policies -> accuracies side by side, what changed, and the transcripts behind it."""

import json
from collections.abc import Iterable
from pathlib import Path

from rayplay.evaluation.bfcl import Verdict, accuracy_table
from rayplay.records import Json
from rayplay.statistics import bootstrap_mean_interval, mcnemar_exact, paired_bootstrap, transitions


def table_of_repeats(repeats: list[list[Verdict]]) -> dict[str, dict[str, Json]]:
    """`accuracy_table`; where cases were asked several times, their mean, with an interval over cases, not answers."""
    table = accuracy_table(repeats[0])
    if len(repeats) == 1:
        return table
    rounds = [accuracy_table(verdicts) for verdicts in repeats]
    for category, rows in table.items():
        for label, row in rows.items():
            by_case: dict[str, list[float]] = {}
            for verdict in (v for verdicts in repeats for v in verdicts):
                if (verdict.category, verdict.model) == (category, label):
                    by_case.setdefault(verdict.case, []).append(float(verdict.valid))
            means = [sum(values) / len(values) for values in by_case.values()]
            low, high = bootstrap_mean_interval(means, seed=0)
            by_repeat = [one[category][label]["accuracy"] for one in rounds]
            row |= {"accuracy": sum(means) / len(means), "low": low, "high": high, "by_repeat": by_repeat}
    return table


def changes(verdicts: Iterable[Verdict], before: str, after: str) -> dict[str, Json]:
    """{category: right/wrong transitions, McNemar's p, and the paired bootstrap of the gain}."""
    right: dict[str, dict[str, dict[str, bool]]] = {}
    for verdict in verdicts:
        right.setdefault(verdict.category, {}).setdefault(verdict.model, {})[verdict.case] = verdict.valid
    found = {}
    for category, by_label in right.items():
        if before in by_label and after in by_label:
            cases = sorted(by_label[before].keys() & by_label[after].keys())
            old = [by_label[before][case] for case in cases]
            new = [by_label[after][case] for case in cases]
            found[category] = compare(old, new)
    return found


def compare(before: list[bool], after: list[bool]) -> Json:
    """Transitions between two runs over the same items, McNemar's exact p, and the gain with its 95 % interval."""
    counts = transitions(before, after)
    gain = paired_bootstrap([float(v) for v in before], [float(v) for v in after])
    return {"transitions": counts, "mcnemar_p": mcnemar_exact(counts["lost"], counts["gained"]), "gain": gain}


def bfcl_transcripts(folder: Path, names: dict[str, str]) -> dict[str, dict[str, Json]]:
    """{case: {label: {"prompt", "answer"}}} from the result files; `names` maps labels to names in BFCL's files."""
    found: dict[str, dict[str, Json]] = {}
    for label, name in names.items():
        for path in sorted((folder / "result" / name).rglob("*_result.json")):
            for entry in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
                shown = {"prompt": _prompt(entry), "answer": json.dumps(entry["result"], ensure_ascii=False)}
                found.setdefault(entry["id"], {})[label] = shown
    return found


def _prompt(entry: Json) -> str:
    log = entry.get("inference_log") or []
    if log and isinstance(log[0], dict) and log[0].get("role") == "inference_input":
        return str(log[0]["content"].get("message", ""))
    return "\n".join(str(part.get("begin_of_turn_query", "")) for part in log if isinstance(part, dict))
