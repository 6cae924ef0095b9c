"""When2Call: training messages, preferences (chosen / rejected responses) and the multiple-choice test rows.

Calls stand as <TOOLCALL>[{...}]</TOOLCALL>; tools are a list of JSON texts.
"""

import json
from typing import Any

from rayplay.data.calltext import json_calls, tagged_calls
from rayplay.data.normal import Builder, Rejected, preference, read_tools
from rayplay.data.openai_chat import messages_in
from rayplay.data.reading import RawRow
from rayplay.data.source import CHAT_ROLES, Context, Source, Usable, has, one, row_id, spoken, text_of
from rayplay.records import Message, ToolCall


def matches_sft(value: Any) -> bool:
    """Messages beside tools that are JSON texts, or a multiple-choice row."""
    if has(value, question=str, answers=dict, correct_answer=str):
        return True
    return _tools_are_texts(value) and messages_in(value) is not None and "chosen_response" not in value


def matches_preferences(value: Any) -> bool:
    """Messages with a chosen and a rejected response."""
    return has(value, chosen_response=dict, rejected_response=dict) and messages_in(value) is not None


def read_sft(row: RawRow, context: Context) -> Usable:
    """A conversation, or a question with its right answer."""
    value = row.value
    if has(value, question=str, answers=dict, correct_answer=str):
        builder = Builder(read_tools(value.get("tools")))
        builder.user(value["question"])
        text = text_of(value["answers"].get(value["correct_answer"]), "the right answer")
        if value["correct_answer"] == "tool_call":
            builder.assistant("", tagged_calls(text)[1] or json_calls(text))
        else:
            builder.assistant(text)
    else:
        if not has(value, tools=list) or not all(isinstance(t, str) for t in value["tools"]):
            raise Rejected("wrong_format", "tools are no list of JSON texts")
        builder = _conversation(row)
    return one(builder.demonstration(context.source, row_id(row), **context.about(row)))


def read_preferences(row: RawRow, context: Context) -> Usable:
    """Two responses to the same messages."""
    if not matches_preferences(row.value):
        raise Rejected("wrong_format", "no messages with chosen_response and rejected_response")
    prompt = _conversation(row)
    right = _conversation(row)
    chosen_text = text_of(row.value["chosen_response"].get("content"))
    right.assistant(*tagged_calls(chosen_text))
    chosen = right.messages[len(prompt.messages) :]
    rejected = [loose_message(text_of(row.value["rejected_response"].get("content")))]
    made = preference(
        context.source, row_id(row), prompt, chosen, rejected, reason=why(chosen, rejected), **context.about(row)
    )
    return Usable(preferences=(made,))


def loose_message(text: str) -> Message:
    """A rejected response: calls where they can be read, else the text as it stands."""
    try:
        said, calls = tagged_calls(text)
    except Rejected:
        return Message(role="assistant", content=text)
    readable = [(n, a) for n, a in calls if isinstance(n, str) and isinstance(a, dict)]
    if len(readable) != len(calls):
        return Message(role="assistant", content=text)
    made = tuple(ToolCall(call_id=f"call_0_{i}", name=n, arguments=a) for i, (n, a) in enumerate(readable))
    return Message(role="assistant", content=said, tool_calls=made)


def why(chosen: list[Message], rejected: list[Message]) -> str:
    """The Reason that can be read off the two sides' first messages."""
    right, wrong = chosen[0].tool_calls, rejected[0].tool_calls
    if bool(right) != bool(wrong):
        return "no_call" if right else "should_not_call"
    if right and [c.name for c in right] != [c.name for c in wrong]:
        return "wrong_tool"
    return "wrong_arguments" if right else "dataset_preference"


def _conversation(row: RawRow) -> Builder:
    messages = messages_in(row.value)
    if messages is None:
        raise Rejected("wrong_format", "no list under 'messages'")
    builder = Builder(read_tools(row.value.get("tools")))
    for message in messages:
        role, text = spoken(message, CHAT_ROLES)
        if role == "system":
            builder.system(text)
        elif role == "user":
            builder.user(text)
        elif role == "assistant":
            builder.assistant(*tagged_calls(text))
        else:
            builder.result(text)
    return builder


def _tools_are_texts(value: Any) -> bool:
    if not has(value, tools=list) or not value["tools"] or not all(isinstance(t, str) for t in value["tools"]):
        return False
    try:
        return all(isinstance(json.loads(t), dict) for t in value["tools"])
    except (ValueError, RecursionError):
        return False


SFT = Source("when2call", matches_sft, read_sft, licence="CC-BY-4.0")
PREFERENCES = Source(
    "when2call-preferences", matches_preferences, read_preferences, licence="CC-BY-4.0", gives="preferences"
)
