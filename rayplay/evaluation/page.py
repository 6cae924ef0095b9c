"""evaluation.json + transcripts -> evaluation.html: tables, intervals, what changed, and the answers behind each cell.

One file that loads nothing from elsewhere. Every count in a matrix and every row of a breakdown leads to its cases.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rayplay.evaluation.bfcl import Contestant, Verdict
from rayplay.evaluation.official import bfcl_transcripts
from rayplay.evaluation.tables import mean_cell
from rayplay.metrics import GROUPINGS, counted, grouped
from rayplay.records import Json, Trajectory
from rayplay.rewards import success
from rayplay.sinks import for_html
from rayplay.store import read_lines, write_file

MOVES = {(True, True): "kept", (False, True): "gained", (True, False): "lost", (False, False): "still wrong"}
MAX_TEXT = 4000  # characters of one answer


class Answer(NamedTuple):
    """What one policy made of a case."""

    label: str
    text: str
    right: bool
    note: str  # how it ended, or what the checker said


class Item(NamedTuple):
    """One case, and what every policy made of it, the first one first."""

    name: str
    prompt: str
    expected: str
    answers: tuple[Answer, ...]

    @property
    def move(self) -> str:
        """From the first policy to the last."""
        return MOVES[self.answers[0].right, self.answers[-1].right]


def write_page(folder: Path, result: Json, trajectories: dict[str, list[Trajectory]]) -> None:
    """evaluation.html of an evaluation that `folder` holds."""
    parts = [_policies(result["policies"])]
    if "own" in result:
        parts.append("<h2>Own metrics</h2>" + _own_table(result["own"]) + _intervals(_own_rows(result["own"])))
        parts += [_seen(result.get("seen_tasks"), "tasks")]
        parts += [_breakdown(grouping, result["own"], trajectories) for grouping in GROUPINGS]
        parts.append(_matrix("own tasks", _own_items(trajectories), result.get("own_changes")))
    if "bfcl" in result:
        pinned = f"{result['data']['package']}, data {result['data']['data']} ({result['data']['data_sha256'][:12]})"
        parts.append(f"<h2>BFCL</h2><p>{for_html(pinned)}, official handler and checker</p>")
        parts.append(_bfcl_table(result["bfcl"]) + _intervals(_bfcl_rows(result["bfcl"])))
        parts += [_seen(result.get("seen_questions"), "questions")]
        items = _bfcl_items(folder / "bfcl")
        for category in result["bfcl"]:
            parts.append(_matrix(category, items[category], result.get("bfcl_changes", {}).get(category)))
    title = f"Evaluation of {', '.join(result['subjects'])}"
    body = f"<h1>{for_html(title)}</h1><p>{for_html(result['folder'])}</p>{''.join(parts)}"
    head = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    page = f"{head}<title>{for_html(title)}</title><style>{STYLE}</style>{body}"
    write_file(folder / "evaluation.html", page.encode())


def _policies(policies: Json) -> str:
    rows = [(label, p["adapter"] or p["model"], " + ".join(p["hashes"])) for label, p in policies.items()]
    return f"<details><summary>Which weights</summary>{_table(['', 'folder', 'hash'], rows)}</details>"


def _seen(cases: list[str] | None, what: str) -> str:
    if not cases:
        return ""
    return f"<p class=bad>{len(cases)} {what} resemble training tasks: {for_html(', '.join(cases))}</p>"


def _own_items(trajectories: dict[str, list[Trajectory]]) -> list[Item]:
    by_label = {label: {t.task.task_id: t for t in counted(played)} for label, played in trajectories.items()}
    first, *others = by_label.values()
    items = []
    for name in (name for name in first if all(name in other for other in others)):
        task = first[name].task
        calls = [f"call {call.name} {dict(call.arguments)}" for call in task.expected.calls]
        answers = [
            Answer(label, _spoken(played[name]), success(played[name]) == 1.0, played[name].stop_reason.value)
            for label, played in by_label.items()
        ]
        expected = "\n".join([*calls, *map(" or ".join, task.expected.answers)]) or "(any answer without a call)"
        items.append(Item(_name_of(first[name]), task.messages[-1].content, expected, tuple(answers)))
    return sorted(items)


def _bfcl_items(folder: Path) -> dict[str, list[Item]]:
    verdicts = read_lines(folder / "verdicts.jsonl", Verdict)
    shown = bfcl_transcripts(folder, {verdict.model: Contestant(verdict.model, "").name for verdict in verdicts})
    by_case: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        by_case.setdefault((verdict.category, verdict.case), []).append(verdict)
    items: dict[str, list[Item]] = {}
    for (category, case), found in by_case.items():
        texts = shown.get(case, {})
        answers = tuple(Answer(v.model, texts.get(v.model, {}).get("answer", ""), v.valid, v.error_type) for v in found)
        prompt = texts.get(found[0].model, {}).get("prompt", "")
        items.setdefault(category, []).append(Item(case, prompt, "", answers))
    return items


def _name_of(trajectory: Trajectory) -> str:
    return f"{trajectory.task.kind} {trajectory.task.origin or trajectory.task.task_id}".strip()


def _anchor(name: str) -> str:
    return for_html("case-" + "-".join(name.split()))


def _matrix(name: str, items: list[Item], change: Json | None) -> str:
    """Right and wrong before against after; each count leads to its cases."""
    cells = {move: [item for item in items if item.move == move] for move in MOVES.values()}
    head = f"<h3>{for_html(name)}: right and wrong, n {len(items)}</h3>"
    if change is None:
        cells = {"right": cells["kept"], "wrong": cells["still wrong"]}
    else:
        gain, before, after = change["gain"], *(items[0].answers[i].label if items else "" for i in (0, -1))
        links = {move: f"<a href='#{_anchor(f'{name} {move}')}'>{len(found)}</a>" for move, found in cells.items()}
        head += (
            f"<p>gain {gain['difference']:+.3f}, 95 % interval {gain['low']:+.3f} to {gain['high']:+.3f}; "
            f"McNemar p {change['mcnemar_p']:.3g}</p>"
            f"<table><tr><th></th><th>{for_html(after)} right</th><th>{for_html(after)} wrong</th></tr>"
            f"<tr><td>{for_html(before)} right</td><td>{links['kept']}</td><td>{links['lost']} lost</td></tr>"
            f"<tr><td>{for_html(before)} wrong</td><td>{links['gained']} gained</td>"
            f"<td>{links['still wrong']}</td></tr></table>"
        )
    return head + "".join(_cases(name, move, found) for move, found in cells.items())


def _cases(name: str, move: str, items: list[Item]) -> str:
    rows = "".join(map(_case, items))
    summary = f"<summary id='{_anchor(f'{name} {move}')}'>{move}: {len(items)}</summary>"
    return f"<details>{summary}{rows}</details>"


def _case(item: Item) -> str:
    columns = "".join(
        f"<div><b>{for_html(answer.label)}</b> {_mark(answer)}<pre>{_cut(answer.text) or '(nothing)'}</pre></div>"
        for answer in item.answers
    )
    expected = f"<b>expected</b><pre>{_cut(item.expected)}</pre>" if item.expected else ""
    asked = f"<b>{for_html(item.name)}</b><pre>{_cut(item.prompt)}</pre>{expected}"
    return f"<div class=case id='{_anchor(item.name)}'>{asked}<div class=columns>{columns}</div></div>"


def _mark(answer: Answer) -> str:
    word = "right" if answer.right else "wrong"
    note = f" ({for_html(answer.note)})" if answer.note and not answer.right else ""
    return f"<span class={'ok' if answer.right else 'bad'}>{word}{note}</span>"


def _cut(text: str) -> str:
    """Escaped, and where it was cut the number of characters that are left out."""
    more = f"\n... {len(text) - MAX_TEXT} more characters, in the folder of this page" if len(text) > MAX_TEXT else ""
    return for_html(text[:MAX_TEXT]) + more


def _breakdown(grouping: str, table: dict[str, Json], trajectories: dict[str, list[Trajectory]]) -> str:
    """Success rate by group, a column a policy; the last policy's cases of each group behind its row."""
    last = grouped(counted(list(trajectories.values())[-1]), GROUPINGS[grouping])
    rows = ""
    for name in sorted({group for entry in table.values() for group in entry[f"by_{grouping}"]}):
        found = (entry[f"by_{grouping}"].get(name, {}).get("success_rate") for entry in table.values())
        cells = "".join(f"<td>{mean_cell(cell)}</td>" for cell in found)
        links = " ".join(
            f"<a class={'ok' if success(t) == 1.0 else 'bad'} href='#{_anchor(_name_of(t))}'>"
            f"{for_html(_name_of(t))}</a>"
            for t in last.get(name, ())
        )
        behind = f"<details><summary>{len(last.get(name, ()))}</summary>{links}</details>"
        rows += f"<tr><td>{for_html(name)}</td>{cells}<td class=links>{behind}</td></tr>"
    heads = "".join(f"<th>{for_html(label)}</th>" for label in table)
    shown = f"<div class=wide><table><tr><th></th>{heads}<th>cases of the last</th></tr>{rows}</table></div>"
    return f"<details><summary>Success rate by {NAMED[grouping]}</summary>{shown}</details>"


