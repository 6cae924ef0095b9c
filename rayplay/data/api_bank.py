"""API-Bank dialogues, one a file: lines of {"role": "User" | "AI" | "API"} -> Demonstrations.

The files hold no schemas. What the search tool printed is taken as a tool's definition; for the others the definition
is what is seen in use over all files: every parameter that occurs, required where no call omits it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rayplay.data.normal import Builder, Rejected, Toolset, read_tool
from rayplay.data.reading import RawRow, whole_files
from rayplay.data.source import Context, Source, Usable, has, one, text_of
from rayplay.records import Json, ToolSpec

_CALL_IN_TEXT = re.compile(r"\[[A-Z]\w+\((?:\w+=.*)?\)\]")
SEARCH = "ToolSearcher"


def matches(value: Any) -> bool:
    """A file's lines, each with one of the three roles."""
    return isinstance(value, list) and bool(value) and all(_is_line(line) for line in value)


def prepare(files: Sequence[Path], options: Json) -> dict[str, ToolSpec]:
    """Definitions of all APIs that the dialogues call."""
    values = (row.value for file in files for row in whole_files(file))
    return definitions((value for value in values if matches(value)), {})


def definitions(dialogues: Iterable[Sequence[Json]], described: Mapping[str, Json]) -> dict[str, ToolSpec]:
    """Tools that are called, by name: as they are described, or as a search printed them.

    Where nothing is described (dialogues, plans) the others are defined as they are used; else they are left out.
    """
    printed: dict[str, Json] = dict(described)
    seen: dict[str, list[Json]] = {}
    for line in (line for dialogue in dialogues for line in dialogue):
        if line["role"] == "API" and has(line, api_name=str, param_dict=dict):
            seen.setdefault(line["api_name"], []).append(line["param_dict"])
            _note_printed(line, printed)
    names = sorted(name for name in seen if name in printed or not described)
    return {name: _definition(name, seen[name], printed.get(name)) for name in names}


def read(row: RawRow, context: Context) -> Usable:
    """One dialogue; the tools on offer are those that it calls (or its search found)."""
    if not matches(row.value):
        raise Rejected("wrong_format", "the file is no dialogue of User, AI and API lines")
    builder = Builder(Toolset(context.support[name] for name in _offered(row.value, context.support)))
    play(builder, row.value)
    return one(builder.demonstration(context.source, Path(row.file).stem, **context.about(row)))


def play(builder: Builder, lines: Sequence[Json]) -> None:
    """Say a dialogue's lines. A last API line without a result is a call that ends the conversation."""
    texts: dict[str, str] = {}
    for line in lines:
        if line["role"] == "API":
            if not has(line, api_name=str, param_dict=dict):
                raise Rejected("broken_call", str(line)[:120])
            if "User" in texts:
                builder.user(texts.pop("User"))
            builder.assistant(texts.pop("AI", ""), [(line["api_name"], line["param_dict"])])
            if "result" in line or line is not lines[-1]:
                builder.result(_output(line.get("result")), line["api_name"])
            continue
        text = text_of(line.get("text"), "text")
        if line["role"] == "AI" and _CALL_IN_TEXT.search(text):
            raise Rejected("call_as_text", text)
        if line["role"] == "AI" and "User" in texts:
            builder.user(texts.pop("User"))
        if line["role"] == "User" and "AI" in texts:
            builder.assistant(texts.pop("AI"))
        # people and the assistant sometimes speak twice: one message
        texts[line["role"]] = "\n".join(t for t in (texts.get(line["role"], ""), text) if t)
    if texts.get("AI"):
        builder.assistant(texts["AI"])
    builder.trim()


def _is_line(line: Any) -> bool:
    return has(line, role=str) and line["role"] in ("User", "AI", "API")


def _note_printed(line: Json, printed: dict[str, Json]) -> None:
    output = line["result"].get("output") if has(line.get("result")) else None
    if line["api_name"] == SEARCH:
        for found in output if isinstance(output, list) else [output]:
            if has(found, name=str, input_parameters=dict):
                printed.setdefault(found["name"], found)


def _definition(name: str, used: list[Json], printed: Json | None) -> ToolSpec:
    keys = list(dict.fromkeys(key for call in used for key in call))
    described = dict(printed["input_parameters"]) if printed else {}
    parameters = {
        key: described.get(key, {"type": "str"}) for key in [*described, *(k for k in keys if k not in described)]
    }
    required = [key for key in parameters if all(key in call for call in used)]
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    text = printed["description"] if has(printed, description=str) else f"{words[:1]}{words[1:].lower()}."
    if name == SEARCH and not printed:
        text = "Search for a tool by keywords; returns its definition."
    return read_tool({"name": name, "description": text, "parameters": parameters, "required": required})


def _offered(lines: list[Json], known: dict[str, ToolSpec]) -> list[str]:
    called = dict.fromkeys(line["api_name"] for line in lines if line["role"] == "API" and has(line, api_name=str))
    return [name for name in called if name in known]


def _output(result: Any) -> Any:
    if not isinstance(result, dict):
        return result if result is not None else ""
    if result.get("exception"):
        return {"error": str(result["exception"])}
    return result.get("output") if result.get("output") is not None else ""


SOURCE = Source("api-bank", matches, read, unit="file", prepare=prepare, identity=lambda row: "")
