"""Committed stages -> report.json, report.html and the table in the terminal."""

import io
import json
from collections import Counter

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from rayplay.console import Say
from rayplay.errors import RunFolderError
from rayplay.evaluation.official import compare
from rayplay.pairs import describe
from rayplay.records import Json, Pair, Trajectory
from rayplay.rewards import success
from rayplay.run import Run
from rayplay.sinks import for_cell, for_html, for_line
from rayplay.store import RunFolder, Stage, read_lines, round_name, write_file, write_json

MOST_COLUMNS = 4  # stages side by side in 80 characters
BFCL = "bfcl_"  # before a category's name among the metrics of a stage
ENVIRONMENT = ("rayplay", "packages", "python", "machine", "model", "isolation", "mcp")
SHOWN = (
    "success_rate",
    "tool_accuracy",
    "argument_accuracy",
    "format_correctness",
    "execution_success",
    "response_quality",
    "unneeded_call_rate",
)


def write_report(run: Run) -> None:
    """report.json and report.html of a run whose stages are all committed."""
    folder = run.folder
    report = make_report(folder)
    write_json(folder.path / "report.json", report)
    transcripts = compare_transcripts(folder, run.recipe.evaluation.transcripts)
    write_file(folder.path / "report.html", make_page(folder.path.name, report, transcripts).encode())


def make_report(folder: RunFolder) -> Json:
    """What the run achieved and cost: stages with metrics, pairs by reason, tokens, seconds, environment.

    Raises:
        RunFolderError: A file of the folder has not the shape that a run gives it.
    """
    try:
        return _report_of(folder)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise RunFolderError(f"{folder.path}: a file there is not as a run writes it ({error!r})") from error


def _report_of(folder: RunFolder) -> Json:
    stages, seconds, tokens, reasons = [], {}, Counter(), Counter()
    for stage in folder.stages():
        facts = stage.facts()
        seconds[stage.name] = round(facts["seconds"], 1)
        seconds |= {f"{stage.name}/{part}": round(spent, 1) for part, spent in facts.get("parts", {}).items()}
        tokens.update(facts.get("tokens", {}))
        if (stage.path / "metrics.json").is_file():
            measured = json.loads((stage.path / "metrics.json").read_text())
            measured["metrics"] |= _bfcl_metrics(stage)
            stages.append({"name": stage.name, **measured})
        if (stage.path / "pairs.jsonl").is_file():
            reasons.update(pair.reason.value for pair in read_lines(stage.path / "pairs.jsonl", Pair))
    manifest = folder.manifest()
    return {
        "about": manifest["recipe"]["about"],
        "stages": stages,
        "gains": stage_gains(folder),
        "pairs": {"total": sum(reasons.values()), "by_reason": dict(reasons.most_common())},
        "tokens": dict(tokens),
        "seconds": seconds,
        "environment": {key: manifest[key] for key in ENVIRONMENT},
        "recipe_hash": manifest["recipe_hash"],
    }


def stage_gains(folder: RunFolder) -> list[Json]:
    """What each evaluated stage added on the same tasks: transitions, McNemar's p, and the gain.

    A stage is held against the one before it; methods that are compared, against the policy that all started from.
    """
    evaluated = [
        (stage.name, {t.task.task_id: success(t) == 1.0 for t in _evaluation(stage)})
        for stage in folder.stages()
        if (stage.path / "evaluation").is_dir()
    ]
    gains = []
    for index, (after, new) in enumerate(evaluated[1:], start=1):
        before, old = next(e for e in reversed(evaluated[:index]) if e[0].count("-") < 2)
        both = sorted(old.keys() & new.keys())
        gains.append({"from": before, "to": after, **compare([old[t] for t in both], [new[t] for t in both])})
    return gains


def print_table(folder: RunFolder, say: Say) -> None:
    """The table from base to the last round, the pairs, and where the time went."""
    report = json.loads((folder.path / "report.json").read_text(encoding="utf-8"))
    say.console.print(_table_of(report["stages"]))
    for gain in report.get("gains", ()):
        say.line(f"{gain['from']} -> {gain['to']}: {_gain(gain)}")
    pairs = report["pairs"]
    if pairs["total"]:
        say.line(f"{pairs['total']} pairs: " + ", ".join(f"{n} {reason}" for reason, n in pairs["by_reason"].items()))
    parts = {name: s for name, s in report["seconds"].items() if "/" in name and s >= 0.5}
    say.line("time: " + ", ".join(f"{name} {s:.0f} s" for name, s in parts.items()))
    spent = sum(s for name, s in report["seconds"].items() if "/" not in name)
    say.line(f"in all {spent / 60:.1f} minutes")
    tokens = report["tokens"]
    say.line(
        f"tokens: {tokens.get('generated', 0)} generated, {tokens.get('trained', 0)} trained on "
        f"({tokens.get('trained_unique', 0)} forwarded, the rest shared)"
    )
    say.line(f"report: {folder.path / 'report.html'}")


