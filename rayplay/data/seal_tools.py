"""Seal-Tools: calls joined with the library of 4,076 tools; nested calls become turns with simulated results.

A row is {id, query, calling: [{api, parameters, responses}]}, in the older files [calls, query]; tools lie beside it in
`tool.jsonl`. The files for fine-tuning hold both as text, in a conversation of two turns. A parameter may be the name
of an earlier call's response (`API_call_0`): such a call can only be made when that result is there, so it goes into a
later turn, and the name is replaced by the simulated value (which is then marked so).
"""

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rayplay.data.calltext import tools_in
from rayplay.data.normal import Builder, Rejected, Toolset, checked, read_tool
from rayplay.data.reading import RawRow, rows_of
from rayplay.data.schemas import fit, literal
from rayplay.data.simulator import simulate, value_of
from rayplay.data.source import Context, Source, Usable, has, one, row_id
from rayplay.errors import DataError
from rayplay.records import Json, ToolSpec, seed_of

_REFERENCE = re.compile(r"API_call_\d+")
_PROMPT = re.compile(r"api_list = (?P<tools>\[.*\])\s*task_instruction = (?P<query>.*?)\s*Output:\s*\Z", re.DOTALL)
DISTRACTORS = 4


def matches(value: Any) -> bool:
    """A query and calls, under their names or in the order of the older files."""
    return _query_and_calls(value) is not None


def matches_text(value: Any) -> bool:
    """A turn that lists APIs and gives an instruction, and a turn with the calls."""
    return _PROMPT.search(_first_turns(value)[0]) is not None


def is_library(path: Path) -> bool:
    """The tool library; it is no file of rows."""
    return path.name.startswith("tool.json")


def prepare(files: Sequence[Path], options: Json) -> dict[str, ToolSpec]:
    """All tools of the libraries among or beside the files, by name.

    Raises:
        DataError: There is none.
    """
    places = {f.parent for f in files} | {f.parent.parent for f in files}
    found = sorted({f for f in files if is_library(f)} | {f for p in places for f in p.glob("tool.json*")})
    if options.get("tools"):
        found = [Path(options["tools"])]
    library: dict[str, ToolSpec] = {}
    for row in (row for file in found for row in rows_of(file)):
        if not row.problem and has(row.value, api_name=str):
            spec = read_tool(row.value)
            library.setdefault(spec.original_name or spec.name, spec)
    if not library:
        raise DataError(
            "seal-tools: no tool.jsonl with definitions beside the rows; put it there, or name it with "
            'the option "tools"'
        )
    return library


def read(row: RawRow, context: Context) -> Usable:
    """Query and calls -> a conversation; the tools of the calls and a few seeded others are on offer."""
    found = _query_and_calls(row.value)
    if found is None:
        raise Rejected("wrong_format", "no query with a list under 'calling'")
    query, calling = found
    library = context.support
    names = sorted({call["api"] for call in _checked_calls(calling)} & library.keys())
    tools = _offer(names, library, context, row_id(row))
    return _conversation(tools, query, calling, row, context)


def read_text(row: RawRow, context: Context) -> Usable:
    """The same from a prompt that lists the APIs on offer, and an answer that is the list of calls."""
    prompt, answer = _first_turns(row.value)
    found = _PROMPT.search(prompt)
    if found is None:
        raise Rejected("wrong_format", "no turn with 'api_list = [...]' and 'task_instruction = ...'")
    calling = literal(answer)
    if not isinstance(calling, list):
        raise Rejected("broken_call", answer)
    query = found["query"].removeprefix('"').removesuffix('"')
    return _conversation(tools_in(found["tools"]), query, _checked_calls(calling), row, context)


def _query_and_calls(value: Any) -> tuple[str, list[Any]] | None:
    if has(value, query=str, calling=list):
        return value["query"], value["calling"]
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], str):
        return None
    calls = value[0] if isinstance(value[0], list) else [value[0]]
    return (value[1], calls) if all(has(call, api=str) for call in calls) else None


