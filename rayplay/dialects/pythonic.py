"""Calls written as Python, `[f(a=1), g(b="x")]` (Llama 4, LFM2): names with dots and dashes, JSON or Python values."""

import ast
import re
import warnings
from collections.abc import Sequence
from typing import Any

from rayplay.dialects.reading import Found, Reading, Thinking, scan
from rayplay.records import ToolSpec
from rayplay.strict_json import MAX_DEPTH, read_json

_OPENER = re.compile(
    r"<\|(?:python_start|tool_call_start)\|>\s*\[?"
    r"|(?:\A|(?<=\n))[ \t]*\[(?=\s*[A-Za-z_][\w.\-/]*\s*\()"  # where a line begins with it
)
_CLOSER = re.compile(r"\s*<\|(?:python_end|tool_call_end)\|>")
_NAME = re.compile(r"\s*([A-Za-z_][\w.\-/]*)\s*\(\s*")
_KEY = re.compile(r"\s*([^\s=(),'\"]{1,256})\s*=\s*")
_SPACE = re.compile(r"\s*")
_CONSTANTS = {"true": True, "false": False, "null": None, "none": None}
_LONGEST_VALUE = 100_000
_BRACKETS = {"(": ")", "[": "]", "{": "}"}


def read_pythonic(text: str, tools: Sequence[ToolSpec]) -> Reading:
    """A list of calls where a line begins with it, or between a family's marks."""

    def read(text: str, mark: re.Match[str]) -> tuple[list[Found], int]:
        start, tagged = mark.end(), "|>" in mark[0]
        try:
            calls, end = _calls(text, start)
        except ValueError:
            closed = _CLOSER.search(text, start)
            line = text.find("\n", start)
            end = closed.end() if closed else line if line >= 0 and not tagged else len(text)
            return [Found(text[mark.start() : end])], end
        closed = _CLOSER.match(text, end)
        return calls, closed.end() if closed else end

    return scan(text, _OPENER, read, Thinking())


def _calls(text: str, at: int) -> tuple[list[Found], int]:
    calls: list[Found] = []
    while True:
        named = _NAME.match(text, at)
        if named is None:
            raise ValueError(f"no call at character {at}")
        arguments, end = _arguments(text, named.end())
        calls.append(Found(text[named.start() : end].strip(), named[1], arguments))
        at = _SPACE.match(text, end).end()
        if text.startswith("]", at):
            return calls, at + 1
        if _CLOSER.match(text, at):
            return calls, at
        if not text.startswith(",", at):
            raise ValueError(f"no end of the list at character {at}")
        at += 1


def _arguments(text: str, at: int) -> tuple[dict[str, Any] | None, int]:
    """The arguments up to the closing bracket; None where they are bracketed well but cannot be read."""
    found: dict[str, Any] = {}
    broken = False
    while not text.startswith(")", at):
        key = _KEY.match(text, at)
        start = key.end() if key else at
        end = _end_of_value(text, start)
        try:
            value = literal(text[start:end])
            broken |= key is None or key[1] in found
        except ValueError:
            value, broken = None, True
        if key:
            found[key[1]] = value
        at = end
        if text.startswith(",", at):
            at = _SPACE.match(text, at + 1).end()
    return None if broken else found, at + 1


def _end_of_value(text: str, at: int) -> int:
    """Where the comma or bracket stands that ends a value, outside of strings and brackets."""
    closing: list[str] = []
    while at < len(text):
        char = text[at]
        if char in "'\"":
            at = _end_of_string(text, at)
            continue
        if not closing and char in ",)":
            return at
        if char in _BRACKETS:
            closing.append(_BRACKETS[char])
        elif closing and char == closing[-1]:
            closing.pop()
        elif char in ")]}":
            break
        at += 1
    raise ValueError("a value without an end")


def _end_of_string(text: str, at: int) -> int:
    quote = text[at : at + 3] if text[at : at + 3] in ("'''", '"""') else text[at]
    at += len(quote)
    while at < len(text):
        if text[at] == "\\":
            at += 2
        elif text.startswith(quote, at):
            return at + len(quote)
        else:
            at += 1
    raise ValueError("a string without an end")


def literal(text: str) -> Any:
    """A JSON value or a Python literal; `true`, `false` and `null` count in both.

    Raises:
        ValueError: It is neither.
    """
    text = text.strip()
    try:
        return read_json(text)
    except ValueError:
        pass
    if len(text) > _LONGEST_VALUE:
        raise ValueError("too long for a literal")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unknown escape in a string is the model's, not ours
            tree = ast.parse(text, mode="eval")
        return _value(tree.body, MAX_DEPTH)
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"no literal: {text[:80]}") from error


def _value(node: ast.expr, depth: int) -> Any:
    if depth <= 0:
        raise ValueError("nested too deeply")
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, str | int | float)):
        return node.value
    if isinstance(node, ast.Name) and node.id.lower() in _CONSTANTS:
        return _CONSTANTS[node.id.lower()]
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item, depth - 1) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = [_value(key, depth - 1) if key else None for key in node.keys]
        if not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
            raise ValueError("keys of an object are different strings")
        return dict(zip(keys, (_value(item, depth - 1) for item in node.values), strict=True))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        number = _value(node.operand, depth - 1)
        if isinstance(number, int | float) and not isinstance(number, bool):
            return -number if isinstance(node.op, ast.USub) else number
    raise ValueError("no literal")
