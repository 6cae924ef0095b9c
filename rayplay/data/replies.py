"""What an API answered, whole or streamed -> the messages that it said.

Chat completions, Anthropic messages, Responses, Gemini and Ollama; server-sent events and lists of chunks are merged.
An answer that was cut off, failed or was filtered is none to imitate and raises `Rejected`.
"""

import json
from collections.abc import Sequence
from typing import Any

from rayplay.data.normal import Rejected
from rayplay.data.schemas import literal
from rayplay.data.source import has
from rayplay.records import Json

# how each API says that an answer did not come to its end
_CUT = frozenset((
    "length", "max_tokens", "max_output_tokens", "content_filter", "content_filtered", "safety", "recitation",
    "blocklist", "prohibited_content", "spii", "malformed_function_call", "guardrail_intervened", "error", "incomplete",
    "failed", "cancelled", "canceled", "model_context_window_exceeded",
))  # fmt: skip
_STOPS = ("finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason", "status")
_MOST_CHUNKS = 200_000
_JOINED = ("content", "reasoning_content", "reasoning", "refusal")


def is_reply(value: Any) -> bool:
    """Whether a value is an answer of a known API; never raises."""
    value = _unpacked(value)
    if isinstance(value, list):
        return bool(value) and (_is_chunk(value[0]) or _is_message(value[0]) or _is_item(value[0]))
    if not isinstance(value, dict):
        return False
    return (
        any(isinstance(value.get(k), list) and value[k] for k in ("choices", "candidates", "output"))
        or has(value, message=dict)
        or (has(value, error=(dict, str)) and bool(value["error"]))
        or _is_message(value)
        or any(isinstance(value.get(k), dict) and is_reply(value[k]) for k in ("body", "response"))
    )


def reply_of(value: Any) -> tuple[list[Any], set[str]]:
    """The messages of an answer, and what was left out of it.

    Raises:
        Rejected: The answer is of no known API, or did not come to its end.
    """
    value = _unpacked(value)
    if isinstance(value, list) and value and _is_chunk(value[0]):
        value = _merged(value)
    if isinstance(value, list):
        return [_whole(item) for item in value], set()
    if not isinstance(value, dict):
        raise Rejected("wrong_format", f"the answer is a {type(value).__name__}")
    inner = next((value[k] for k in ("body", "response") if isinstance(value.get(k), dict)), None)
    if inner is not None and not any(k in value for k in ("choices", "candidates", "output", "message")):
        return reply_of(inner)
    if value.get("error"):
        raise Rejected("no_final_answer", f"the request failed: {json.dumps(value['error'], default=str)[:200]}")
    _refuse_cut(value)
    for key in ("choices", "candidates"):
        if isinstance(value.get(key), list) and value[key]:
            repairs = {"further_choices_left_out"} if len(value[key]) > 1 else set()
            return [_choice(value[key][0])], repairs
    if isinstance(value.get("output"), list):
        return [_whole(item) for item in value["output"]], set()
    if isinstance(value.get("output"), dict):
        return reply_of(value["output"])
    if has(value, message=dict):
        return [value["message"]], set()
    if _is_message(value):
        return [value], set()
    raise Rejected("no_final_answer", f"no message in an answer with the keys {', '.join(map(str, list(value)[:6]))}")


def _choice(choice: Any) -> Any:
    """The message of the first choice or candidate."""
    if not isinstance(choice, dict):
        raise Rejected("wrong_format", f"a choice is a {type(choice).__name__}")
    _refuse_cut(choice)
    if isinstance(choice.get("message"), dict):
        return choice["message"]
    if isinstance(choice.get("content"), dict):
        return {"role": "model", **choice["content"]}
    if isinstance(choice.get("text"), str):
        return {"role": "assistant", "content": choice["text"]}
    raise Rejected("no_final_answer", "a choice without a message")


def _whole(item: Any) -> Any:
    if isinstance(item, dict):
        _refuse_cut(item)
    return item


def _refuse_cut(value: Json) -> None:
    for key in _STOPS:
        written = value.get(key)
        if isinstance(written, str) and written.lower() in _CUT:
            raise Rejected("no_final_answer", f"the answer did not come to its end: {key} is {written[:40]!r}")


