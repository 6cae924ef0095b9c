"""One message of any public chat shape -> Turn: who speaks, text, thinking, calls, results, whether it carries loss.

The shapes differ in names alone: `role` / `content` or `from` / `value`; content as text, as parts, as an object or as
nothing; calls as objects, as JSON text or as a turn of their own; results in a tool's turn or in a user's. Here they
all become one, so that no format needs a loop of its own.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from rayplay.data.calltext import Calls, between_tags, calls_of, json_calls
from rayplay.data.normal import Rejected, Toolset
from rayplay.data.schemas import literal
from rayplay.data.syntaxes import calls_in_text, marked_calls, python_calls
from rayplay.records import Json

Speaker = Literal["system", "user", "assistant", "tool"]
_SPELLINGS: dict[str, tuple[str, ...]] = {
    "system": ("system", "developer", "systemmessage"),
    "user": ("user", "human", "humanmessage", "customer"),
    "assistant": ("assistant", "gpt", "ai", "model", "bot", "chatgpt", "aimessage", "chatbot"),
    "call": ("function_call", "tool_call", "tool_calls", "function_calls", "functioncall", "toolcall"),
    "tool": (
        "tool", "function", "observation", "tool_response", "function_response", "tool_result", "tool_results",
        "tool_output", "tool_outputs", "function_call_output", "function_result", "ipython", "environment",
        "toolmessage", "functionmessage", "functionresponse", "toolresult",
    ),
    "thinking": ("reasoning", "thinking", "thought", "think"),
}  # fmt: skip
ROLES = {spelling: role for role, spellings in _SPELLINGS.items() for spelling in spellings}
_ROLE_KEYS = ("role", "from", "type", "author", "speaker")
_CONTENT_KEYS = ("content", "value", "parts", "text", "output")
_THINKING_KEYS = (
    "reasoning_content", "reasoning", "thinking", "thought", "thoughts", "reasoning_text", "reasoning_details",
    "thinking_blocks",
)  # fmt: skip
_CALL_KEYS = ("tool_calls", "function_call", "function_calls", "tool_call")
_ID_KEYS = ("tool_call_id", "tool_use_id", "toolUseId", "call_id")
_NAME_KEYS = ("name", "tool_name")
_LOSS_KEYS = (
    "weight", "loss_weight", "loss_scale", "loss_mask", "loss", "train", "training", "trainable", "calculate_loss",
)  # fmt: skip
_NO_LOSS_KEYS = ("masked", "mask", "is_masked", "ignore_loss")
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")
_THINKING_PARTS = ("thinking", "reasoning", "thought", "think")
_CALL_PARTS = ("tool_use", "tool_call", "function_call", "toolUse", "tool-call")
_RESULT_PARTS = ("tool_result", "function_call_output", "toolResult", "tool_response", "tool-result")
_MEDIA = re.compile(r"image|audio|video|file|document|media|pdf")
_RESPONSES = ("tool_response", "function_response", "response")
_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)
_RESPONSES_ALONE = re.compile(r"\s*(?:<tool_response>(?:(?!</tool_response>).)*</tool_response>\s*)+", re.DOTALL)


@dataclass(frozen=True)
class Result:
    """What a tool gave back. `content` is text or any JSON value; `call_id` and `name` are "" where none is given."""

    content: Any
    call_id: str = ""
    name: str = ""


@dataclass
class Turn:
    """One message. A user's turn may bring results of tools before what the user says.

    Attributes:
        ids: Of the calls; empty where not every call has one.
        loss: False where the author excluded the message from training.
        is_thinking: The whole message is thinking (perhaps none) before the next one.
        repairs: What was changed to read it.
    """

    role: Speaker
    text: str = ""
    thinking: str = ""
    calls: Calls = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    loss: bool = True
    is_thinking: bool = False
    repairs: set[str] = field(default_factory=set)

    @property
    def spoken(self) -> str:
        """The text, behind its thinking as `<think>` text."""
        if not self.thinking or self.text.lstrip().startswith("<think>"):
            return self.text
        return f"<think>{self.thinking}</think>" + (f"\n{self.text}" if self.text else "")


def turn_of(message: Any, tools: Toolset) -> Turn:
    """Read one message.

    Args:
        message: An object of any public shape.
        tools: The row's; they tell calls without marks from other text.

    Raises:
        Rejected: Its role is unknown, its content is of no known kind, or a call cannot be read.
    """
    message = _unwrapped(message)
    role = role_of(message)
    turn = Turn("assistant" if role in ("call", "thinking") else role, is_thinking=role == "thinking")
    _read_marks(turn, message)
    content = next((message[k] for k in _CONTENT_KEYS if message.get(k) is not None), None)
    if role == "tool":
        turn.results = _results(message, content)
        return turn
    if role == "call":
        _add_calls(turn, {k: v for k, v in message.items() if k not in _ROLE_KEYS} if content is None else content)
    elif role == "thinking":
        turn.thinking = _prose(content if content is not None else message.get("summary"))
    else:
        _add_content(turn, content)
    if role == "assistant" or role == "call":
        _add_assistant(turn, message, tools)
    elif turn.role == "user" and _RESPONSES_ALONE.fullmatch(turn.text):
        turn.results.extend(map(Result, between_tags(turn.text, _RESPONSES)))
        turn.text = ""
    return turn


def content_text(message: Json) -> str:
    """A message's content and calls as the text that they are, for what cannot be read."""
    held = [message[k] for k in (*_CONTENT_KEYS, *_CALL_KEYS) if message.get(k)]
    return "\n".join(v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in held)


