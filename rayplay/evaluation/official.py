"""BFCL verdicts of several policies -> accuracies side by side, what changed, and the transcripts behind it."""

import json
from pathlib import Path
from statistics import fmean

from rayplay.evaluation.bfcl import Verdict, accuracy_table
from rayplay.metrics import mean_with_interval
from rayplay.records import Json
from rayplay.statistics import mcnemar_exact, paired_bootstrap, transitions


def table_of_repeats(repeats: list[list[Verdict]]) -> dict[str, dict[str, Json]]:
    """`accuracy_table`; where cases were asked several times, their mean, with an interval over cases, not answers."""
    table = accuracy_table(repeats[0])
    if len(repeats) == 1:
        return table
    rounds = [accuracy_table(verdicts) for verdicts in repeats]
    for category, by_label in _by_case(repeats).items():
        for label, cases in by_label.items():
            mean = mean_with_interval([fmean(valid) for valid in cases.values()])
            row = {"accuracy": mean["mean"], "low": mean["low"], "high": mean["high"]}
            table[category][label] |= row | {"by_repeat": [one[category][label]["accuracy"] for one in rounds]}
    return table


def changes(repeats: list[list[Verdict]], before: str, after: str) -> dict[str, Json]:
    """{category: `compare` of the first repeat's verdicts, with the gain over the means of all repeats}."""
    found = {}
    for category, by_label in _by_case(repeats).items():
        if before in by_label and after in by_label:
            cases = sorted(by_label[before].keys() & by_label[after].keys())
            old, new = ([by_label[label][case] for case in cases] for label in (before, after))
            found[category] = compare([valid[0] for valid in old], [valid[0] for valid in new])
            found[category]["gain"] = paired_bootstrap([*map(fmean, old)], [*map(fmean, new)])
    return found


def _by_case(repeats: list[list[Verdict]]) -> dict[str, dict[str, dict[str, list[bool]]]]:
    """{category: {label: {case: whether each repeat was right}}}."""
    found: dict[str, dict[str, dict[str, list[bool]]]] = {}
    for verdict in (v for verdicts in repeats for v in verdicts):
        by_case = found.setdefault(verdict.category, {}).setdefault(verdict.model, {})
        by_case.setdefault(verdict.case, []).append(verdict.valid)
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
