"""evaluation.json + transcripts -> evaluation.html: tables, intervals, what changed, and the answers behind each cell.

One file that loads nothing from elsewhere. Every count in a matrix opens the cases behind it.
"""

import html
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rayplay.evaluation.bfcl import Contestant, Verdict
from rayplay.evaluation.official import bfcl_transcripts
from rayplay.evaluation.tables import mean_cell
from rayplay.records import Json, Trajectory
from rayplay.rewards import success
from rayplay.store import read_lines, write_file

MOVES = {(True, True): "kept", (False, True): "gained", (True, False): "lost", (False, False): "still wrong"}
MAX_SHOWN = 60  # cases behind one cell
MAX_TEXT = 1500  # characters of one answer


class Item(NamedTuple):
    """One case, and what the first and the last policy made of it."""

    name: str
    prompt: str
    answers: tuple[str, str]
    right: tuple[bool, bool]
    errors: tuple[str, str]


def write_page(folder: Path, result: Json, trajectories: dict[str, list[Trajectory]]) -> None:
    """evaluation.html of an evaluation that `folder` holds."""
    parts = []
    if "own" in result:
        parts.append("<h2>Own metrics</h2>" + _own_table(result["own"]) + _intervals(_own_rows(result["own"])))
        if trajectories:
            parts.append(_matrix("own tasks", _own_items(trajectories), result.get("own_changes")))
    if "bfcl" in result:
        pinned = f"{result['data']['package']}, data {result['data']['data']} ({result['data']['data_sha256'][:12]})"
        parts.append(f"<h2>BFCL</h2><p>{html.escape(pinned)}, official handler and checker</p>")
        parts.append(_bfcl_table(result["bfcl"]) + _intervals(_bfcl_rows(result["bfcl"])))
        items = _bfcl_items(folder / "bfcl")
        for category in result["bfcl"]:
            parts.append(_matrix(category, items[category], result.get("bfcl_changes", {}).get(category)))
    title = f"Evaluation of {', '.join(result['subjects'])}"
    body = f"<h1>{html.escape(title)}</h1><p>{html.escape(result['folder'])}</p>{''.join(parts)}"
    page = f"<!doctype html><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>{body}"
    write_file(folder / "evaluation.html", page.encode())


def _own_items(trajectories: dict[str, list[Trajectory]]) -> list[Item]:
    labels = list(trajectories)
    first, last = ({t.task.task_id: t for t in trajectories[label]} for label in (labels[0], labels[-1]))
    items = []
    for task in first.keys() & last.keys():
        pair = (first[task], last[task])
        items.append(
            Item(
                f"{pair[0].task.kind} {pair[0].task.origin}".strip(),
                pair[0].task.messages[-1].content,
                (_spoken(pair[0]), _spoken(pair[1])),
                (success(pair[0]) == 1.0, success(pair[1]) == 1.0),
                (pair[0].stop_reason.value, pair[1].stop_reason.value),
            )
        )
    return sorted(items)


def _bfcl_items(folder: Path) -> dict[str, list[Item]]:
    verdicts = read_lines(folder / "verdicts.jsonl", Verdict)
    labels = list(dict.fromkeys(verdict.model for verdict in verdicts))
    shown = bfcl_transcripts(folder, {label: Contestant(label, label).name for label in labels})
    by_case: dict[tuple[str, str], dict[str, Verdict]] = {}
    for verdict in verdicts:
        by_case.setdefault((verdict.category, verdict.case), {})[verdict.model] = verdict
    items: dict[str, list[Item]] = {}
    for (category, case), found in by_case.items():
        pair = (found[labels[0]], found[labels[-1]])
        texts = shown.get(case, {})
        answers = tuple(texts.get(verdict.model, {}).get("answer", "") for verdict in pair)
        prompt = texts.get(labels[0], {}).get("prompt", "")
        errors = tuple(verdict.error_type for verdict in pair)
        items.setdefault(category, []).append(Item(case, prompt, answers, tuple(v.valid for v in pair), errors))
    return items


def _matrix(name: str, items: list[Item], change: Json | None) -> str:
    """Right and wrong before against after; each count opens its cases."""
    cells = {move: [item for item in items if MOVES[item.right] == move] for move in MOVES.values()}
    head = f"<h3>{html.escape(name)}: right and wrong, n {len(items)}</h3>"
    if change is None:
        cells = {"right": cells["kept"], "wrong": cells["still wrong"]}
    else:
        gain = change["gain"]
        head += (
            f"<p>gain {gain['difference']:+.3f}, 95 % interval {gain['low']:+.3f} to {gain['high']:+.3f}; "
            f"McNemar p {change['mcnemar_p']:.3g}</p>"
        )
        kept, gained, lost, still = (len(cells[move]) for move in ("kept", "gained", "lost", "still wrong"))
        head += (
            "<table><tr><th></th><th>right after</th><th>wrong after</th></tr>"
            f"<tr><td>right before</td><td>{kept}</td><td class=bad>{lost}</td></tr>"
            f"<tr><td>wrong before</td><td class=ok>{gained}</td><td>{still}</td></tr></table>"
        )
    return head + "".join(_cases(move, found, both=change is not None) for move, found in cells.items())


