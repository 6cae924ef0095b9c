"""Calls as model families write them in text -> (what is said, calls).

Data sets often hold the rendered text of a call where the call itself should stand. Every family marks its calls in its
own way; between the marks stands JSON, a Python literal, XML-like parameters or Python syntax. A mark is never plain
text: what cannot be read behind one raises `Rejected("broken_call")`, so that a call is not taken for "no call".
Thinking is left alone: a draft of a call in it is none.
"""

import re
from collections.abc import Callable
from typing import Any

from rayplay.data.calltext import (
    ARGUMENT_KEYS,
    NAME_KEYS,
    Calls,
    bracket_calls,
    calls_of,
    json_objects,
    react_call,
    split_outside,
)
from rayplay.data.normal import Rejected, TextArguments, Toolset
from rayplay.data.schemas import literal

_THINKING = re.compile(
    r"(<think>.*?(?:</think>|\Z)|\A(?:(?!<think>).)*?</think>|\[THINK\].*?(?:\[/THINK\]|\Z)"
    r"|<(?:thinking|thought|reasoning)>.*?(?:</(?:thinking|thought|reasoning)>|\Z)|<\|channel>thought.*?(?:<channel\|>|\Z))",
    re.DOTALL,
)
_TAGS = "tool_calls|tool_call|TOOLCALL|TOOL_CALL|functioncall|function_calls|function_call|call"
# opening mark -> closing mark; `\Z` where a family may end a message without closing
_MARKS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(opening), closing)
    for opening, closing in (
        (rf"<(?P<tag>{_TAGS})>", r"</{tag}>|<\|endoftext\|>|\Z"),
        (r"(?=<function=)", r"</function>|\Z"),
        (r"(?=<invoke name=)", r"</invoke>|\Z"),
        (r"\[TOOL_CALLS\]", r"(?=\[TOOL_CALLS\])|</s>|\Z"),
        (r"<\|python_tag\|>", r"<\|eom_id\|>|<\|eot_id\|>|\Z"),
        (r"<\|tool_call>", r"<tool_call\|>|\Z"),
        (r"<start_function_call>", r"<end_function_call>|\Z"),
        (r"<\|tool_call\|>", r"<\|/tool_call\|>|\Z"),
        (r"<\|tool_call_(?:begin|start)\|>", r"<\|tool_call_end\|>|\Z"),
        (r"<｜tool▁call▁begin｜>", r"<｜tool▁call▁end｜>|\Z"),
        (r"<\|action_start\|>\s*<\|plugin\|>", r"<\|action_end\|>|\Z"),
        (r"<\|START_ACTION\|>", r"<\|END_ACTION\|>|\Z"),
        (r"functools(?=\[)", r"\Z"),
        (r"```(?:tool_code|tool_calls?|function_calls?)\n", r"```|\Z"),
        (r"(?=to=functions\.)", r"<\|call\|>|\Z"),
    )
)
_ANY_MARK = re.compile("|".join(re.sub(r"\?P<tag>", "?:", opening.pattern) for opening, _ in _MARKS))
# marks around the calls of a message, and of gpt-oss's channels, which hold nothing by themselves
_WRAPPERS = re.compile(
    r"<｜tool▁calls▁(?:begin|end)｜>|<\|tool_calls_section_(?:begin|end)\|>|<\|start\|>assistant|<\|return\|>|<\|end\|>"
    r"|<\|channel\|>(?:final|commentary)\s*(?:<\|message\|>|(?=to=))|<\|im_end\|>|<\|eot_id\|>"
    r"|to=(?!functions\.)[\w.\-]+<\|message\|>|<\|eot\|>|<\|tool_response>|<\|observation\|>|<turn\|>"
)
_ANALYSIS = re.compile(r"<\|channel\|>analysis<\|message\|>(.*?)(?:<\|end\|>|\Z)", re.DOTALL)
_PREFIXES = re.compile(r"(</?)(?:｜DSML｜|\w+:)(?=function_calls>|invoke|parameter|tool_calls?>)")
_MOST_CLOSINGS = 20  # how often a closing mark may stand within the strings of one call


def calls_in_text(text: str, tools: Toolset) -> tuple[str, Calls]:
    """What an assistant's text says, and the calls in it.

    Args:
        text: As it stands in the data; `<think>` text is kept and not searched.
        tools: The row's. Calls without a mark (bare JSON, `[f(a=1)]`) count as such by their names.

    Raises:
        Rejected: A marked call cannot be read ("broken_call"), or a call stands within other text or without the tools
            that would tell what it is ("call_as_text").
    """
    said: list[str] = []
    calls: Calls = []
    text = _ANALYSIS.sub(lambda m: f"<think>{m[1]}</think>", _PREFIXES.sub(r"\1", text))
    for n, part in enumerate(_THINKING.split(text)):
        if n % 2:
            said.append(_as_thinking(part))
            continue
        rest, found = marked_calls(part)
        if not found:
            rest, found = _bare_calls(rest, tools)
        said.append(rest.strip())
        calls.extend(found)
    return ("\n".join(part for part in said if part), calls) if calls else (text, [])