def _unpacked(value: Any) -> Any:
    """JSON text, or server-sent events, as the values that they are."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("data:", "event:")):
        lines = (line[5:].strip() for line in value.splitlines() if line.startswith("data:"))
        return [literal(line) for line in lines if line and line != "[DONE]"][:_MOST_CHUNKS]
    read = literal(value) if value.lstrip()[:1] in ("{", "[") else None
    return read if isinstance(read, dict | list) else value


def _is_message(value: Any) -> bool:
    return has(value, role=str) and any(k in value for k in ("content", "tool_calls", "parts"))


def _is_item(value: Any) -> bool:
    return has(value, type=str) and value["type"] in ("message", "function_call", "reasoning")


def _is_chunk(value: Any) -> bool:
    """Of a stream: a choice's `delta`, or an event of Anthropic's."""
    if not isinstance(value, dict):
        return False
    if value.get("object") == "chat.completion.chunk" or value.get("type") in ("message_start", "response.created"):
        return True
    choices = value.get("choices")
    return isinstance(choices, list) and bool(choices) and has(choices[0], delta=dict)


def _merged(chunks: Sequence[Any]) -> Json:
    """The chunks of a stream as the answer that would have come whole."""
    chunks = [chunk for chunk in chunks if isinstance(chunk, dict)]
    if chunks[0].get("type") == "message_start":
        return _merged_events(chunks)
    if str(chunks[0].get("type", "")).startswith("response."):
        done = next((c["response"] for c in reversed(chunks) if has(c, response=dict)), None)
        if done is None or done.get("status") != "completed":
            raise Rejected("no_final_answer", "the stream ends before the answer does")
        return done
    message: Json = {"role": "assistant"}
    calls: dict[int, Json] = {}
    reason = None
    for chunk in chunks:
        for choice in chunk.get("choices") or ():
            if not isinstance(choice, dict) or choice.get("index", 0) != 0:
                continue
            delta = choice.get("delta") if isinstance(choice.get("delta"), dict) else {}
            for key in _JOINED:
                if isinstance(delta.get(key), str):
                    message[key] = message.get(key, "") + delta[key]
            for call in delta.get("tool_calls") or ():
                _add_call_chunk(calls, call)
            reason = choice.get("finish_reason") or reason
    if reason is None:
        raise Rejected("no_final_answer", "the stream ends before the answer does")
    if calls:
        message["tool_calls"] = [calls[n] for n in sorted(calls)]
    return {"choices": [{"message": message, "finish_reason": reason}]}


def _add_call_chunk(calls: dict[int, Json], chunk: Any) -> None:
    if not isinstance(chunk, dict) or not isinstance(chunk.get("index", 0), int):
        raise Rejected("broken_call", f"a chunk of a call is {str(chunk)[:80]}")
    call = calls.setdefault(chunk.get("index", 0), {"type": "function", "function": {"name": "", "arguments": ""}})
    if isinstance(chunk.get("id"), str):
        call["id"] = chunk["id"]
    function = chunk.get("function") if isinstance(chunk.get("function"), dict) else {}
    for key in ("name", "arguments"):
        if isinstance(function.get(key), str):
            call["function"][key] += function[key]


def _merged_events(events: Sequence[Json]) -> Json:
    """Anthropic's stream: blocks that begin, grow by deltas and end."""
    blocks: dict[Any, Json] = {}
    inputs: dict[Any, str] = {}
    reason = None
    for event in events:
        delta = event.get("delta") if isinstance(event.get("delta"), dict) else {}
        index = event.get("index")
        if event.get("type") == "content_block_start" and has(event, content_block=dict):
            blocks[index] = dict(event["content_block"])
        elif event.get("type") == "content_block_delta" and index in blocks:
            for key in ("text", "thinking"):
                if isinstance(delta.get(key), str):
                    blocks[index][key] = str(blocks[index].get(key) or "") + delta[key]
            inputs[index] = inputs.get(index, "") + str(delta.get("partial_json") or "")
        elif event.get("type") == "message_delta":
            reason = delta.get("stop_reason") or reason
    if reason is None:
        raise Rejected("no_final_answer", "the stream ends before the answer does")
    for index, text in inputs.items():
        if text and blocks[index].get("type") == "tool_use":
            blocks[index]["input"] = text
    return {"role": "assistant", "content": list(blocks.values()), "stop_reason": reason}