def _table_of(stages: list[Json]) -> Table:
    """A column a stage, or, where there are too many for a terminal, a row a stage."""
    table = Table(Column("held-out (95 %)", no_wrap=True), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    across = len(stages) <= MOST_COLUMNS
    metrics = shown_metrics(stages) if across else ["success_rate", "tool_accuracy", "response_quality"]
    for name in [s["name"] for s in stages] if across else [m.replace("_", " ") for m in metrics]:
        table.add_column(for_cell(name), justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    cells = {(m, s["name"]): s["metrics"].get(m) for m in metrics for s in stages}
    shown = {key: f"{c['mean']:.2f} [{c['low']:.2f}-{c['high']:.2f}]" if c else "-" for key, c in cells.items()}
    for metric in metrics if across else ():
        last = cells[metric, stages[-1]["name"]]
        row = [shown[metric, stage["name"]] for stage in stages]
        table.add_row(for_cell(metric.replace("_", " ")), *row, str(last["n"]) if last else "-")
    for stage in () if across else stages:
        row = [shown[metric, stage["name"]] for metric in metrics]
        table.add_row(for_cell(_short(stage["name"])), *row, str(stage["n"]))
    return table


def shown_metrics(stages: list[Json]) -> list[str]:
    """Names of the metrics in tables: the run's own, then BFCL's categories where the recipe asked for them."""
    return [*SHOWN, *dict.fromkeys(m for stage in stages for m in stage["metrics"] if m.startswith(BFCL))]


def compare_transcripts(folder: RunFolder, count: int) -> list[tuple[Trajectory, Trajectory]]:
    """The same held-out tasks before and after: first those that changed, one of each kind where possible."""
    evaluated = [s for s in folder.stages() if (s.path / "evaluation").is_dir()]
    if len(evaluated) < 2:
        return []
    before, after = ({t.task.task_id: t for t in _evaluation(s)} for s in (evaluated[0], evaluated[-1]))
    both = [(before[task], after[task]) for task in after if task in before]
    both.sort(key=lambda pair: pair[0].reward - pair[1].reward)
    kinds: Counter[str] = Counter()
    ranked = []
    for pair in both:
        ranked.append((kinds[pair[0].task.kind], len(ranked), pair))
        kinds[pair[0].task.kind] += 1
    return [pair for _, _, pair in sorted(ranked, key=lambda entry: entry[:2])][:count]


def plot_stages(stages: list[Json]) -> str:
    """An SVG of every shown metric by stage, with 95 % intervals."""
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    names = [for_line(_short(stage["name"])) for stage in stages]
    for offset, metric in enumerate(SHOWN[:6]):
        cells = [stage["metrics"].get(metric) for stage in stages]
        at = [i + (offset - 2.5) * 0.07 for i, cell in enumerate(cells) if cell]
        cells = [cell for cell in cells if cell]
        errors = [[c["mean"] - c["low"] for c in cells], [c["high"] - c["mean"] for c in cells]]
        axes.errorbar(at, [c["mean"] for c in cells], errors, marker="o", capsize=2, label=metric.replace("_", " "))
    axes.set_xticks(range(len(names)), names, parse_math=False)  # a "$" in a name is no formula
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("held-out mean, 95 % interval")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue().partition("?>\n")[2]


def make_page(name: str, report: Json, transcripts: list[tuple[Trajectory, Trajectory]]) -> str:
    """The page: table, plot, pairs, time, and transcripts before and after. It loads nothing from elsewhere."""
    head = "".join(f"<th>{for_html(_short(stage['name']))}</th>" for stage in report["stages"])
    rows = "".join(
        f"<tr><td>{for_html(metric.replace('_', ' '))}</td>"
        + "".join(f"<td>{_cell(stage['metrics'].get(metric))}</td>" for stage in report["stages"])
        + "</tr>"
        for metric in shown_metrics(report["stages"])
    )
    gains = "".join(
        f"<p>{for_html(gain['from'])} &rarr; {for_html(gain['to'])}: {for_html(_gain(gain))}</p>"
        for gain in report["gains"]
    )
    kinds = "".join(_kind_rows(report["stages"]))
    pairs = "".join(
        f"<tr><td>{for_html(reason)}</td><td>{for_html(n)}</td></tr>"
        for reason, n in report["pairs"]["by_reason"].items()
    )
    times = "".join(f"<tr><td>{for_html(what)}</td><td>{s:.0f}</td></tr>" for what, s in report["seconds"].items())
    shown = "".join(
        f"<h3>{for_html(b.task.kind)}: {for_html(b.task.messages[-1].content)}</h3><div class=two>"
        f"<div><b>before</b>{_transcript(b)}</div><div><b>after</b>{_transcript(a)}</div></div>"
        for b, a in transcripts
    )
    return (
        f"<!doctype html><meta charset=utf-8><title>{for_html(name)}</title><style>{STYLE}</style>"
        f"<h1>{for_html(name)}</h1><p>{for_html(report['about'])}</p>"
        f"<table><tr><th></th>{head}</tr>{rows}</table>{gains}{plot_stages(report['stages'])}"
        f"<h2>Success rate by kind of task</h2><table><tr><th></th>{head}</tr>{kinds}</table>"
        f"<h2>{report['pairs']['total']} preference pairs</h2><table>{pairs}</table>"
        f"<h2>Seconds</h2><table>{times}</table><h2>Before and after</h2>{shown}"
        f"<h2>Environment</h2><pre>{for_html(json.dumps(report['environment'], indent=1))}</pre>"
    )


STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}"
    "td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:right}"
    "td:first-child,th:first-child{text-align:left}pre{background:#f6f6f6;padding:.6em;white-space:pre-wrap}"
    ".two{display:grid;grid-template-columns:1fr 1fr;gap:1em}.ok{color:#0a7d33}.bad{color:#b00020}svg{max-width:100%}"
    "h3{font-size:1em;margin-bottom:.3em}"
)