def role_of(message: Any) -> str:
    """system, user, assistant, call or tool.

    Raises:
        Rejected: There is no role, or one of no known spelling.
    """
    written = None
    if isinstance(message, dict):
        written = next((message[k] for k in _ROLE_KEYS if isinstance(message.get(k), str)), None)
    if written is None:
        raise Rejected("wrong_format", f"a message without a role: {str(message)[:80]}")
    role = ROLES.get(re.sub(r"[\s\-]+", "_", written.strip().lower()))
    if role is None:
        known = "system, user, assistant, tool, tool_call and their usual spellings"
        raise Rejected("wrong_format", f"a message of the unknown role {written[:40]!r}; known: {known}")
    return role


def _unwrapped(message: Any) -> Any:
    """LangChain's `{"type": "human", "data": {...}}` without its wrapping."""
    if isinstance(message, dict) and isinstance(message.get("data"), dict) and isinstance(message.get("type"), str):
        return {"type": message["type"], **message["data"]}
    return message


def _add_content(turn: Turn, content: Any) -> None:
    if content is None:
        return
    if isinstance(content, str):
        turn.text = content
    elif isinstance(content, list):
        for part in content:
            _add_part(turn, part)
    elif isinstance(content, dict):
        inner = next(
            (content[k] for k in ("text", "value", "content", "parts") if isinstance(content.get(k), str | list)), None
        )
        if inner is not None:
            _add_content(turn, inner)
        else:
            turn.text = json.dumps(content, ensure_ascii=False)
            turn.repairs.add("object_written_as_text")
    else:
        raise Rejected("wrong_format", f"content is a {type(content).__name__}")


def _add_part(turn: Turn, part: Any) -> None:
    """One part of a content list."""
    if isinstance(part, str):
        turn.text += part
        return
    if not isinstance(part, dict):
        raise Rejected("wrong_format", f"a part of the content is a {type(part).__name__}")
    kind = part.get("type") if isinstance(part.get("type"), str) else ""
    if kind in _CALL_PARTS or "functionCall" in part or "function_call" in part:
        _add_call_part(turn, part)
    elif kind in _RESULT_PARTS or "functionResponse" in part or "function_response" in part:
        turn.results.append(_result_part(part))
    elif kind in _THINKING_PARTS or part.get("thought") is True:
        turn.thinking = "\n".join(t for t in (turn.thinking, _prose(part)) if t)
    elif kind in _TEXT_PARTS or (not kind and any(isinstance(part.get(k), str) for k in ("text", "value"))):
        turn.text += _prose(part)
    elif kind == "redacted_thinking":
        turn.repairs.add("hidden_thinking_left_out")
    elif _MEDIA.search(kind or " ".join(part)):
        raise Rejected("not_text", f"a part of the content is {kind or next(iter(part), 'empty')!r}")
    else:
        raise Rejected("wrong_format", f"a part of the content is of the unknown type {kind[:40]!r}: {str(part)[:80]}")


def _add_call_part(turn: Turn, part: Json) -> None:
    inner = next((part[k] for k in ("functionCall", "function_call", "toolUse") if isinstance(part.get(k), dict)), part)
    if isinstance(inner.get("value"), str | dict):  # {"type": "tool_call", "value": "{...}"}
        turn.calls.extend(json_calls(inner["value"]) if isinstance(inner["value"], str) else calls_of(inner["value"]))
        return
    if "input" in inner and "arguments" not in inner:
        inner = {**inner, "arguments": inner["input"]}
    turn.calls.extend(calls_of({k: v for k, v in inner.items() if k != "type"}))
    _add_id(turn, inner)


def _result_part(part: Json) -> Result:
    inner = next((part[k] for k in ("functionResponse", "function_response", "toolResult") if k in part), part)
    if not isinstance(inner, dict):
        raise Rejected("wrong_format", f"a tool result is {str(inner)[:80]}")
    content = next((inner[k] for k in ("content", "output", "response", "result", "value", "text") if k in inner), "")
    if "response" in inner and isinstance(content, dict) and set(content) in ({"result"}, {"output"}):
        content = next(iter(content.values()))  # Gemini wraps what is no object
    return Result(result_text(content), _first_text(inner, (*_ID_KEYS, "id")), _first_text(inner, _NAME_KEYS))


