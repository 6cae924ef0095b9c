"""Rows of no known format -> what was found, and what to do."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from rayplay.data.normal import Rejected
from rayplay.data.reading import RawRow
from rayplay.data.replies import is_reply
from rayplay.data.turns import role_of

EXAMPLE = (
    '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "tool_calls": [{"name": "f", '
    '"arguments": {"x": 1}}]}, {"role": "tool", "content": "..."}, {"role": "assistant", "content": "..."}], '
    '"tools": [{"name": "f", "description": "...", "parameters": {"type": "object", "properties": '
    '{"x": {"type": "integer"}}}}]}'
)
_RENDERED = re.compile(
    r"<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>|<\|start\|>|<\|turn>|<\|(?:user|assistant|system)\|>|\[INST\]"
    r"|<\|begin_of_text\|>|<｜User｜>|### (?:Instruction|Human|User|Response)|^(?:Human|User): .*^(?:Assistant|AI): ",
    re.DOTALL | re.MULTILINE,
)
_LISTS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat", "history", "contents")
_ASKED = ("question", "query", "instruction", "prompt", "input", "problem", "user", "request", "goal", "task")
_ANSWERED = ("answer", "response", "output", "completion", "solution", "target", "assistant", "reply", "label")
_MOST_ROLES = 5


def advice(rows: Sequence[RawRow]) -> str:
    """What the first rows are, none of which is of a known format, and the next step."""
    readable = next((row for row in rows if not row.problem), None)
    if readable is None:
        if not rows:
            return "no row could be read: there is none (the file is empty)"
        reason, detail = next(row.problem for row in rows)
        return f"no row could be read: {rows[0].where}: {detail or reason}"
    return f"{_found(readable.value)}; name a format with --format to see why not, or reshape each row to {EXAMPLE}"


def _found(value: Any) -> str:
    if not isinstance(value, dict):
        return f"the first row is a {type(value).__name__}, not an object: {json.dumps(value, default=str)[:60]}"
    keys = ", ".join(map(str, list(value)[:8]))
    told = f"the first row has the keys {keys}"
    rendered = next((key for key, text in value.items() if isinstance(text, str) and _RENDERED.search(text)), "")
    unknown = list(dict.fromkeys(_unknown_roles(value)))[:_MOST_ROLES]
    if unknown:
        roles = ", ".join(unknown)
        return f"{told}, and messages of unknown roles: {roles}; rename them to system, user, assistant or tool"
    if rendered:
        mark = _RENDERED.search(value[rendered])[0][:24].split("\n")[0]
        return (
            f"{told}; {rendered!r} is a conversation that a chat template has rendered ({mark!r}), from which roles, "
            "calls and tools cannot be read back safely: take the set that it was rendered from"
        )
    if any(isinstance(value.get(k), list) for k in ("input_ids", "labels", "token_ids", "tokens")):
        return (
            f"{told}: rows of token ids, which only their own tokenizer can read: take the set that they were made from"
        )
    if any(is_reply(value.get(k)) for k in ("response", "response_body", "output")) or is_reply(value):
        return f"{told}: answers of an API, without what was asked; put each request's body next to its answer"
    if _is_by_columns(value):
        return f"{told}, each with all its values; write it by rows (pandas: to_json(orient='records', lines=True))"
    asked = next((k for k in _ASKED if isinstance(value.get(k), str)), "")
    answered = next((k for k in _ANSWERED if k != asked and isinstance(value.get(k), str)), "")
    if asked and answered:
        return (
            f"{told}; if {asked!r} is what the user says and {answered!r} the answer, name them prompt and completion"
        )
    if set(value) <= {"text", "content", "body", "document", "raw_content", "id", "url", "title"}:
        return f"{told}: plain text, of which no one speaks; conversations are needed here"
    return told


def _unknown_roles(value: dict[str, Any]) -> Iterator[str]:
    """Roles that are not known, of the messages of a row."""
    for key in _LISTS:
        for message in value[key] if isinstance(value.get(key), list) else ():
            if not isinstance(message, dict):
                continue
            try:
                role_of(message)
            except Rejected:
                written = next(
                    (message[k] for k in ("role", "from", "author", "speaker", "type") if k in message), None
                )
                if isinstance(written, str):
                    yield repr(written[:40])
                else:
                    yield f"none (a message with the keys {', '.join(map(str, list(message)[:4]))})"


def _is_by_columns(value: dict[str, Any]) -> bool:
    held = list(value.values())
    if len(held) < 2:
        return False
    if all(isinstance(v, dict) and list(v)[:1] == ["0"] for v in held):
        return True
    return all(isinstance(v, list) for v in held) and len({len(v) for v in held}) == 1 and len(held[0]) > 1
