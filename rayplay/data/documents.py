"""One JSON document -> what its rows are: itself, the lists that it wraps, or the values of a mapping id -> row."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# keys that hold the rows of a document, whatever the elements are
_ALWAYS = (
    "data", "rows", "records", "examples", "instances", "items", "samples", "entries", "results", "dataset",
    "train", "training", "validation", "valid", "dev", "test", "eval", "evaluation", "held_out",
)  # fmt: skip
# keys that hold rows only where the elements are whole conversations; else they belong to a row
_SOMETIMES = (
    "conversations", "dialogs", "dialogues", "dialogue", "chats", "threads", "sessions", "messages", "traces", "runs",
    "logs", "episodes", "trajectories", "rollouts", "tasks", "questions", "queries", "completions", "responses",
)  # fmt: skip
# keys that a row has and a wrapper has not
_OF_A_ROW = frozenset((
    "messages", "conversations", "conversation", "prompt", "completion", "chosen", "rejected", "instruction", "input",
    "output", "response", "request", "contents", "query", "question", "text", "turns", "dialogue", "dialog", "tree",
    "function", "functions", "answer", "answers", "available_tools", "responses_create_params", "trajectory",
))  # fmt: skip
# values of these keys are parts of one document, never rows of a mapping
_PARTS = frozenset(
    ("tree", "answer_generation", "forward_args", "function", "documentation", "metadata", "prompt", "win")
)
_ROLES = ("role", "from", "type", "sender", "author", "speaker")
_FIELD = re.compile(r"[a-z]+(?:[_A-Z][a-zA-Z]*)*")


@dataclass(frozen=True)
class Plan:
    """How a document is read.

    Attributes:
        wrapped: Keys whose lists hold the rows; empty = the document is no wrapper.
        mapping: Its values are rows, its keys their ids.
        tools: Definitions for all rows that have none of their own.
    """

    wrapped: frozenset[str] = frozenset()
    mapping: bool = False
    tools: Any = None


# of a document that is larger than a row may be: it is a row in no case
LARGE = Plan(frozenset(_ALWAYS) | frozenset(_SOMETIMES), mapping=True)


# of one that is no JSON as a whole: as much is read as can be
BROKEN = Plan(frozenset(_ALWAYS), mapping=True)


def may_be_row(key: str, value: Any) -> bool:
    """Whether a member of a mapping may be a row under its id."""
    if key.lower() in _PARTS or key in _OF_A_ROW:
        return False
    return is_conversation(value) or (isinstance(value, dict) and len(value) > 1)


def plan_of(document: Mapping[str, Any], *, one_line: bool = False) -> Plan:
    """How to read a document that is known whole.

    Args:
        one_line: It is a line of a file of lines, which is no mapping.
    """
    others = _OF_A_ROW - frozenset(_SOMETIMES)
    if not any(key in others for key in document):
        found = [key for key in _ALWAYS if _is_rows(document.get(key), sure=True)]
        found = found or [key for key in _SOMETIMES if _is_rows(document.get(key), sure=False)]
        if found:
            return Plan(frozenset(found), tools=document.get("tools") or document.get("functions"))
    return Plan(mapping=not one_line and _is_mapping(document))


def row_in(value: Any) -> Any:
    """A row as it is meant: out of the envelope of the hub's rows API, and a bare list of messages under its name."""
    if isinstance(value, dict) and isinstance(value.get("row"), dict) and "row_idx" in value:
        return value["row"]
    return {"messages": value} if is_conversation(value) else value


def is_conversation(value: Any) -> bool:
    """Whether it is a list of chat messages and nothing else."""
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(m, dict) and isinstance(m.get("role"), str) and not _is_whole(m) for m in value)
        and any("content" in m or "tool_calls" in m or "parts" in m for m in value)
    )


def with_tools(row: Any, tools: Any) -> Any:
    """The row with these tools, where it names none itself."""
    if not tools or not isinstance(row, dict) or any(key in row for key in TOOL_KEYS):
        return row
    return {**row, "tools": tools}


TOOL_KEYS = (
    "tools",
    "functions",
    "tools_json",
    "available_tools",
    "function_definitions",
    "api_list",
    "apis",
    "function",
)


def _is_rows(value: Any, sure: bool) -> bool:
    if not isinstance(value, list) or not value:
        return False
    first = value[0]
    if is_conversation(first):
        return True
    if not isinstance(first, dict):
        return False
    return _is_whole(first) or (sure and not any(isinstance(first.get(key), str) for key in _ROLES))


def _is_whole(value: Mapping[str, Any]) -> bool:
    """Whether an object holds a conversation, or a question with its answer."""
    return any(
        isinstance(value.get(key), list | dict) for key in ("messages", "conversations", "contents", "turns", "row")
    ) or (len(_OF_A_ROW.intersection(value)) > 1)


def _is_mapping(document: Mapping[str, Any]) -> bool:
    """Rows under their ids: objects of one shape. A single one counts where its key is no name of a field."""
    if not document or not all(may_be_row(key, value) for key, value in document.items()):
        return False
    values = list(document.values())
    if len(values) == 1:
        return not _FIELD.fullmatch(next(iter(document)))
    if not all(isinstance(value, dict) for value in values):
        return all(isinstance(value, list) for value in values)
    first = set(values[0])
    return all(2 * len(first.intersection(value)) >= min(len(first), len(value)) for value in values[1:])