def _as_thinking(part: str) -> str:
    """A stretch of thinking under the usual tags; "" where it is blank."""
    thought = re.sub(r"</?(?:think|thinking|thought|reasoning)>|\[/?THINK\]|<\|channel>thought|<channel\|>", "", part)
    return f"<think>{thought.strip()}</think>" if thought.strip() else ""


def marked_calls(text: str) -> tuple[str, Calls]:
    """Calls between the marks of any family -> (the text without them, calls)."""
    if not _ANY_MARK.search(text):
        return text, []
    said: list[str] = []
    calls: Calls = []
    text = _WRAPPERS.sub("", text)
    at = 0
    while found := _next_mark(text, at):
        start, body, closing = found
        said.append(text[at:start])
        made, at = _between(text, body, closing)
        calls.extend(made)
    return "".join([*said, text[at:]]).strip(), calls


def _next_mark(text: str, at: int) -> tuple[int, int, re.Pattern[str]] | None:
    """(start of the mark, start of what it holds, its closing mark) of the next call."""
    found = _ANY_MARK.search(text, at)
    if not found:
        return None
    for opening, closing in _MARKS:
        if match := opening.match(text, found.start()):
            return match.start(), match.end(), re.compile(closing.format(**match.groupdict()))
    return None


def _between(text: str, start: int, closing: re.Pattern[str]) -> tuple[Calls, int]:
    """The calls up to the first closing mark at which they can be read (an earlier one stands within a string)."""
    end = start
    for _, close in zip(range(_MOST_CLOSINGS), closing.finditer(text, start), strict=False):
        body = text[start : close.start()]
        calls = _read_body(body + (close[0] if close[0] in ("</function>", "</invoke>") else ""))
        if calls:
            return calls, close.end()
        end = close.end()
    raise Rejected("broken_call", f"a marked call that cannot be read: {text[start:end][:120]}")


def _read_body(body: str) -> Calls | None:
    """What stands between two marks, by whichever reader understands it."""
    body = body.strip()
    if not body:
        return None
    return next((calls for read in _READERS if (calls := read(body))), None)


def _json_body(body: str) -> Calls | None:
    value = literal(body)
    if value is None and body[0] in "[{":
        try:
            value = json_objects(body.replace("};", "},"))
        except Rejected:
            return _quoted_arguments(body)
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    return calls_of(value) if isinstance(value, dict | list) and value else None


_QUOTED = re.compile(r"""^\{\s*"name"\s*:\s*"([^"]+)"\s*,\s*"arguments"\s*:\s*'(.*)'\s*\}$""", re.DOTALL)


def _quoted_arguments(body: str) -> Calls | None:
    """Glaive writes the JSON text of arguments in single quotes."""
    quoted = _QUOTED.match(body)
    arguments = literal(quoted[2].replace("\\'", "'")) if quoted else None
    return [(quoted[1], arguments)] if isinstance(arguments, dict) else None


_FUNCTION = re.compile(r"<function=([^<>\s]{1,200})\s*+>(.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER = re.compile(
    r"<parameter=([^<>\s]{1,200})\s*+>(.*?)(?:</parameter>(?=\s*+(?:<parameter=|\Z))|\Z)", re.DOTALL
)
_INVOKE = re.compile(r"<invoke name=[\"']([^\"']+)[\"']\s*>(.*?)(?:</invoke>|\Z)", re.DOTALL)
_NAMED_PARAMETER = re.compile(r"<parameter name=[\"']([^\"']+)[\"']([^>]*)>(.*?)(?:</parameter>|\Z)", re.DOTALL)


def _function_body(body: str) -> Calls | None:
    """Qwen's `<function=f><parameter=a>1</parameter></function>`, and Llama's `<function=f>{"a": 1}</function>`."""
    calls: Calls = []
    if not body.startswith("<function=") or ("<parameter=" in body and not body.endswith("</function>")):
        return None
    for name, inner in _FUNCTION.findall(body):
        if inner.strip().startswith("{"):
            arguments = literal(inner.strip())
        else:
            arguments = TextArguments((k, _without_newlines(v)) for k, v in _PARAMETER.findall(inner))
            if inner.strip() and not arguments:
                return None
        if not isinstance(arguments, dict):
            return None
        calls.append((name, arguments))
    return calls


