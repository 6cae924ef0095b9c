"""ToolBench query files: {api_list, query, relevant APIs, query_id} -> Tasks with the APIs as tools."""

import re
from typing import Any

from rayplay.data.normal import Builder, Rejected, Toolset
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has, row_id
from rayplay.records import Expected, Json, Task


def matches(value: Any) -> bool:
    """A query and the APIs to answer it with."""
    return has(value, api_list=list, query=str)


def read(row: RawRow, context: Context) -> Usable:
    """One query. What is called is not in the file, so nothing is expected of the calls."""
    if not matches(row.value):
        raise Rejected("wrong_format", "no query with an 'api_list'")
    if not row.value["api_list"]:
        raise Rejected("broken_tools", "api_list is empty")
    builder = Builder(Toolset(definition(api) for api in row.value["api_list"]))
    if not row.value["query"].strip():
        raise Rejected("empty", "the query is empty")
    builder.user(row.value["query"].strip())
    task = Task(
        task_id=f"{context.source}/{row_id(row)}",
        source=context.source,
        kind="open",
        messages=tuple(builder.messages),
        tools=tuple(builder.tools.specs),
        expected=Expected(check_calls=False),
        **context.about(row),
    )
    return Usable(tasks=(task,))


def definition(api: Any) -> Json:
    """An API as a tool, named like ToolBench does it: `<api>_for_<tool>`, lower case."""
    if not has(api, api_name=str, tool_name=str):
        raise Rejected("broken_tools", f"an API without api_name and tool_name: {str(api)[:120]}")
    required = _listed(api.get("required_parameters"))
    optional = _listed(api.get("optional_parameters"))
    return {
        "name": f"{_plain(api['api_name'])}_for_{_plain(api['tool_name'])}"[-64:].lstrip("_"),
        "description": str(api.get("api_description") or "").strip(),
        "parameters": {p["name"]: _parameter(p) for p in [*required, *optional]},
        "required": [p["name"] for p in required],
    }


def _listed(value: Any) -> list[Json]:
    return [p for p in value or [] if has(p, name=str)] if isinstance(value, list) else []


def _parameter(raw: Json) -> Json:
    kept = {k: raw[k] for k in ("type", "description") if isinstance(raw.get(k), str)}
    if raw.get("default") not in (None, ""):
        kept["description"] = f"{kept.get('description', '')} For example {raw['default']}.".strip()
    return kept


def _plain(text: str) -> str:
    return re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", text)).strip("_").lower()


SOURCE = Source("toolbench-queries", matches, read, gives="tasks")