NAMED = {
    "kind": "kind of task",
    "tool": "expected tool",
    "calls": "number of expected calls",
    "turns": "number of messages the model wrote",
}


def _spoken(trajectory: Trajectory) -> str:
    lines = []
    for turn in trajectory.turns:
        lines += [f"call {call.name} {call.arguments}" if not call.problem else call.raw for call in turn.calls]
        lines += [f"  -> {result.status.value}: {result.text}" for result in turn.results]
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
    top = "".join(f"<th>{for_html(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{for_html(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class=wide><table><tr>{top}</tr>{body}</table></div>"


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
        shown = "" if name == previous else for_html(name)
        previous = name
        marks.append(
            f"<text x={left - 8} y={y + 4} text-anchor=end>{shown}</text>"
            f"<line x1={x1:.1f} y1={y} x2={x2:.1f} y2={y} stroke='{colour}' stroke-width=2 />"
            f"<circle cx={x:.1f} cy={y} r=4 fill='{colour}'/>"
            f"<text x={left + width + 10} y={y + 4} fill='{colour}'>{for_html(label)} {mean:.2f}</text>"
        )
    svg = f"<svg viewBox='0 0 860 {height}' width=860 role=img>{''.join(marks)}</svg>"
    return f"<div class=wide>{svg}<p class=small>Dots are means, lines 95 % intervals.</p></div>"


STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}.wide{overflow-x:auto}.small{font-size:12px;color:#666}"
    "td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:right;vertical-align:top;white-space:nowrap}"
    "td:first-child,th:first-child{text-align:left}svg{font-size:12px}h1{overflow-wrap:anywhere}"
    "td.links{white-space:normal;text-align:left;min-width:8em}td.links a{display:inline-block;margin-right:.8em}"
    "pre{background:#f6f6f6;padding:.5em;white-space:pre-wrap;overflow-wrap:anywhere;margin:.3em 0}"
    ".columns{display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));gap:1em}"
    ".case{margin:1em 0;border-top:1px solid #ddd}:target{outline:2px solid #1f6fb2}"
    ".ok{color:#0a7d33}.bad{color:#b00020}summary{cursor:pointer;padding:.2em 0}"
)
