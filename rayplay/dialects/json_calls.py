"""Readers of calls that are JSON: Hermes and Qwen's tags, Llama's bare objects, Mistral's lists, DeepSeek's blocks."""

import re
from collections.abc import Sequence

from rayplay.dialects.reading import Found, Reading, Thinking, call_of, end_of_broken, scan
from rayplay.records import ToolSpec
from rayplay.strict_json import read_json_at

_SPACE = re.compile(r"\s*")
_HERMES = re.compile(r"<tool_call>")
_HERMES_END = re.compile(r"\s*</tool_call>")
_LLAMA = re.compile(r'<\|python_tag\|>|\{(?=\s*"(?:name|type|function|parameters)"\s*:)')
_LLAMA_NEXT = re.compile(r'[;\n]\s*(?=\{\s*"(?:name|type)"\s*:)')
_LLAMA_BETWEEN = re.compile(r"\s*;\s*|\s*")
_MISTRAL = re.compile(r"\[TOOL_CALLS\]")
_MISTRAL_NAMED = re.compile(r"\s*([^\s\[\]{}]{1,256}?)\s*(?:\[CALL_ID\]\s*\w+\s*)?(?:\[ARGS\]\s*)?(?=\{)")
_DEEPSEEK = re.compile(r"<｜tool▁call▁begin｜>")
_DEEPSEEK_HEAD = re.compile(
    r"\s*([^<\n]{0,256}?)\s{0,9}<｜tool▁sep｜>\s*(?:([^\s{][^\n]{0,255}?)\s*\n\s*```(?:json)?\s*)?(?=\{)"
)
_DEEPSEEK_END = re.compile(r"\s*(?:```)?\s*<｜tool▁call▁end｜>")
_DEEPSEEK_AROUND = re.compile(r"<｜tool▁calls▁(?:begin|end)｜>")


def read_hermes(text: str, tools: Sequence[ToolSpec]) -> Reading:
    """`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, any number; a call ends where its JSON does."""

    def read(text: str, mark: re.Match[str]) -> tuple[list[Found], int]:
        start = _SPACE.match(text, mark.end()).end()
        try:
            value, end = read_json_at(text, start)
        except ValueError:
            value, end = None, start
        closed = _HERMES_END.match(text, end)
        if value is not None and closed:
            return [call_of(value, text[start:end])], closed.end()
        end = end_of_broken(text, end, "</tool_call>", "<tool_call>")
        return [Found(text[start:end].removesuffix("</tool_call>") or mark[0])], end

    return scan(text, _HERMES, read, Thinking())


def read_llama(text: str, tools: Sequence[ToolSpec]) -> Reading:
    """`{"name": ..., "parameters": {...}}`, one or several between `;`, behind `<|python_tag|>` or bare.

    Where a message begins so, it is a call even if it cannot be read; within text only what has a call's form is one.
    """
    names = {tool.name for tool in tools}

    def read(text: str, mark: re.Match[str]) -> tuple[list[Found], int]:
        tagged = mark[0] != "{"
        start = _SPACE.match(text, mark.end()).end() if tagged else mark.start()
        leading = tagged or not text[: mark.start()].strip()
        try:
            value, end = read_json_at(text, start)
        except ValueError:
            following = _LLAMA_NEXT.search(text, start)
            end = following.end() if following else len(text)
            begun = leading or '"parameters"' in text[start:end] or '"arguments"' in text[start:end]
            return ([Found(text[start:end] or mark[0])] if begun else []), end
        found = call_of(value, text[start:end])
        named = tagged or (isinstance(value, dict) and (found.name in names or (leading and found.name and not names)))
        formed = found.arguments is not None and isinstance(value, dict) and len(value) > 1
        if not (named or formed):
            return [], end
        return [found], _LLAMA_BETWEEN.match(text, end).end()

    return scan(text, _LLAMA, read, Thinking())


def read_mistral(text: str, tools: Sequence[ToolSpec]) -> Reading:
    """`[TOOL_CALLS][{"name": ..., "arguments": ...}, ...]`, or `[TOOL_CALLS]name[ARGS]{...}` of later tokenizers."""

    def read(text: str, mark: re.Match[str]) -> tuple[list[Found], int]:
        start = _SPACE.match(text, mark.end()).end()
        named = _MISTRAL_NAMED.match(text, start)
        try:
            value, end = read_json_at(text, named.end() if named else start)
        except ValueError:
            following = text.find(mark[0], start)
            end = following if following >= 0 else len(text)
            return [Found(text[start:end] or mark[0])], end
        raw = text[start:end]
        if named:
            return [Found(raw, named[1], value if isinstance(value, dict) else None)], end
        values = value if isinstance(value, list) else [value]
        return [call_of(one, raw) for one in values] or [Found(raw)], end

    return scan(text, _MISTRAL, read, Thinking("[THINK]", "[/THINK]"))


def read_deepseek(text: str, tools: Sequence[ToolSpec]) -> Reading:
    """DeepSeek V3, R1 (`function`, name, fenced JSON) and V3.1 (name, JSON) between its call marks."""

    def read(text: str, mark: re.Match[str]) -> tuple[list[Found], int]:
        start = mark.end()
        head = _DEEPSEEK_HEAD.match(text, start)
        try:
            value, end = read_json_at(text, head.end() if head else start)
        except ValueError:
            value, end = None, start
        closed = _DEEPSEEK_END.match(text, end)
        if head and closed and isinstance(value, dict):
            return [Found(text[start:end], (head[2] or head[1]).strip(), value)], closed.end()
        end = end_of_broken(text, end, "<｜tool▁call▁end｜>", mark[0])
        return [Found(text[start:end] or mark[0])], end

    found = scan(text, _DEEPSEEK, read, Thinking())
    begun = not found.calls and "<｜tool▁calls▁begin｜>" in found.content
    content = _DEEPSEEK_AROUND.sub("", found.content).strip()
    return Reading(content, [Found(text)] if begun else found.calls)
