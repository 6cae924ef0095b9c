"""Preference lines of the user's own: {prompt, chosen, rejected, tools} -> Preferences.

Each side is a text, a message or a list of messages; `prompt` may be missing where both sides begin with it. The chosen
side is judged strictly; the rejected one may be as wrong as it likes.
"""

from typing import Any

from rayplay.data.calltext import read_object, tagged_calls
from rayplay.data.normal import Builder, Rejected, preference, read_tools
from rayplay.data.openai_chat import calls_in, speak
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has, row_id, text_of
from rayplay.data.when2call import loose_message, why
from rayplay.records import Message, Reason, ToolCall


def matches(value: Any) -> bool:
    """A chosen and a rejected side."""
    return isinstance(value, dict) and _is_side(value.get("chosen")) and _is_side(value.get("rejected"))


def read(row: RawRow, context: Context) -> Usable:
    """One preference."""
    if not matches(row.value):
        raise Rejected("wrong_format", "no 'chosen' and 'rejected'")
    value = row.value
    chosen, rejected = _listed(value["chosen"]), _listed(value["rejected"])
    if value.get("prompt") is None:
        shared = next((i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), None)
        if shared is None:
            raise Rejected("same_response", "chosen equals rejected, and there is no prompt")
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
    else:
        prompt = _listed(value["prompt"], "user")
    tools = read_tools(value.get("tools"))
    before, right = Builder(tools, strict=True), Builder(tools, strict=True)
    for message in prompt:
        speak(before, message)
        speak(right, message)
    for message in chosen:
        _speak_chosen(right, message)
    answer = right.messages[len(before.messages) :]
    if not answer or answer[0].role != "assistant" or not before.messages:
        raise Rejected("roles_out_of_order", "chosen is not what an assistant says after the prompt")
    wrong = [_rejected_message(m) for m in rejected]
    if not wrong or wrong[0].role != "assistant":
        raise Rejected("roles_out_of_order", "rejected is not what an assistant says after the prompt")
    reason = value.get("reason")
    about = {**context.about(row), "reason": reason if reason in set(Reason) else why(answer, wrong)}
    source = value["source"] if has(value, source=str, licence=str) else context.source
    if has(value, licence=str, origin=str):
        about |= {"licence": value["licence"], "origin": value["origin"]}
    return Usable(preferences=(preference(source, row_id(row), before, answer, wrong, **about),))


def _is_side(value: Any) -> bool:
    return isinstance(value, str) or has(value, role=str) or (isinstance(value, list) and bool(value))


def _listed(side: Any, role: str = "assistant") -> list[Any]:
    if isinstance(side, str):
        return [{"role": role, "content": side}]
    if isinstance(side, dict):
        return [side]
    if not isinstance(side, list) or not side:
        raise Rejected("wrong_format", f"a side is {str(side)[:80]}")
    return side


def _speak_chosen(builder: Builder, message: Any) -> None:
    """A chosen message may hold its calls as tagged text."""
    if has(message, role=str, content=str) and message["role"] == "assistant" and not message.get("tool_calls"):
        said, calls = tagged_calls(message["content"])
        builder.assistant(said, calls)
    else:
        speak(builder, message)


def _rejected_message(message: Any) -> Message:
    if not has(message, role=str) or message["role"] not in ("assistant", "tool", "user"):
        raise Rejected("wrong_format", f"a message without a known role: {str(message)[:80]}")
    text = text_of(message.get("content"))
    if message["role"] == "assistant" and not message.get("tool_calls"):
        return loose_message(text)
    calls: list[ToolCall] = []
    if message["role"] == "assistant":
        for n, (name, arguments) in enumerate(calls_in(message)[0]):
            raw = arguments if isinstance(arguments, str) else ""
            held = arguments if isinstance(arguments, dict) else read_object(raw)
            calls.append(ToolCall(call_id=f"call_0_{n}", name=str(name), arguments=held, raw=raw))
    return Message(
        role=message["role"],
        content=text,
        tool_calls=tuple(calls),
        tool_call_id=text_of(message.get("tool_call_id")),
        name=text_of(message.get("name")),
    )


SOURCE = Source("preference-jsonl", matches, read, gives="preferences")
