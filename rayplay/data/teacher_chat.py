"""Tools + a chat teacher -> demonstrations that it solved itself: requests it writes, answers that execute and agree.

The teacher is any function (messages, tools, seed) -> assistant message: a policy, or an OpenAI-compatible endpoint. A
request is kept where at least `agree` of its samples made the same calls with the same results, all of them executed;
the first of these samples is the demonstration (self-consistency, Wang et al. 2022, over what was executed instead of
over what was said).
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rayplay.records import Demonstration, Message, Status, ToolCall, ToolResult, ToolSpec, digest, seed_of
from rayplay.toolbox import check_arguments, find_tool

SOURCE = "teacher_chat"
Ask = Callable[[Sequence[Message], Sequence[ToolSpec], int], Message]
_BULLET = re.compile(r"^\s*(?:[-*]|\d+[.)])\s*")
_WRITE = (
    "Write {count} different requests that a person might send to an assistant which can use the tool {name}: "
    "{description} It takes: {parameters}. State every value that is needed. One request on each line, nothing else."
)


@dataclass(frozen=True)
class ChatSettings:
    """How many requests and samples, and when samples agree."""

    requests_per_tool: int = 8
    samples: int = 4
    agree: float = 0.5  # share of the samples that must make the same calls with the same results
    max_turns: int = 4
    seed: int = 0


@dataclass
class ChatFunnel:
    """What was proposed, executed and kept, and why the rest was not."""

    requests: int = 0
    samples: int = 0
    executed: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def told(self) -> str:
        """The funnel in one line."""
        why = ", ".join(f"{n} {reason}" for reason, n in self.dropped.most_common()) or "none"
        return (
            f"{self.requests} requests proposed, {self.samples} samples, {self.executed} executed, "
            f"{self.kept} requests kept; not kept: {why}"
        )


def teach(
    ask: Ask, tools: Sequence[ToolSpec], execute: Callable[..., ToolResult], settings: ChatSettings, funnel: ChatFunnel
) -> list[Demonstration]:
    """Requests for every tool, each solved several times with execution; what agrees is kept."""
    kept: list[Demonstration] = []
    for tool in tools:
        for request in write_requests(ask, tool, settings, funnel):
            shown = solve(ask, request, tools, execute, settings, funnel)
            if shown is not None:
                funnel.kept += 1
                kept.append(shown)
    return kept


def write_requests(ask: Ask, tool: ToolSpec, settings: ChatSettings, funnel: ChatFunnel) -> list[str]:
    """Distinct requests that the teacher proposes for a tool."""
    names = ", ".join(tool.parameters.get("properties", {})) or "nothing"
    text = _WRITE.format(
        count=settings.requests_per_tool, name=tool.name, description=tool.description, parameters=names
    )
    said = ask([Message(role="user", content=text)], (), seed_of(settings.seed, "requests", tool.name)).content
    lines = [_BULLET.sub("", line).strip().strip('"') for line in said.splitlines()]
    lines = [line for line in lines if len(line.split()) >= 3][: settings.requests_per_tool]
    funnel.requests += len(lines)
    distinct = list({line.casefold(): line for line in lines}.values())
    if len(distinct) < len(lines):
        funnel.dropped["repeated_request"] += len(lines) - len(distinct)
    return distinct


def solve(
    ask: Ask, request: str, tools: Sequence[ToolSpec], execute: Callable[..., ToolResult], settings: ChatSettings,
    funnel: ChatFunnel,
) -> Demonstration | None:  # fmt: skip
    """The demonstration that enough samples agree on; None where they do not, with the reason counted."""
    found: dict[str, list[tuple[Message, ...]]] = {}
    problems: Counter[str] = Counter()
    for k in range(settings.samples):
        funnel.samples += 1
        messages, problem = _play(ask, request, tools, execute, settings, seed_of(settings.seed, request, k))
        if problem:
            problems[problem] += 1
            continue
        funnel.executed += 1
        found.setdefault(_what_happened(messages), []).append(messages)
    best = max(found.values(), key=len, default=[])
    if len(best) < max(2, settings.agree * settings.samples):
        funnel.dropped["samples_disagree" if found else problems.most_common(1)[0][0]] += 1
        return None
    return Demonstration(
        row_id=digest([request]), source=SOURCE, messages=best[0], tools=tuple(tools), licence="of the teacher",
        origin=f"{len(best)} of {settings.samples} samples agree",
    )  # fmt: skip


def _play(
    ask: Ask,
    request: str,
    tools: Sequence[ToolSpec],
    execute: Callable[..., ToolResult],
    settings: ChatSettings,
    seed: int,
) -> tuple[tuple[Message, ...], str]:
    messages: list[Message] = [Message(role="user", content=request)]
    called = False
    for turn in range(settings.max_turns):
        said = ask(messages, tools, seed_of(seed, turn))
        messages.append(said)
        if not said.tool_calls:
            usable = called and said.content.strip()
            return tuple(messages), "" if usable else "no_answer" if called else "no_call"
        called = True
        for call in said.tool_calls:
            problem, result = _execute(call, tools, execute)
            if problem:
                return (), problem
            messages.append(Message(role="tool", content=result, tool_call_id=call.call_id, name=call.name))
    return (), "turn_limit"


def _execute(call: ToolCall, tools: Sequence[ToolSpec], execute: Callable[..., ToolResult]) -> tuple[str, str]:
    spec = find_tool(tools, call.name)
    if spec is None:
        return Status.UNKNOWN_TOOL.value, ""
    if call.problem or check_arguments(spec, call.arguments):
        return Status.BAD_ARGUMENTS.value, ""
    result = execute(call.name, call.arguments)
    if result.simulated or result.status is not Status.OK:
        return ("simulated" if result.simulated else result.status.value), ""
    return "", result.text


def _what_happened(messages: Sequence[Message]) -> str:
    """The calls and their results: what samples must share to agree. Words may differ."""
    calls = [(c.name, c.arguments) for m in messages for c in m.tool_calls]
    return json.dumps([calls, [m.content for m in messages if m.role == "tool"]], sort_keys=True)
