"""When2Call: training messages, preferences (chosen / rejected responses) and the multiple-choice test rows.

Calls stand as <TOOLCALL>[{...}]</TOOLCALL>; tools are a list of JSON texts.
"""

import json
from typing import Any

from rayplay.data.conversation import hear, read_conversation, tools_of, usable_of
from rayplay.data.normal import Rejected, preference
from rayplay.data.openai_chat import messages_in
from rayplay.data.reading import RawRow
from rayplay.data.sides import read_rejected, why
from rayplay.data.source import Context, Source, Usable, has, row_id, text_of


def matches_sft(value: Any) -> bool:
    """Messages of role and content alone beside tools that are JSON texts, or a multiple-choice row."""
    if has(value, question=str, answers=dict, correct_answer=str):
        return True
    if not _tools_are_texts(value) or "chosen_response" in value:
        return False
    messages = messages_in(value)
    return bool(messages) and all(isinstance(m, dict) and set(m) == {"role", "content"} for m in messages)


def matches_preferences(value: Any) -> bool:
    """Messages with a chosen and a rejected response."""
    return has(value, chosen_response=dict, rejected_response=dict) and messages_in(value) is not None


def read_sft(row: RawRow, context: Context) -> Usable:
    """A conversation, or a question with its right answer."""
    value = row.value
    if has(value, question=str, answers=dict, correct_answer=str):
        text = text_of(value["answers"].get(value["correct_answer"]), "the right answer")
        role = "tool_call" if value["correct_answer"] == "tool_call" else "assistant"
        messages = [{"role": "user", "content": value["question"]}, {"role": role, "content": text}]
    else:
        if not has(value, tools=list) or not all(isinstance(t, str) for t in value["tools"]):
            raise Rejected("wrong_format", "tools are no list of JSON texts")
        messages = messages_in(value)
    return usable_of(read_conversation(messages, tools_of(value)), row, context)


def read_preferences(row: RawRow, context: Context) -> Usable:
    """Two responses to the same messages."""
    if not matches_preferences(row.value):
        raise Rejected("wrong_format", "no messages with chosen_response and rejected_response")
    prompt = read_conversation(messages_in(row.value), tools_of(row.value))
    right = prompt.copy()
    hear(right, [row.value["chosen_response"]])
    chosen = right.messages[len(prompt.messages) :]
    rejected = read_rejected([row.value["rejected_response"]], prompt.tools)
    about = {**context.about(row), "reason": why(chosen, rejected)}
    made = preference(context.source, row_id(row), prompt, chosen, rejected.messages, **about)
    return Usable(preferences=(made,), repairs=tuple(sorted(right.repairs)))


def _tools_are_texts(value: Any) -> bool:
    if not has(value, tools=list) or not value["tools"] or not all(isinstance(t, str) for t in value["tools"]):
        return False
    try:
        return all(isinstance(json.loads(t), dict) for t in value["tools"])
    except (ValueError, RecursionError):
        return False


SFT = Source("when2call", matches_sft, read_sft)
PREFERENCES = Source("when2call-preferences", matches_preferences, read_preferences, gives="preferences")
