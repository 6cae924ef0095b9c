"""Gemma 4's calls -> records: `<|tool_call>call:name{key:value,...}<tool_call|>`, strings between `<|"|>`."""

import re
from collections.abc import Sequence
from typing import Any

from rayplay.dialects.reading import Found, Reading, Thinking, end_of_broken, scan
from rayplay.records import ToolSpec
from rayplay.strict_json import MAX_DEPTH, read_json_at

_OPENER = re.compile(r"<\|tool_call\|?>")
_NAME = re.compile(r"\s*call:\s*([^\s{}<]{1,256})\s*(?=\{)")
_END = re.compile(r"\s*<\|?tool_call\|>")
_SPACE = re.compile(r"\s*")
_KEY = re.compile(r'([^:{}\[\],"<]{1,256}?)\s*(?=:)')
_WORDS = (("true", True), ("false", False), ("null", None), ("None", None))
_QUOTE = '<|"|>'


def read_gemma(text: str, tools: Sequence[ToolSpec]) -> Reading:
    """Any number of calls; a name may hold whatever stands before its brace."""

    def read(text: str, mark: re.Match[str]) -> tuple[list[Found], int]:
        start = mark.end()
        named = _NAME.match(text, start)
        try:
            arguments, end = _value(text, named.end(), MAX_DEPTH) if named else (None, start)
        except ValueError:
            arguments, end = None, start
        closed = _END.match(text, end)
        if named and closed and isinstance(arguments, dict):
            return [Found(text[start:end], named[1], arguments)], closed.end()
        end = end_of_broken(text, start, "<tool_call|>", "<|tool_call>")
        return [Found(text[start:end] or mark[0], named[1] if named else "")], end

    return scan(text, _OPENER, read, Thinking("<|channel>", "<channel|>"))


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    at = _SPACE.match(text, at).end()
    if depth <= 0:
        raise ValueError("nested too deeply")
    if text.startswith(_QUOTE, at):
        end = text.find(_QUOTE, at + len(_QUOTE))
        if end < 0:
            raise ValueError("a string without an end")
        return text[at + len(_QUOTE) : end], end + len(_QUOTE)
    if text.startswith("{", at):
        return _object(text, at + 1, depth)
    if text.startswith("[", at):
        return _list(text, at + 1, depth)
    for word, value in _WORDS:
        if text.startswith(word, at):
            return value, at + len(word)
    return read_json_at(text, at)


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    at = _SPACE.match(text, at).end()
    while not text.startswith("}", at):
        key, at = _key(text, at, depth)
        at = _expect(text, at, ":")
        if key in found:
            raise ValueError("a key stands twice in one object")
        found[key], at = _value(text, at, depth - 1)
        at = _next_item(text, at, "}")
    return found, at + 1


def _list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    at = _SPACE.match(text, at).end()
    while not text.startswith("]", at):
        value, at = _value(text, at, depth - 1)
        found.append(value)
        at = _next_item(text, at, "]")
    return found, at + 1


def _key(text: str, at: int, depth: int) -> tuple[str, int]:
    if text.startswith((_QUOTE, '"'), at):
        key, end = _value(text, at, depth)
        return key, _SPACE.match(text, end).end()
    bare = _KEY.match(text, at)
    if bare is None:
        raise ValueError(f"no key at character {at}")
    return bare[1], bare.end()


def _next_item(text: str, at: int, closing: str) -> int:
    """Past a comma, or at the closing bracket."""
    at = _SPACE.match(text, at).end()
    return at if text.startswith(closing, at) else _SPACE.match(text, _expect(text, at, ",")).end()


def _expect(text: str, at: int, mark: str) -> int:
    if not text.startswith(mark, at):
        raise ValueError(f"no {mark!r} at character {at}")
    return at + 1
