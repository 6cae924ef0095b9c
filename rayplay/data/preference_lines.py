"""Preference lines of the user's own: {prompt, chosen, rejected, tools} -> Preferences.

Each side is a text, a message or a list of messages; `prompt` may be missing where both sides begin with it. The chosen
side is judged strictly; the rejected one may be as wrong as it likes.
"""

from typing import Any

from rayplay.data.conversation import hear, read_conversation, tools_of
from rayplay.data.normal import Rejected, preference
from rayplay.data.reading import RawRow
from rayplay.data.sides import read_rejected, side_of, why
from rayplay.data.source import Context, Source, Usable, has, row_id
from rayplay.records import Reason


def matches(value: Any) -> bool:
    """A chosen and a rejected side."""
    return isinstance(value, dict) and _is_side(value.get("chosen")) and _is_side(value.get("rejected"))


def read(row: RawRow, context: Context) -> Usable:
    """One preference."""
    if not matches(row.value):
        raise Rejected("wrong_format", "no 'chosen' and 'rejected'")
    value = row.value
    chosen, rejected = side_of(value["chosen"]), side_of(value["rejected"])
    if value.get("prompt") is None:
        shared = next((i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), None)
        if shared is None:
            raise Rejected("same_response", "chosen equals rejected, and there is no prompt")
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    else:
        prompt = side_of(value["prompt"], "user")
    before = read_conversation(prompt, tools_of(value, context), strict=True)
    right = before.copy()
    hear(right, chosen)
    answer = right.messages[len(before.messages) :]
    if not answer or answer[0].role != "assistant" or not before.messages:
        raise Rejected("roles_out_of_order", "chosen is not what an assistant says after the prompt")
    wrong = read_rejected(rejected, before.tools)
    reason = value.get("reason")
    about = {**context.about(row), "reason": reason if reason in set(Reason) else why(answer, wrong)}
    source = value["source"] if has(value, source=str, licence=str) else context.source
    if has(value, licence=str, origin=str):
        about |= {"licence": value["licence"], "origin": value["origin"]}
    made = preference(source, row_id(row), before, answer, wrong.messages, **about)
    return Usable(preferences=(made,), repairs=tuple(sorted(right.repairs)))


def _is_side(value: Any) -> bool:
    return isinstance(value, str) or has(value, role=str) or (isinstance(value, list) and bool(value))


SOURCE = Source("preference-jsonl", matches, read, gives="preferences")