def _invoke_body(body: str) -> Calls | None:
    """`<invoke name="f"><parameter name="a">1</parameter></invoke>`; DeepSeek says which values are strings."""
    if not body.startswith("<invoke name=") or not body.endswith("</invoke>"):
        return None
    calls: Calls = []
    for name, inner in _INVOKE.findall(body):
        found = _NAMED_PARAMETER.findall(inner)
        if inner.strip() and not found:
            return None
        if found and all("string=" in about for _, about, _ in found):
            arguments: dict[str, Any] = {k: v if '"true"' in about else literal(v) for k, about, v in found}
        else:
            arguments = TextArguments((k, _without_newlines(v)) for k, _, v in found)
        calls.append((name, arguments))
    return calls


_NAMED_JSON = re.compile(
    r"(?:function\s*+<｜tool▁sep｜>)?\s*+(?:to=)?(?:functions\.)?(?P<name>[\w.\-]++)(?::\d++)?\s*+"
    r"(?:<\|channel\|>\w++\s*+)?(?:(?:<\|constrain\|>)?json\s*+)?(?:\[CALL_ID\]\w++)?"
    r"(?:\[ARGS\]|<｜tool▁sep｜>|<\|tool_call_argument_begin\|>|<\|message\|>)?\s*+(?:```json)?\s*+"
    r"(?P<arguments>\{.*\})\s*+(?:```)?",
    re.DOTALL,
)


def _named_json_body(body: str) -> Calls | None:
    """A name, a mark and JSON arguments: Mistral, DeepSeek, Kimi, gpt-oss."""
    match = _NAMED_JSON.fullmatch(body)
    arguments = literal(match["arguments"]) if match else None
    return [(match["name"], arguments)] if isinstance(arguments, dict) else None


_GLM_ARGUMENT = re.compile(r"<arg_key>([^<]*)</arg_key>\s*<arg_value>(.*?)</arg_value>", re.DOTALL)


def _glm_body(body: str) -> Calls | None:
    """`f` and then `<arg_key>a</arg_key><arg_value>1</arg_value>`."""
    name, opened, rest = body.partition("<arg_key>")
    if not opened or not name.strip() or not body.endswith("</arg_value>"):
        return None
    pairs = _GLM_ARGUMENT.findall(opened + rest)
    return [(name.strip(), TextArguments((k.strip(), v) for k, v in pairs))]


_QUOTES = re.compile(r'<\|"\|>(.*?)<\|"\|>|<escape>(.*?)<escape>', re.DOTALL)
_BARE_KEY = re.compile(r'([{,]\s*)([^\s"{}\[\],:]+)\s*:')


def _gemma_body(body: str) -> Calls | None:
    """`call:f{a:<|"|>x<|"|>,b:3}`."""
    if not body.startswith("call:") or "{" not in body:
        return None
    name, _, rest = body[len("call:") :].partition("{")
    strings: list[str] = []

    def kept(match: re.Match[str]) -> str:
        strings.append(match[1] if match[1] is not None else match[2])
        return f'"\ue000{len(strings) - 1}\ue000"'

    arguments = literal(_BARE_KEY.sub(r'\1"\2":', _QUOTES.sub(kept, "{" + rest)))
    return [(name.strip(), _with_strings(arguments, strings))] if isinstance(arguments, dict) else None


def _with_strings(value: Any, strings: list[str]) -> Any:
    if isinstance(value, dict):
        return {_with_strings(k, strings): _with_strings(v, strings) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_strings(v, strings) for v in value]
    if isinstance(value, str) and len(value) > 2 and value[0] == value[-1] == "\ue000":
        return strings[int(value[1:-1])]
    return value


_PRINTED = re.compile(r"print\((.*)\)\Z", re.DOTALL)


def python_calls(body: str) -> Calls | None:
    """`f(a=1)`, several of them one a line, or `[f(a=1), g()]`; None where it is other text."""
    listed = bracket_calls(body)
    if listed is not None:
        return listed
    lines = split_outside(body, "\n")
    calls: Calls = []
    for line in lines:
        line = line.strip().rstrip(";")
        printed = _PRINTED.match(line)
        found = bracket_calls(f"[{printed[1] if printed else line}]") if line else []
        if found is None or not all(re.fullmatch(r"[\w.\-]+", name) for name, _ in found):
            return None
        calls.extend((name.removesuffix(".call"), arguments) for name, arguments in found)
    return calls or None


_READERS: tuple[Callable[[str], Calls | None], ...] = (
    _function_body,
    _invoke_body,
    _gemma_body,
    _glm_body,
    _named_json_body,
    _json_body,
    python_calls,
)