def _cases(move: str, items: list[Item], *, both: bool) -> str:
    if not items:
        return ""
    more = f" (first {MAX_SHOWN})" if len(items) > MAX_SHOWN else ""
    rows = "".join(_case(item, both=both) for item in items[:MAX_SHOWN])
    return f"<details><summary>{move}: {len(items)}{more}</summary>{rows}</details>"


def _case(item: Item, *, both: bool) -> str:
    columns = "".join(
        f"<div><b>{when}</b> <span class={'ok' if right else 'bad'}>{html.escape(error or 'right')}</span>"
        f"<pre>{html.escape(text[:MAX_TEXT]) or '(nothing)'}</pre></div>"
        for when, text, right, error in zip(("first", "last"), item.answers, item.right, item.errors, strict=True)
    )
    if not both:
        columns = columns[: columns.index("</div>") + 6]
    prompt = html.escape(item.prompt[:MAX_TEXT])
    return f"<div class=case><b>{html.escape(item.name)}</b><pre>{prompt}</pre><div class=two>{columns}</div></div>"


def _spoken(trajectory: Trajectory) -> str:
    lines = []
    for turn in trajectory.turns:
        lines += [f"call {call.name} {call.arguments}" if not call.problem else call.raw for call in turn.calls]
        lines += [f"  -> {result.status.value}: {result.text[:200]}" for result in turn.results]
        lines += [turn.content] if turn.content else []
    return "\n".join(lines)


def _own_table(table: dict[str, Json]) -> str:
    names = list(dict.fromkeys(name for entry in table.values() for name in entry["metrics"]))
    rows = [[name.replace("_", " "), *(mean_cell(e["metrics"].get(name)) for e in table.values())] for name in names]
    return _table(["", *table], rows)


def _bfcl_table(table: dict[str, dict[str, Json]]) -> str:
    labels = list(dict.fromkeys(label for rows in table.values() for label in rows))
    rows = []
    for category, found in table.items():
        cells = [f"{r['accuracy']:.3f} ({r['low']:.3f}-{r['high']:.3f})" for r in map(found.get, labels) if r]
        rows.append([category, str(next(iter(found.values()))["n"]), *cells])
    return _table(["category", "n", *labels], rows)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _own_rows(table: dict[str, Json]) -> list[tuple[str, str, float, float, float]]:
    names = [n for n in next(iter(table.values()))["metrics"] if "low" in next(iter(table.values()))["metrics"][n]]
    rows = []
    for name in names:
        for label, entry in table.items():
            if cell := entry["metrics"].get(name):
                rows.append((name.replace("_", " "), label, cell["mean"], cell["low"], cell["high"]))
    return rows


def _bfcl_rows(table: dict[str, dict[str, Json]]) -> list[tuple[str, str, float, float, float]]:
    return [(c, label, r["accuracy"], r["low"], r["high"]) for c, rows in table.items() for label, r in rows.items()]


COLOURS = ("#8a8a8a", "#1f6fb2", "#0a7d33", "#b25e1f", "#7a3fa0")


def _intervals(rows: list[tuple[str, str, float, float, float]]) -> str:
    """A dot and its 95 % interval a row on an axis from 0 to 1, as inline SVG."""
    labels = list(dict.fromkeys(label for _, label, *_ in rows))
    left, width, step = 220, 480, 18
    height = step * len(rows) + 36
    marks = [
        f"<line x1={left + width * t / 4} y1=14 x2={left + width * t / 4} y2={height - 20} stroke='#ddd'/>"
        f"<text x={left + width * t / 4} y={height - 6} text-anchor=middle>{t / 4:g}</text>"
        for t in range(5)
    ]
    previous = ""
    for row, (name, label, mean, low, high) in enumerate(rows):
        y, colour = 24 + row * step, COLOURS[labels.index(label) % len(COLOURS)]
        x, x1, x2 = (left + width * value for value in (mean, low, high))
        shown = "" if name == previous else html.escape(name)
        previous = name
        marks.append(
            f"<text x={left - 8} y={y + 4} text-anchor=end>{shown}</text>"
            f"<line x1={x1:.1f} y1={y} x2={x2:.1f} y2={y} stroke='{colour}' stroke-width=2 />"
            f"<circle cx={x:.1f} cy={y} r=4 fill='{colour}'/>"
            f"<text x={left + width + 10} y={y + 4} fill='{colour}'>{html.escape(label)} {mean:.2f}</text>"
        )
    return f"<svg viewBox='0 0 860 {height}' width=860 role=img>{''.join(marks)}</svg>"


STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}"
    "td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:right}"
    "td:first-child,th:first-child{text-align:left}svg{max-width:100%;font-size:12px}"
    "pre{background:#f6f6f6;padding:.5em;white-space:pre-wrap;overflow-wrap:anywhere;margin:.3em 0}"
    ".two{display:grid;grid-template-columns:1fr 1fr;gap:1em}.case{margin:1em 0;border-top:1px solid #ddd}"
    ".ok{color:#0a7d33}.bad{color:#b00020}summary{cursor:pointer;padding:.2em 0}"
)
