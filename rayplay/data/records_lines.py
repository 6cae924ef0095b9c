"""rayplay's own record lines, as `rayplay data convert --what tasks` writes them: {"record": "task", ...}."""

from typing import Any

from pydantic import ValidationError

from rayplay.data.normal import Rejected, check_whole
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has
from rayplay.records import Demonstration, Preference, Task

RECORDS = {"demonstration": Demonstration, "task": Task, "preference": Preference}


def matches(value: Any) -> bool:
    """A record of a known kind."""
    return has(value, record=str) and value["record"] in RECORDS


def read(row: RawRow, context: Context) -> Usable:
    """One record, its fields checked."""
    if not matches(row.value):
        raise Rejected("wrong_format", f"no 'record' of {', '.join(RECORDS)}")
    fields = {key: value for key, value in row.value.items() if key != "record"}
    try:
        record = RECORDS[row.value["record"]].model_validate(fields)
    except ValidationError as error:
        raise Rejected("wrong_format", str(error.errors(include_url=False)[0])) from None
    if isinstance(record, Demonstration):
        check_whole(record.messages)
        return Usable(demonstrations=(record,))
    return Usable(tasks=(record,)) if isinstance(record, Task) else Usable(preferences=(record,))


SOURCE = Source("rayplay-records", matches, read, gives="tasks", identity=lambda row: str(row.value.get("task_id", "")))