_ENDS = re.compile(r"(?:<\|(?:eot_id|eom_id|im_end|end_of_text|endoftext|end|return)\|>|</s>)\Z")
_LINE_OF_CALL = re.compile(r"\n[ \t]*+([\[{`]|[\w.\-]++\()")
_MOST_TAILS = 50  # lines of one text that are tried as the first of its calls
_FENCE = re.compile(r"\A```(?:json|python|xml)?\s*\n(.*?)\n?```\Z", re.DOTALL)
_KEYS = {*NAME_KEYS, *ARGUMENT_KEYS, "id", "type", "call_id", "tool_call_id"}
_LISTS = ("tool_calls", "tool_uses", "function_calls")


def _bare_calls(text: str, tools: Toolset) -> tuple[str, Calls]:
    """Calls without a mark: the whole text, or all that follows a line of prose."""
    body = _ENDS.sub("", text.rstrip()).strip()
    if re.fullmatch(r"`[^`]+`", body):
        body = body.strip("`")
    fenced = _FENCE.match(body)
    said, whole = "", _whole_calls(fenced[1].strip() if fenced else body, tools)
    if not whole and "Action Input:" in body:
        said, whole = react_call(body)
    if whole:
        if not tools.specs:
            raise Rejected("call_as_text", body)
        return said, whole
    mentioned = [name for spec in tools.specs for name in {spec.name, spec.original_name or spec.name} if name in body]
    if not mentioned:
        return text, []
    for _, line in zip(range(_MOST_TAILS), _LINE_OF_CALL.finditer(body), strict=False):
        calls = _whole_calls(_FENCE.sub(r"\1", body[line.start(1) :]).strip(), tools)
        if calls and _are_known(calls, tools):
            return body[: line.start(1)].strip(), calls
    if any(re.search(_hidden_call(re.escape(name)), body) for name in mentioned):
        raise Rejected("call_as_text", body)
    return text, []


def _whole_calls(body: str, tools: Toolset) -> Calls | None:
    """The calls of a text that is nothing else."""
    if body[:1] in ("{", "["):
        items = _values(body)
        if items and all(_is_call(item) for item in items):
            return calls_of(items)
        if items and all(isinstance(i, dict) and i and _are_named(i, tools) for i in items):
            return [call for item in items for call in item.items()]
    try:
        calls = python_calls(body) if body.endswith((")", "]")) else None
    except Rejected:  # words in brackets, as a song's [Chorus (twice)]
        return None
    if not calls or _are_known(calls, tools):
        return calls or None
    return calls if body.startswith("[") and any(arguments for _, arguments in calls) else None


def _values(body: str) -> list[Any]:
    """The JSON or Python values of a text: one, the members of a list, or several one after another."""
    value = literal(body)
    if value is None:
        try:
            return json_objects(body)
        except Rejected:
            return []
    held = next((value[k] for k in _LISTS if isinstance(value.get(k), list)), None) if isinstance(value, dict) else None
    value = held or value
    return value if isinstance(value, list) else [value]


def _are_named(value: dict[str, Any], tools: Toolset) -> bool:
    """`{"f": {"a": 1}}`: names of known tools with their arguments."""
    return all(tools.find(name) and isinstance(arguments, dict) for name, arguments in value.items())


def _are_known(calls: Calls, tools: Toolset) -> bool:
    return all(isinstance(name, str) and tools.find(name) for name, _ in calls)


def _is_call(value: Any) -> bool:
    """Whether a value is a call in one of the usual shapes, and nothing beside."""
    if not isinstance(value, dict) or not set(value) <= _KEYS:
        return False
    inner = value["function"] if isinstance(value.get("function"), dict) else value
    named = any(isinstance(inner.get(k), str) for k in NAME_KEYS)
    return named and any(isinstance(inner.get(k), dict | str) for k in ARGUMENT_KEYS)


def _hidden_call(name: str) -> str:
    """A pattern of a call of that tool: JSON with a name and arguments in either order, `[f(`, or tags of its name."""
    named, given = (rf'"(?:{"|".join(keys)})"\s*:\s*' for keys in (NAME_KEYS, ARGUMENT_KEYS))
    json_call = rf'{named}"(?:functions\.)?{name}"\s*,\s*{given}|{given}[{{"\[][^\n]{{0,2000}}?{named}"{name}"'
    return rf'{json_call}|\[\s*{name}\(|<{name}>|\{{\s*"{name}"\s*:\s*\{{'


def _without_newlines(text: str) -> str:
    """A parameter's text without the newline behind its opening and before its closing tag."""
    return text.removeprefix("\n").removesuffix("\n")
