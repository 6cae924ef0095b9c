"""Readers of calls whose arguments are untyped text: Qwen3-Coder's and GLM's tags, typed by the tools' schemas.

The template writes a string as it is and everything else as JSON, so `3` may be either; only the schema can say.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rayplay.dialects.reading import Found, Reading, Thinking, end_of_broken, scan
from rayplay.dialects.shown import resolve
from rayplay.records import Json, ToolSpec
from rayplay.strict_json import read_json
from rayplay.toolbox import find_tool

_QWEN = re.compile(r"<tool_call>\s*<function=|<function=|<tool_call>")
_QWEN_NAME = re.compile(r"([^>\n]{1,256})>")
_QWEN_KEY = re.compile(r"\s*<parameter=([^>\n]{1,256})>")
_QWEN_VALUE_END = re.compile(r"</parameter>(?=\s*(?:<parameter=|</function>))")
_QWEN_NEXT = re.compile(r"<tool_call>\s*<function=")
_QWEN_END = re.compile(r"\s*</function>(?:\s*</tool_call>)?")
_GLM = re.compile(r"<tool_call>")
_GLM_NAME = re.compile(r"\s*([^\s<]{1,256})\s*(?=<arg_key>|</tool_call>)")
_GLM_PAIR = re.compile(r"\s*<arg_key>([^<]{1,256})</arg_key>\s*<arg_value>")
_GLM_VALUE_END = re.compile(r"</arg_value>(?=\s*(?:<arg_key>|</tool_call>))")
_GLM_NEXT = re.compile(r"<tool_call>\s*[^\s<]{1,256}\s*<arg_key>")
_GLM_END = re.compile(r"\s*</tool_call>")
_WORDS = {"true": True, "false": False}
_MOST_BRANCHES = 64


def read_qwen_xml(text: str, tools: Sequence[ToolSpec]) -> Reading:
    """`<tool_call><function=f><parameter=k>value</parameter></function></tool_call>`; the outer tag may be missing."""

    def read(text: str, mark: re.Match[str]) -> tuple[list[Found], int]:
        named = _QWEN_NAME.match(text, mark.end()) if mark[0].endswith("=") else None
        pairs, at = _pairs(text, named.end(), _QWEN_KEY, _QWEN_VALUE_END, _QWEN_NEXT) if named else (None, mark.end())
        return _finish(text, mark, named, pairs, _QWEN_END.match(text, at), tools)

    return scan(text, _QWEN, read, Thinking())


def read_glm(text: str, tools: Sequence[ToolSpec]) -> Reading:
    """`<tool_call>f<arg_key>k</arg_key><arg_value>value</arg_value></tool_call>`, any number."""

    def read(text: str, mark: re.Match[str]) -> tuple[list[Found], int]:
        named = _GLM_NAME.match(text, mark.end())
        pairs, at = _pairs(text, named.end(), _GLM_PAIR, _GLM_VALUE_END, _GLM_NEXT) if named else (None, mark.end())
        return _finish(text, mark, named, pairs, _GLM_END.match(text, at), tools)

    return scan(text, _GLM, read, Thinking())


def typed(text: str, schema: Json, root: Json) -> Any:
    """The JSON value that an argument's text stands for, by its schema.

    Where the schema takes strings and something else, the text is what else it can be: the template writes null,
    numbers and objects no other way. Text that is nothing the schema takes stays text, for the validator to refuse.
    """
    kinds, values = _accepted(schema, root)
    if text in values:
        return text
    if kinds == {"string"}:
        return text
    try:
        value = read_json(text.strip())
    except ValueError:
        return _WORDS.get(text.strip().lower(), text) if "boolean" in kinds and "string" not in kinds else text
    if isinstance(value, str) and "string" in kinds:
        return text
    return value if not kinds or any(_is(value, kind) for kind in kinds) or "string" not in kinds else text


def _pairs(
    text: str, at: int, key: re.Pattern[str], end: re.Pattern[str], next_call: re.Pattern[str]
) -> tuple[dict[str, str] | None, int]:
    """Names and texts of the arguments from `at`; None where one has no end before the next call, or stands twice."""
    pairs: dict[str, str] = {}
    while opened := key.match(text, at):
        closed = end.search(text, opened.end())
        name = opened[1].strip()
        if closed is None or name in pairs or next_call.search(text, opened.end(), closed.start()):
            return None, at
        pairs[name] = text[opened.end() : closed.start()].removeprefix("\n").removesuffix("\n")
        at = closed.end()
    return pairs, at


def _finish(
    text: str,
    mark: re.Match[str],
    named: re.Match[str] | None,
    pairs: dict[str, str] | None,
    closed: re.Match[str] | None,
    tools: Sequence[ToolSpec],
) -> tuple[list[Found], int]:
    if named is None or pairs is None or closed is None:
        end = end_of_broken(text, mark.end(), "</tool_call>", "<tool_call>")
        return [Found(text[mark.start() : end], named[1].strip() if named else "")], end
    name = named[1].strip()
    spec = find_tool(tools, name)
    root = spec.parameters if spec else {}
    known = root.get("properties", {}) if isinstance(root.get("properties"), dict) else {}
    arguments = {key: typed(value, known.get(key, {}), root) for key, value in pairs.items()}
    return [Found(text[mark.start() : closed.end()], name, arguments)], closed.end()


def _accepted(schema: Any, root: Json) -> tuple[set[str], set[str]]:
    """The types that a schema takes (none named: any), and the strings that it names as values."""
    kinds: set[str] = set()
    values: set[str] = set()
    for branch in _branches(schema, root):
        named = branch.get("type")
        kinds |= {kind for kind in (named if isinstance(named, list) else [named]) if isinstance(kind, str)}
        listed = branch["enum"] if isinstance(branch.get("enum"), list) else []
        for value in [*listed, *([branch["const"]] if "const" in branch else [])]:
            kinds |= {_kind(value)} if named is None else set()
            values |= {value} if isinstance(value, str) else set()
    return kinds, values


def _branches(schema: Any, root: Json) -> Iterator[Json]:
    waiting, seen = [schema], 0
    while waiting and seen < _MOST_BRANCHES:
        branch = resolve(waiting.pop(0), root)
        seen += 1
        if isinstance(branch, dict):
            yield branch
            for key in ("anyOf", "oneOf", "allOf"):
                waiting += branch[key] if isinstance(branch.get(key), list) else []


def _kind(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _is(value: Any, kind: str) -> bool:
    found = _kind(value)
    return found == kind or (kind == "number" and found == "integer") or (kind == "integer" and _is_whole(value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()
