"""Records -> JSON lines: OpenAI-style chat lines and preference lines, or rayplay's own record lines for tasks.

What is written can be read again as `openai-jsonl`, `preference-jsonl` and `rayplay-records`.
"""

import contextlib
import gzip
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from rayplay.credentials import redact
from rayplay.data.source import Kind
from rayplay.data.sources import Outcome
from rayplay.errors import DataError
from rayplay.records import Demonstration, Json, Message, Preference, Task, ToolSpec


def write_lines(path: Path, outcomes: Iterable[Outcome], kind: Kind) -> int:
    """Write all usable records of one kind; returns how many. Errors as `write_records`."""
    return write_records(path, (r for o in outcomes if o.usable for r in getattr(o.usable, kind)))


def write_records(path: Path, records: Iterable[Demonstration | Task | Preference]) -> int:
    """Write records as lines; the file appears whole or not at all.

    Returns:
        How many lines were written.

    Raises:
        DataError: The file cannot be written.
    """
    return write_texts(path, (json.dumps(line_of(record), ensure_ascii=False) for record in records))


def write_texts(path: Path, lines: Iterable[str]) -> int:
    """`write_records` for lines that are text already."""
    partial = path.with_name(path.name + ".partial")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _open(partial, path.suffix == ".gz") as out:
            for line in lines:
                out.write(redact(line) + "\n")
                count += 1
        os.replace(partial, path)
    except OSError as error:
        raise DataError(f"{path}: cannot write: {error.strerror}; choose a folder that is writable") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return count


def line_of(record: Demonstration | Task | Preference) -> Json:
    """One record as the object of its line."""
    if isinstance(record, Task):
        return {"record": "task", **record.model_dump(mode="json", exclude_defaults=True)}
    about = {"source": record.source, "licence": record.licence, "origin": record.origin}
    if record.simulated:
        about["simulated"] = True
    tools = [openai_tool(tool) for tool in record.tools]
    if isinstance(record, Preference):
        sides = {k: openai_messages(getattr(record, k)) for k in ("prompt", "chosen", "rejected")}
        return {"id": record.row_id, **sides, "tools": tools, "reason": record.reason, **about}
    return {"id": record.row_id, "messages": openai_messages(record.messages), "tools": tools, **about}


def openai_messages(messages: Sequence[Message]) -> list[Json]:
    """Messages as the OpenAI chat format writes them: arguments are JSON text."""
    return [_openai_message(message) for message in messages]


def openai_tool(tool: ToolSpec) -> Json:
    """A definition; where the name was made valid, the original one stands beside it."""
    function = tool.as_function()
    if tool.original_name:
        function["original_name"] = tool.original_name
    return function


def _openai_message(message: Message) -> Json:
    written: Json = {"role": message.role, "content": message.content}
    if not message.loss:
        written["weight"] = 0
    if message.tool_calls:
        written["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        written |= {"tool_call_id": message.tool_call_id, "name": message.name}
    return written


def _open(path: Path, compressed: bool) -> IO[Any]:
    return gzip.open(path, "wt", encoding="utf-8") if compressed else path.open("w", encoding="utf-8")
