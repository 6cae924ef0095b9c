"""Calls and tools that stand in text: tagged JSON, `[f(a=1)]`, ReAct; definitions in a system message.

Each function gives calls as (name, arguments), and raises `Rejected("broken_call")` where a call is
begun but cannot be read.
"""

import json
import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

from rayplay.data.normal import Rejected, Toolset, read_tools
from rayplay.data.schemas import literal

Calls = list[tuple[Any, Any]]
NAME_KEYS = (
    "name", "api_name", "api", "function", "tool_name", "tool", "function_name", "recipient_name", "action",
)  # fmt: skip
ARGUMENT_KEYS = (
    "arguments", "parameters", "args", "kwargs", "param_dict", "parameter", "tool_arguments", "tool_input",
    "action_input", "input", "params",
)  # fmt: skip
_BETWEEN = re.compile(r"[ \t\r\n,]*+")
_TAG = re.compile(r"<(tool_call|TOOLCALL|call|tool_calls)>")
_MOST_CLOSINGS = 20  # how often a closing tag may stand within the strings of one call
_REACT = re.compile(r"^\s*(?:Thought:)?(.*?)\n\s*Action:\s*(.*?)\n\s*Action Input:\s*(.*)$", re.DOTALL)
_CONSTANTS = {"true": True, "false": False, "null": None, "none": None}


def tagged_calls(text: str) -> tuple[str, Calls]:
    """`... <tool_call>{...}</tool_call>` (one or more, a list or one JSON a line) -> (text, calls)."""
    calls: Calls = []
    said, at = "", 0
    while opened := _TAG.search(text, at):
        inner, end = _until_closed(text, opened.end(), f"</{opened[1]}>")
        said += text[at : opened.start()]
        calls.extend(json_calls(inner))
        at = end
    return (said + text[at:]).strip(), calls


def _until_closed(text: str, start: int, closing: str) -> tuple[str, int]:
    """What stands before the first closing tag that ends a readable call, else before the first; and one past it."""
    ends = [match.start() for match in islice(re.finditer(re.escape(closing), text[start:]), _MOST_CLOSINGS)]
    end = next((end for end in ends if literal(text[start : start + end].strip()) is not None), ends[0] if ends else -1)
    return (text[start:], len(text)) if end < 0 else (text[start : start + end], start + end + len(closing))


def json_calls(text: str) -> Calls:
    """One call, a list of calls, or calls one after another, as JSON or Python literals -> calls."""
    text = text.strip()
    if not text:
        return []
    whole = literal(text)
    if whole is None:
        return [call for line in json_objects(text) for call in calls_of(line)]
    return calls_of(whole)


def calls_of(value: Any) -> Calls:
    """A call, or a list of them, in any of the usual shapes -> calls."""
    if isinstance(value, list):
        return [call for item in value for call in calls_of(item)]
    if not isinstance(value, dict):
        raise Rejected("broken_call", f"a call is a {type(value).__name__}: {str(value)[:80]}")
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = next((value[k] for k in NAME_KEYS if k in value), None)
    return [(name, next((value[k] for k in ARGUMENT_KEYS if k in value), {}))]


def react_call(text: str) -> tuple[str, Calls]:
    """`Thought: ... Action: f Action Input: {...}` -> (thought, [call]); other text has no call."""
    match = _REACT.match("\n" + text.lstrip() if text.lstrip().startswith("Action:") else text)
    if not match:
        return re.sub(r"^\s*Thought:\s*", "", text).strip(), []
    arguments = literal(match[3].strip() or "{}")
    if not isinstance(arguments, dict):
        raise Rejected("broken_call", f"Action Input is no object: {match[3][:120]}")
    return match[1].strip(), [(match[2].strip(), arguments)]


def bracket_calls(text: str) -> Calls | None:
    """`[f(a=1), g(b="x")]` -> calls; None where the text is not of that form. Names may hold spaces and dots."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]") and "(" in text):
        return None
    calls: Calls = []
    for part in split_outside(text[1:-1], ","):
        head, inner = _head_and_arguments(part.strip())
        if not head or re.search(r'[\[\]{}="]', head):
            return None
        arguments = {}
        for pair in split_outside(inner, ","):
            key, equals, value = pair.partition("=")
            if not pair.strip():
                continue
            if not equals:
                raise Rejected("broken_call", f"argument without a name in {part[:120]}")
            arguments[key.strip()] = _python_value(value.strip())
        calls.append((head, arguments))
    return calls


def _head_and_arguments(call: str) -> tuple[str, str]:
    """`Tides (Ports)(port="Cork")` -> the name, and what stands in the last brackets; ("", "") where it is no call."""
    depth, start = 0, -1
    for at, mark in outside_quotes(call):
        if mark in "([{":
            start = at if not depth and mark == "(" else start
            depth += 1
        elif mark in ")]}":
            depth -= 1
    return (call[:start].strip(), call[start + 1 : -1]) if start > 0 and depth == 0 and call.endswith(")") else ("", "")


def tools_in(text: str) -> Toolset:
    """Definitions as a list, or one after another, each JSON or a Python literal.

    Raises:
        Rejected: They cannot be read.
    """
    whole = literal(text) if text.strip() else []
    if whole is None:
        lines = [literal(line) for line in text.splitlines() if line.strip()]
        try:
            whole = json_objects(text) if None in lines else lines
        except Rejected:
            raise Rejected("broken_tools", text) from None
    values = whole if isinstance(whole, list) else [whole]
    return read_tools([tool for value in values for tool in (value if isinstance(value, list) else [value])])


def between_tags(text: str, tags: Collection[str]) -> list[str]:
    """What stands between `<tag>` and its next `</tag>`, stripped, for any of the tags, in order."""
    found, at = [], 0
    closed = [tag for tag in tags if f"</{tag}>" in text]
    opening = re.compile("|".join(f"<({re.escape(tag)})>" for tag in closed))
    while closed and (match := opening.search(text, at)):
        end = text.find(f"</{match[0][1:-1]}>", match.end())
        at = match.end()
        if end >= 0:
            found.append(text[match.end() : end].strip())
            at = end
        else:  # no further one of this tag closes
            closed.remove(match[0][1:-1])
            opening = re.compile("|".join(f"<({re.escape(tag)})>" for tag in closed))
    return found


def split_outside(text: str, mark: str) -> list[str]:
    """Split at `mark` where it stands outside of quotes and brackets."""
    parts, depth, start = [], 0, 0
    for at, c in outside_quotes(text):
        if c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == mark and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def outside_quotes(text: str) -> Iterator[tuple[int, str]]:
    """(place, character) of what stands outside of quotes; an apostrophe behind a letter opens none."""
    quote, i = "", 0
    while i < len(text):
        c = text[i]
        if quote:
            i += c == "\\"
            quote = "" if c == quote else quote
        elif c in "\"'" and not (i and text[i - 1].isalnum()):
            quote = c
        else:
            yield i, c
        i += 1


def _python_value(text: str) -> Any:
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    value = literal(text)
    if value is not None:
        return value
    # a string without quotes, as models and some rows write it
    return text.strip("\"'")


def json_objects(text: str) -> list[Any]:
    """Objects one after another -> their values."""
    decoder = json.JSONDecoder(strict=False)
    found, at = [], 0
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            raise Rejected("broken_call", f"no JSON: {text[at : at + 120]}") from None
        found.append(value)
        at = _BETWEEN.match(text, at).end()
    return found
