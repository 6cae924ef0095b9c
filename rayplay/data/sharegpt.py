"""ShareGPT turns with tools: Glaive's (`function_call` / `observation`) and APIGen-MT (with a system policy)."""

from typing import Any

from rayplay.data.conversation import read_conversation, tools_of, usable_of
from rayplay.data.normal import Rejected
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has
from rayplay.data.turns import ROLES


def matches_glaive(value: Any) -> bool:
    """Conversations of from / value with tools beside them, and no policy."""
    return _is_sharegpt(value) and not value.get("system")


def matches_apigen_mt(value: Any) -> bool:
    """The same with a system policy."""
    return _is_sharegpt(value) and isinstance(value.get("system"), str) and bool(value["system"])


def read(row: RawRow, context: Context) -> Usable:
    """One conversation; calls stand as JSON in turns of their own."""
    if not has(row.value, conversations=list):
        raise Rejected("wrong_format", "no list under 'conversations'")
    system = row.value.get("system")
    builder = read_conversation(row.value["conversations"], tools_of(row.value, context), system=system)
    return usable_of(builder, row, context)


def _is_sharegpt(value: Any) -> bool:
    if not has(value, conversations=list) or not isinstance(value.get("tools"), str | list):
        return False
    turns = [t for t in value["conversations"] if has(t, value=str)]
    tagged = any("<tool_call>" in t["value"] for t in turns)
    return bool(turns) and all(has(t, **{"from": str}) and t["from"] in ROLES for t in turns) and not tagged


def matches_plain(value: Any) -> bool:
    """Turns of from / value, with or without tools."""
    return has(value, conversations=list) and has(next(iter(value["conversations"]), None), **{"from": str})


PLAIN = Source("sharegpt", matches_plain, read)
GLAIVE = Source("glaive-sharegpt", matches_glaive, read)
APIGEN_MT = Source("apigen-mt", matches_apigen_mt, read)
