"""Trajectories of agent benchmarks (tau-bench, tau2, ToolTalk, SWE-agent) -> Demonstrations.

None of them holds the definitions of its tools. Those that lie beside the rows (`tools.json`) are taken, else the tools
are inferred from all calls of the files, and each such row counts as repaired. Rewards below the usual bound reject a
row, as everywhere.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rayplay.data.conversation import hear, tools_of
from rayplay.data.in_use import REPAIR, ToolsInUse
from rayplay.data.normal import Builder, Rejected, Toolset
from rayplay.data.reading import RawRow, rows_of
from rayplay.data.source import Context, Source, Usable, has, one, row_id
from rayplay.data.turns import role_of, turn_of
from rayplay.records import Json

_SHELL = "bash"
_BLOCK = re.compile(r"```(?:\w*\n)?(.*?)```", re.DOTALL)
Turns = Callable[[Json], list[Json]]


def tau_turns(value: Json) -> list[Json]:
    """The messages of a tau-bench result, from the user's first word to the agent's last."""
    turns = [m for m in value["traj"] if isinstance(m, dict)]
    start = next((i for i, m in enumerate(turns) if role_of(m) == "user"), 0)
    return [m for m in turns[:start] if role_of(m) == "system"] + turns[start:]


def tooltalk_turns(value: Json) -> list[Json]:
    """The messages of a ToolTalk conversation: its calls come before what the assistant says with them."""
    turns: list[Json] = []
    for entry in value["conversation"]:
        for api in entry.get("apis") or []:
            if not has(api, request=dict):
                raise Rejected("broken_call", str(api)[:120])
            request = api["request"]
            made = {"name": request.get("api_name"), "arguments": request.get("parameters") or {}}
            turns.append({"role": "assistant", "content": "", "tool_calls": [made]})
            error = api.get("exception")
            turns.append({"role": "tool", "content": {"error": error} if error else api.get("response")})
        if entry.get("text"):
            turns.append({"role": entry["role"], "content": entry["text"]})
    return turns


def swe_turns(value: Json) -> list[Json]:
    """The messages of a SWE-agent run: those with calls as they are, else each action as a call of the shell."""
    history = [m for m in value.get("history") or [] if isinstance(m, dict) and not m.get("is_demo")]
    if any(m.get("tool_calls") for m in history):
        return [{**m, "tool_call_id": m["tool_call_ids"][0]} if m.get("tool_call_ids") else m for m in history]
    steps = value["trajectory"]
    if not all(has(step, action=str) for step in steps):
        return _from_texts(steps)
    first = next((i for i, m in enumerate(history) if role_of(m) == "assistant"), len(history))
    turns = history[:first]
    if not turns:
        raise Rejected("empty", "no history before the first action")
    for step in steps:
        turns.append(_act(str(step.get("thought") or ""), step["action"]))
        turns.append({"role": "tool", "content": str(step.get("observation") or "")})
    return turns


def _from_texts(steps: Sequence[Any]) -> list[Json]:
    """Turns of role and text, in which the agent's command stands in its last block of code."""
    turns: list[Json] = []
    for step in steps:
        text = next((step[k] for k in ("text", "content", "system_prompt") if isinstance(step.get(k), str)), "")
        role = role_of(step)
        blocks = list(_BLOCK.finditer(text)) if role == "assistant" else []
        if blocks:
            turns.append(_act(text[: blocks[-1].start()].strip(), blocks[-1][1].strip()))
        elif role == "user" and turns and turns[-1].get("tool_calls"):
            turns.append({"role": "tool", "content": text})
        else:
            turns.append({"role": role, "content": text})
    return turns


def _act(thought: str, command: str) -> Json:
    call = {"name": _SHELL, "arguments": {"command": command.strip()}}
    return {"role": "assistant", "content": thought.strip(), "tool_calls": [call]}


def matches_tau(value: Any) -> bool:
    """A trajectory with its task and reward, or tau2's file of simulations."""
    return has(value, traj=list) or (
        has(value, simulations=list) and all(has(s, messages=list) for s in value["simulations"])
    )


def matches_tooltalk(value: Any) -> bool:
    """A conversation whose assistant turns list the APIs that were called."""
    turns = value.get("conversation") if isinstance(value, dict) else None
    return isinstance(turns, list) and bool(turns) and all(has(t, role=str, text=str) for t in turns)


def matches_swe(value: Any) -> bool:
    """A trajectory of steps with actions, or of roles and texts."""
    steps = value.get("trajectory") if isinstance(value, dict) else None
    return isinstance(steps, list) and bool(steps) and all(has(s, action=str) or has(s, role=str) for s in steps)


def simulations_of(row: RawRow) -> list[RawRow]:
    """tau2's simulations as rows like tau-bench's."""
    if not has(row.value, simulations=list):
        return [row]
    rows = []
    for number, run in enumerate(row.value["simulations"]):
        judged = run.get("reward_info") if isinstance(run, dict) else None
        value = {"traj": run.get("messages"), "reward": (judged or {}).get("reward")} if isinstance(run, dict) else run
        name = str(run.get("id", number)) if isinstance(run, dict) else str(number)
        rows.append(RawRow(value, row.file, row.line, key=name))
    return rows


def _source(name: str, matches: Callable[[Any], bool], turns_of: Turns, expand: Any = None) -> Source:
    """A source of this family: how its rows are recognised, and what its messages are."""
    expand = expand or (lambda row: (row,))

    def prepare(files: Sequence[Path], options: Json) -> list[Json]:
        found = ToolsInUse()
        for value in _values(files, matches, expand):
            try:
                found.add(call for turn in turns_of(value) for call in turn_of(turn, Toolset(())).calls)
            except (Rejected, KeyError, TypeError, AttributeError):
                continue  # judged, with its reason, when it is read
        return found.definitions()

    def read(row: RawRow, context: Context) -> Usable:
        if not matches(row.value):
            raise Rejected("wrong_format", f"no row of {name}")
        beside = tools_of(row.value, context)
        builder = Builder(beside if beside.specs else Toolset(context.support or ()))
        if not beside.specs:
            builder.repairs.add(REPAIR)
        hear(builder, turns_of(row.value))
        builder.trim()
        made = one(builder.demonstration(context.source, row_id(row), **context.about(row)))
        return Usable(made.demonstrations, made.tasks, repairs=tuple(sorted(builder.repairs)))

    return Source(name, matches, read, prepare=prepare, expand=expand, identity=lambda row: row.key)


def _values(files: Sequence[Path], matches: Callable[[Any], bool], expand: Any) -> Iterator[Json]:
    for file in files:
        for row in rows_of(file):
            if not row.problem and matches(row.value):
                yield from (inner.value for inner in expand(row) if isinstance(inner.value, dict))


TAU = _source("tau", matches_tau, tau_turns, simulations_of)
TOOLTALK = _source("tooltalk", matches_tooltalk, tooltalk_turns)
SWE_AGENT = _source("swe-agent", matches_swe, swe_turns)
