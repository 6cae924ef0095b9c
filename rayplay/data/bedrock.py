"""Bedrock's Converse API: parts without types (`text`, `toolUse`, `toolResult`), `toolConfig` -> Demonstrations."""

from typing import Any

from rayplay.data.conversation import read_conversation, tools_of, usable_of
from rayplay.data.normal import Rejected
from rayplay.data.reading import RawRow
from rayplay.data.replies import reply_of
from rayplay.data.source import Context, Source, Usable, has
from rayplay.records import Json

_PARTS = ("toolUse", "toolResult", "reasoningContent", "cachePoint", "guardContent")


def matches(value: Any) -> bool:
    """Messages whose parts are named by their only key, or tools under `toolConfig`."""
    asked = _request(value)
    if asked is None:
        return False
    parts = [p for m in asked["messages"] if has(m, content=list) for p in m["content"] if isinstance(p, dict)]
    return has(asked, toolConfig=dict) or any(k in part for part in parts for k in _PARTS if "type" not in part)


def read(row: RawRow, context: Context) -> Usable:
    """One conversation; what the response holds comes behind the messages."""
    asked = _request(row.value)
    if asked is None or not matches(row.value):
        raise Rejected("wrong_format", "no messages of parts such as toolUse, and no toolConfig")
    answered = next((row.value[k] for k in ("response", "output") if isinstance(row.value.get(k), dict)), None)
    said = reply_of(answered)[0] if answered else []
    config = asked.get("toolConfig")
    tools = [_tool(tool) for tool in (config["tools"] if has(config, tools=list) else ())]
    turns = [_turn(message) for message in (*asked["messages"], *said)]
    system = asked.get("system")
    builder = read_conversation(turns, tools_of({"tools": tools}, context), system=system, strict=True)
    return usable_of(builder, row, context)


def _request(value: Any) -> Json | None:
    if not isinstance(value, dict):
        return None
    places = (value, *(value[k] for k in ("request", "input") if isinstance(value.get(k), dict)))
    return next((p for p in places if has(p, messages=list) and p["messages"]), None)


def _tool(tool: Any) -> Any:
    """A `toolSpec`, whose schema lies under `json`."""
    if not has(tool, toolSpec=dict):
        return tool
    schema = tool["toolSpec"].get("inputSchema")
    return {**tool["toolSpec"], "inputSchema": schema["json"] if has(schema, json=dict) else schema}


def _turn(message: Any) -> Any:
    """A message whose parts have types, as the chat reader knows them."""
    if not has(message, content=list):
        return message
    return {**message, "content": [_part(part) for part in message["content"] if not has(part, cachePoint=dict)]}


def _part(part: Any) -> Any:
    if has(part, toolUse=dict):
        return {**part["toolUse"], "type": "tool_use", "id": part["toolUse"].get("toolUseId")}
    if has(part, toolResult=dict):
        held = part["toolResult"]
        content = [_result(inner) for inner in held["content"]] if has(held, content=list) else held.get("content")
        return {
            "type": "tool_result",
            "tool_use_id": held.get("toolUseId"),
            "content": content[0] if isinstance(content, list) and len(content) == 1 else content,
        }
    if has(part, reasoningContent=dict):
        thought = part["reasoningContent"].get("reasoningText")
        return {"type": "thinking", "thinking": thought["text"] if has(thought, text=str) else ""}
    return part


def _result(inner: Any) -> Any:
    """A part of a result: text, or any JSON value under `json`."""
    if has(inner, text=str):
        return {"type": "text", "text": inner["text"]} if len(inner) > 1 else inner["text"]
    return inner["json"] if isinstance(inner, dict) and "json" in inner else inner


SOURCE = Source("bedrock", matches, read)
