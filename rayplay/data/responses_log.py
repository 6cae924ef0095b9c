"""Items of OpenAI's Responses API: stored responses, logs of them, and NeMo Gym's rollouts -> Demonstrations, Tasks.

A response without output is a prompt, and a task. Calls of MCP servers that the API made itself stand with their
results; other tools of the API (search, interpreter) leave no result in a log, and such rows are rejected.
"""

from collections.abc import Iterator
from typing import Any

from rayplay.data.conversation import read_conversation, tools_of, usable_of
from rayplay.data.normal import Rejected
from rayplay.data.reading import RawRow
from rayplay.data.replies import reply_of
from rayplay.data.schemas import literal
from rayplay.data.source import Context, Source, Usable, has
from rayplay.records import Json

_ITEMS = frozenset((
    "message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output",
    "mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "item_reference", "compaction",
    "web_search_call", "file_search_call", "code_interpreter_call", "computer_call", "image_generation_call",
    "local_shell_call", "shell_call", "apply_patch_call",
))  # fmt: skip
_SILENT = ("mcp_list_tools", "mcp_approval_request", "mcp_approval_response")
_ANSWERS = ("expected_answer", "ground_truth", "answer", "solution")


def matches(value: Any) -> bool:
    """A response with its input, a request and a response, or NeMo Gym's pair."""
    asked, answered = _pair(value)
    if asked is None:
        return False
    if "responses_create_params" in value:
        return True
    items = [*_listed(asked.get("input")), *_listed((answered or {}).get("output"))]
    return any(_kind(item) in _ITEMS for item in items) and (answered is not None or "instructions" in asked)


def read(row: RawRow, context: Context) -> Usable:
    """All items in order: instructions, what was sent, what came back."""
    asked, answered = _pair(row.value)
    if asked is None:
        raise Rejected("wrong_format", "no items under 'input' and 'output'")
    if asked.get("previous_response_id") or (answered or {}).get("previous_response_id"):
        raise Rejected("wrong_format", "it goes on from a response that is not in the row (previous_response_id)")
    held = asked.get("input")
    items = [{"role": "user", "content": held}] if isinstance(held, str) else _listed(held)
    said = reply_of(answered)[0] if answered and answered.get("output") else []
    turns = [turn for item in (*items, *said) for turn in _turns(item)]
    instructions = asked.get("instructions") or (answered or {}).get("instructions")
    if isinstance(instructions, list):
        turns = [*instructions, *turns]
        instructions = None
    holder = next((h for h in (asked, answered or {}, row.value) if h.get("tools")), {})
    tools = tools_of({"tools": [*_tools(holder.get("tools")), *_listed_by_servers([*items, *said])]}, context)
    builder = read_conversation(turns, tools, system=instructions, strict=True)
    return usable_of(builder, _with_answer(row), context)


def _pair(value: Any) -> tuple[Json | None, Json | None]:
    """(request, response) of a row; a stored response is both."""
    if not isinstance(value, dict):
        return None, None
    answered = next((_object(value.get(k)) for k in ("response", "response_body", "result") if value.get(k)), None)
    answered = answered.get("body") if answered and has(answered, body=dict) else answered
    for key in ("responses_create_params", "request", "request_body", "body", "params", "kwargs"):
        asked = _object(value.get(key))
        if asked is not None and isinstance(asked.get("input"), str | list):
            return asked, answered
    if isinstance(value.get("input"), str | list) and isinstance(value.get("output"), list):
        return value, value
    return None, None


def _turns(item: Any) -> Iterator[Any]:
    """An item as the messages that it is worth."""
    kind = _kind(item)
    if kind in _SILENT:
        return
    if kind == "mcp_call":
        if item.get("error"):
            raise Rejected("no_final_answer", f"an MCP call failed: {str(item['error'])[:120]}")
        yield {
            "type": "function_call",
            "name": item.get("name"),
            "arguments": item.get("arguments"),
            "call_id": item.get("id"),
        }
        yield {"type": "function_call_output", "call_id": item.get("id"), "output": item.get("output")}
    elif kind == "custom_tool_call":
        yield {**item, "type": "function_call", "arguments": {"input": item.get("input")}}
    elif kind == "custom_tool_call_output":
        yield {**item, "type": "function_call_output"}
    elif kind in _ITEMS and kind.endswith("_call") and kind != "function_call":
        raise Rejected("unknown_tool", f"{kind} is a tool of the API, whose result is not in the row")
    elif kind in ("item_reference", "compaction"):
        raise Rejected("wrong_format", f"an item is {kind}: what it stands for is not in the row")
    else:
        yield item


def _tools(raw: Any) -> list[Any]:
    """The tools that are functions; those of free text take one text."""
    found = []
    for tool in _listed(literal(raw) if isinstance(raw, str) else raw):
        if _kind(tool) == "custom":
            schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
            tool = {"name": tool.get("name"), "description": tool.get("description") or "", "parameters": schema}
        found.append(tool)
    return found


def _listed_by_servers(items: list[Any]) -> list[Any]:
    """The tools that MCP servers listed."""
    lists = [item["tools"] for item in items if _kind(item) == "mcp_list_tools" and has(item, tools=list)]
    return [tool for tools in lists for tool in tools]


def _with_answer(row: RawRow) -> RawRow:
    """The row with the right answer where a task looks for it."""
    held = row.value
    places = (
        held,
        *(held[k] for k in ("verifier_metadata", "metadata", "extra_info") if isinstance(held.get(k), dict)),
    )
    answer = next((p[k] for p in places for k in _ANSWERS if isinstance(p.get(k), str | int | float)), None)
    return row if answer is None else RawRow({**held, "answer": answer}, row.file, row.line, row.key)


def _object(value: Any) -> Json | None:
    value = literal(value) if isinstance(value, str) and value.lstrip()[:1] == "{" else value
    return value if isinstance(value, dict) else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _kind(item: Any) -> str:
    return item["type"] if has(item, type=str) else ""


SOURCE = Source("responses-log", matches, read)
