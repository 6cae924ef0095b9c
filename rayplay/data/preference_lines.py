"""Rows that hold a better and a worse side, under any of the usual names -> Preferences.

A side is a text, a message, a list of messages, or a transcript ("Human: ... Assistant: ..."). What comes before it
stands under `prompt`, `conversations`, `messages`, `input`, `instruction`, ..., or both sides begin with it. A row of
messages with a `rejected_response` has the better side as the end of its messages. The better side is judged strictly;
the worse one may be as wrong as it likes.
"""

import re
from typing import Any, NamedTuple

from rayplay.data.alpaca import asked_in
from rayplay.data.conversation import hear, listed, read_conversation, tools_of
from rayplay.data.normal import Rejected, preference
from rayplay.data.reading import RawRow
from rayplay.data.schemas import literal
from rayplay.data.sides import read_rejected, side_of, why
from rayplay.data.source import Context, Source, Usable, has, row_id
from rayplay.data.turns import role_of
from rayplay.records import Json, Reason

_CHOSEN = ("chosen", "preferred_output", "chosen_response", "response_chosen", "preferred", "preferred_response")
_REJECTED = (
    "rejected", "non_preferred_output", "rejected_response", "response_rejected", "dispreferred", "non_preferred",
    "dispreferred_response", "rejected_messages",
)  # fmt: skip
_BEFORE = ("prompt", "messages", "conversations", "conversation", "question")
_CHOSEN_SCORES = ("score_chosen", "chosen_score", "chosen_rating", "chosen_reward")
_REJECTED_SCORES = ("score_rejected", "rejected_score", "rejected_rating", "rejected_reward")
_SPEAKER = re.compile(r"(?:\A|\n\n)\s*(Human|User|Assistant|System): ?")


class Sides(NamedTuple):
    """A row taken apart; `prompt` is None where both sides begin with it."""

    prompt: list[Any] | None
    chosen: list[Any]
    rejected: list[Any]


def matches(value: Any) -> bool:
    """A better and a worse side; the better one may be the end of the messages."""
    if not isinstance(value, dict) or not _is_side(_named(value, _REJECTED)):
        return False
    return _is_side(_named(value, _CHOSEN)) or bool(_turns(_named(value, _BEFORE)))


def read(row: RawRow, context: Context) -> Usable:
    """One preference."""
    if not matches(row.value):
        raise Rejected("wrong_format", "no chosen and rejected side")
    value = row.value["input"] | row.value if has(row.value, input=dict) else row.value
    prompt, chosen, rejected = take_apart(value)
    _refuse_turned(value)
    before = read_conversation(prompt or [], tools_of(value, context), system=value.get("system"), strict=True)
    right = before.copy()
    hear(right, chosen)
    answer = right.messages[len(before.messages) :]
    if not answer or answer[0].role != "assistant" or not any(m.role == "user" for m in before.messages):
        raise Rejected("roles_out_of_order", "chosen is not what an assistant says after the prompt")
    wrong = read_rejected(rejected, before.tools)
    reason = value.get("reason")
    about = {**context.about(row), "reason": reason if reason in set(Reason) else why(answer, wrong)}
    source = value["source"] if has(value, source=str, licence=str) else context.source
    if has(value, licence=str, origin=str):
        about |= {"licence": value["licence"], "origin": value["origin"]}
    made = preference(source, row_id(row), before, answer, wrong.messages, **about)
    return Usable(preferences=(made,), repairs=tuple(sorted(right.repairs)))


def take_apart(value: Json) -> Sides:
    """The prompt and the two sides of a row.

    Raises:
        Rejected: The sides are the same, or there is no prompt.
    """
    rejected = _side(_named(value, _REJECTED))
    held = _named(value, _CHOSEN)
    if held is None:
        prompt, chosen = _split_at_answer(listed(_named(value, _BEFORE)))
    else:
        prompt, chosen = _prompt_of(value), _side(held)
    if _begins(chosen) and _begins(rejected):  # whole conversations: what they share is the prompt
        shared = next((i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), None)
        if shared is None:
            raise Rejected("same_response", "one side is the other, or begins with it")
        lead = [m for m in (prompt or [])[:1] if role_of(m) == "system" and role_of(chosen[0]) != "system"]
        return Sides([*lead, *chosen[:shared]], chosen[shared:], rejected[shared:])
    if _begins(rejected):  # the whole conversation with a worse end, as ms-swift's rejected_messages
        _, rejected = _split_at_answer(rejected)
    if not prompt:
        raise Rejected("roles_out_of_order", "no prompt, and the sides do not begin with one")
    return Sides(prompt, chosen, rejected)


def _named(value: Json, names: tuple[str, ...]) -> Any:
    return next((value[name] for name in names if value.get(name) not in (None, "", [])), None)


def _turns(value: Any) -> list[Any]:
    held = literal(value) if isinstance(value, str) else value
    return held if isinstance(held, list) and all(isinstance(m, dict) for m in held) else []


def _prompt_of(value: Json) -> list[Any] | None:
    """What was said before the sides; None where they say it themselves."""
    held = _named(value, _BEFORE)
    if held is None:
        asked = asked_in(value)
        return asked or None
    return _side(held, "user")


def _side(value: Any, role: str = "assistant") -> list[Any]:
    """A side as messages; a transcript is taken apart at its speakers."""
    said = _SPEAKER.split(value) if isinstance(value, str) else []
    if len(said) > 2 and not said[0].strip():
        turns = zip(said[1::2], said[2::2], strict=True)
        return [{"role": speaker.lower(), "content": text.strip()} for speaker, text in turns]
    return side_of(value, role)


def _begins(side: list[Any]) -> bool:
    """Whether a side begins with what was said before the assistant spoke."""
    return len(side) > 1 and role_of(side[0]) in ("system", "user")


def _split_at_answer(messages: list[Any]) -> tuple[list[Any], list[Any]]:
    """(what comes before, the assistant's last words): a call in a turn of its own belongs to the words before it."""
    at = len(messages)
    while at and role_of(messages[at - 1]) in ("assistant", "call", "thinking"):
        at -= 1
    return messages[:at], messages[at:]


def _refuse_turned(value: Json) -> None:
    """Raise Rejected where the author's own scores call the chosen side the worse one."""
    better, worse = (_named(value, names) for names in (_CHOSEN_SCORES, _REJECTED_SCORES))
    if isinstance(better, int | float) and isinstance(worse, int | float) and better < worse:
        raise Rejected("marked_bad", f"chosen is scored {better}, rejected {worse}")


def _is_side(value: Any) -> bool:
    return (
        isinstance(value, str) or (isinstance(value, dict) and bool(value)) or (isinstance(value, list) and bool(value))
    )


SOURCE = Source("preference-jsonl", matches, read, gives="preferences")