def _short(stage: str) -> str:
    """A compared method by its own name."""
    return stage.removeprefix(f"{round_name(1)}-")


def _bfcl_metrics(stage: Stage) -> Json:
    path = stage.path / "bfcl.json"
    rows = json.loads(path.read_text()) if path.is_file() else {}
    return {
        f"{BFCL}{category}": {"mean": row["accuracy"], **{key: row[key] for key in ("low", "high", "n")}}
        for category, row in rows.items()
    }


def _kind_rows(stages: list[Json]) -> list[str]:
    kinds = sorted({kind for stage in stages for kind in stage.get("by_kind", {})})
    return [
        f"<tr><td>{for_html(kind)}</td>"
        + "".join(f"<td>{_cell(stage['by_kind'].get(kind, {}).get('success_rate'))}</td>" for stage in stages)
        + "</tr>"
        for kind in kinds
    ]


def _transcript(trajectory: Trajectory) -> str:
    lines = []
    for turn in trajectory.turns:
        lines.append("&rarr; " + for_html(describe(turn)))
        lines += [f"&larr; [{result.status.value}] {for_html(result.text[:300])}" for result in turn.results]
    right = success(trajectory) == 1.0
    mark = (
        f"<span class={'ok' if right else 'bad'}>{trajectory.stop_reason.value}, reward {trajectory.reward:.2f}</span>"
    )
    return f"<pre>{'<br>'.join(lines)}</pre>{mark}"


def _evaluation(stage: Stage) -> list[Trajectory]:
    paths = sorted((stage.path / "evaluation").glob("shard-*.jsonl"))
    return [t for path in paths for t in read_lines(path, Trajectory)]


def _gain(gain: Json) -> str:
    counts, added = gain["transitions"], gain["gain"]
    return (
        f"success {added['difference']:+.2f} [{added['low']:+.2f}, {added['high']:+.2f}] "
        f"on the same {added['n']} tasks: {counts['gained']} gained, {counts['lost']} lost, "
        f"McNemar p {gain['mcnemar_p']:.2g}"
    )


def _cell(entry: Json | None) -> str:
    shown = f"{entry['mean']:.2f} [{entry['low']:.2f}, {entry['high']:.2f}] n {entry['n']}" if entry else "-"
    return for_html(shown)