def _first_turns(value: Any) -> tuple[str, str]:
    """The texts of a conversation of two turns; empty where it is none."""
    turns = value["conversations"] if has(value, conversations=list) else []
    texts = [turn["value"] for turn in turns if has(turn, value=str)]
    return (texts[0], texts[1]) if len(texts) == len(turns) == 2 else ("", "")


def _checked_calls(calling: list[Any]) -> list[Json]:
    if not calling:
        raise Rejected("empty", "no call")
    for call in calling:
        if not has(call, api=str, parameters=dict):
            raise Rejected("broken_call", str(call)[:120])
    return calling


def _conversation(tools: Toolset, query: str, calling: list[Json], row: RawRow, context: Context) -> Usable:
    builder = Builder(tools)
    builder.user(query)
    nested = _play(builder, calling)
    return one(builder.demonstration(context.source, row_id(row), simulated=nested, **context.about(row)))


def _offer(names: list[str], library: dict[str, ToolSpec], context: Context, row: str) -> Toolset:
    rng = random.Random(seed_of(context.seed, "seal-tools", row))
    extra = rng.sample(list(library), min(context.options.get("distractors", DISTRACTORS), len(library)))
    offered = list(dict.fromkeys([*names, *extra]))
    rng.shuffle(offered)
    return Toolset(library[name] for name in offered)


def _play(builder: Builder, calling: list[Json]) -> bool:
    """Make the calls in turns: each as soon as what it refers to is known. Whether results had to be simulated."""
    known: dict[str, Any] = {}
    waiting = list(calling)
    turns = 0
    while waiting:
        ready = [c for c in waiting if _references(c) <= known.keys()]
        if not ready:
            raise Rejected("unresolved_reference", str(sorted(_references(waiting[0]) - known.keys()))[:120])
        waiting = [c for c in waiting if c not in ready]
        specs = [_called(builder.tools, call) for call in ready]
        arguments = [_resolved(c["parameters"], spec, known) for c, spec in zip(ready, specs, strict=True)]
        builder.assistant("", [(c["api"], a) for c, a in zip(ready, arguments, strict=True)])
        turns += 1
        if not waiting:
            break
        for call, spec, made in zip(ready, specs, arguments, strict=True):
            result = json.loads(simulate(spec, checked(spec, made)).text)
            names = call.get("responses") if isinstance(call.get("responses"), list) else []
            known |= dict(zip(map(str, names), result.values(), strict=False))
            builder.result(result, spec.original_name or spec.name)
    return turns > 1


def _called(tools: Toolset, call: Json) -> ToolSpec:
    spec = tools.find(call["api"])
    if spec is None:
        raise Rejected("unknown_tool", call["api"])
    return spec


def _references(call: Json) -> set[str]:
    return set(_REFERENCE.findall(json.dumps(call["parameters"], default=str)))


def _resolved(parameters: Json, spec: ToolSpec, known: dict[str, Any]) -> Json:
    """Parameters with the names of results replaced by their values, in the type that the parameter wants."""
    filled: Json = {}
    for key, value in parameters.items():
        schema = spec.parameters["properties"].get(key, {})
        if isinstance(value, str) and value in known:
            value = _as_wanted(known[value], schema, value)
        elif isinstance(value, str):
            value = _REFERENCE.sub(lambda m: str(known[m[0]]), value)
        filled[key] = value
    return filled


def _as_wanted(value: Any, schema: Json, address: str) -> Any:
    """A result's value in the type of the parameter; where no reading gives it, a value of that type."""
    fitted = fit(value, schema)
    kinds = {"integer": int, "number": int | float, "boolean": bool, "string": str, "array": list, "object": dict}
    wanted = kinds.get(str(schema.get("type")))
    if wanted is None or (isinstance(fitted, wanted) and (wanted is bool or not isinstance(fitted, bool))):
        return fitted
    return value_of(schema, random.Random(seed_of(0, address, str(value))))


SOURCE = Source("seal-tools", matches, read, is_support=is_library, prepare=prepare)
TEXT = Source("seal-tools-text", matches_text, read_text)