def _add_assistant(turn: Turn, message: Json, tools: Toolset) -> None:
    """Thinking, calls in fields and calls in the text."""
    fields = (_prose(message.get(k)) for k in _THINKING_KEYS)  # servers give the same under several names
    turn.thinking = turn.thinking or next((text for text in fields if text.strip()), "")
    extra = message.get("additional_kwargs")
    held = {**(extra if isinstance(extra, dict) else {}), **{k: v for k, v in message.items() if v}}
    raw = next((held[k] for k in _CALL_KEYS if held.get(k)), None)
    if raw is not None:
        _add_calls(turn, raw)
    if not turn.text:
        return
    said, found = calls_in_text(turn.text, tools)
    if found and turn.calls and [name for name, _ in found] != [name for name, _ in turn.calls]:
        raise Rejected("call_as_text", turn.text)
    if found and turn.calls:
        turn.repairs.add("call_said_twice")
    if found:
        turn.repairs.discard("object_written_as_text")
    turn.text, turn.calls = said, turn.calls or found


def _add_calls(turn: Turn, raw: Any) -> None:
    """Calls as objects, as JSON or Python text, as texts in a list, or as rendered text."""
    if isinstance(raw, str):
        thought = _THOUGHT.match(raw)
        if thought:
            turn.thinking, raw = thought[1].strip(), raw[thought.end() :]
        value = literal(raw)
        if not isinstance(value, dict | list):
            _add_rendered_calls(turn, raw)
            return
        raw = value
    if not isinstance(raw, list | dict):
        raise Rejected("broken_call", f"calls are a {type(raw).__name__}: {str(raw)[:80]}")
    for item in raw if isinstance(raw, list) else [raw]:
        value = literal(item) if isinstance(item, str) else item
        if not isinstance(value, dict):
            raise Rejected("broken_call", f"a call is {str(item)[:80]!r}")
        turn.calls.extend(calls_of(value))
        _add_id(turn, value)
    if len(turn.ids) != len(turn.calls):
        turn.ids = []


def _add_rendered_calls(turn: Turn, text: str) -> None:
    """Calls that stand as text where calls are expected; empty text and `null` are none."""
    if text.strip() in ("", "null", "None"):
        return
    said, calls = marked_calls(text)
    if calls:
        turn.text = "\n".join(t for t in (turn.text, said) if t)
    turn.calls.extend(calls or python_calls(text.strip()) or json_calls(text))


def _add_id(turn: Turn, call: Json) -> None:
    written = _first_text(call, ("call_id", "id", "tool_call_id", "toolUseId"))
    if written:
        turn.ids.append(written)


def _results(message: Json, content: Any) -> list[Result]:
    call_id, name = _first_text(message, _ID_KEYS), _first_text(message, _NAME_KEYS)
    if (
        isinstance(content, list)
        and content
        and all(isinstance(p, dict) and p.get("type") in _RESULT_PARTS for p in content)
    ):
        return [_result_part(part) for part in content]
    text = result_text(content)
    found = between_tags(text, _RESPONSES)
    return [Result(inner, call_id, name) for inner in found] or [Result(text, call_id, name)]


def result_text(content: Any) -> str:
    """A result as the text that a model reads: text as it is, text parts joined, anything else as JSON.

    Raises:
        Rejected: It holds images or other media.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if (
        isinstance(content, list)
        and content
        and all(isinstance(p, dict) and isinstance(p.get("type"), str) for p in content)
    ):
        if any(_MEDIA.search(p["type"]) for p in content):
            raise Rejected("not_text", "a tool result holds images or files")
        if all(p["type"] in _TEXT_PARTS for p in content):
            return "".join(_prose(p) for p in content)
    return json.dumps(content, ensure_ascii=False)


def _prose(value: Any) -> str:
    """The text of a part or of a field of thinking, whatever its shape."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(t for t in map(_prose, value) if t)
    if isinstance(value, dict):
        keys = ("text", "value", "thinking", "reasoning", "content", "summary", "refusal")
        return next((t for t in (_prose(value.get(k)) for k in keys) if t), "")
    return ""


def _read_marks(turn: Turn, message: Json) -> None:
    """Whether the message is trained on, by its author's marks; a share between none and all counts as all."""
    marks = [message[k] for k in _LOSS_KEYS if isinstance(message.get(k), bool | int | float)]
    details = message.get("train_detail")
    marks += [d.get("train") for d in details if isinstance(d, dict)] if isinstance(details, list) else []
    turn.loss = all(marks) and not any(message.get(k) in (True, 1) for k in _NO_LOSS_KEYS)
    if turn.role == "assistant" and any(isinstance(m, float) and m not in (0.0, 1.0) for m in marks):
        turn.repairs.add("share_of_loss_taken_as_whole")


def _first_text(value: Json, keys: tuple[str, ...]) -> str:
    return next((value[k] for k in keys if isinstance(value.get(k), str) and value[k]), "")
