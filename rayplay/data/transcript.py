"""Record -> text for people."""

import json
from collections.abc import Iterable

from rayplay.records import Demonstration, Message, Preference, Task, ToolSpec

_SHOWN_CHARS = 600


def transcript(record: Demonstration | Task | Preference) -> str:
    """A conversation, a task with what is expected, or both sides of a preference."""
    name = record.task_id if isinstance(record, Task) else record.row_id
    about = ", ".join(part for part in (record.source, record.licence or "licence unstated", record.origin) if part)
    head = [f"=== {name} ({about})", f"tools: {', '.join(map(_signature, record.tools)) or 'none'}"]
    if isinstance(record, Preference):
        parts = [_said(record.prompt), ["--- chosen"], _said(record.chosen), [f"--- rejected ({record.reason})"]]
        return "\n".join([*head, *(line for part in parts for line in part), *_said(record.rejected)])
    lines = [*head, *_said(record.messages)]
    if isinstance(record, Task):
        wanted = record.expected
        calls = [f"{c.name}({json.dumps(c.arguments, ensure_ascii=False)})" for c in wanted.calls]
        expected = "; ".join(calls) if calls else "no call" if wanted.check_calls else "anything"
        lines.append(f"expected: {expected}")
    elif record.simulated:
        lines.append("(tool results are simulated)")
    return "\n".join(lines)


def _said(messages: Iterable[Message]) -> list[str]:
    lines = []
    for message in messages:
        who = f"{message.role} ({message.name})" if message.role == "tool" else message.role
        who += "" if message.loss else " (without loss)"
        if message.content:
            lines.append(f"{who}: {_short(message.content)}")
        lines.extend(
            f"{who} -> {call.name}({json.dumps(call.arguments, ensure_ascii=False)})" for call in message.tool_calls
        )
    return lines


def _signature(tool: ToolSpec) -> str:
    return f"{tool.name}({', '.join(tool.parameters.get('properties', {}))})"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]} ... ({len(text)} characters)"
