"""What lies next to rows -> their licence, and the tools of rows that name none themselves."""

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

from rayplay.data.normal import MAX_TOOLS, Rejected, read_tools
from rayplay.data.reading import rows_of
from rayplay.errors import DataError

_LICENCES = (
    ("Apache License", "Apache-2.0"),
    ("MIT License", "MIT"),
    ("Permission is hereby granted, free of charge", "MIT"),
    ("Attribution-NonCommercial 4.0", "CC-BY-NC-4.0"),
    ("Attribution-ShareAlike 4.0", "CC-BY-SA-4.0"),
    ("Attribution 4.0", "CC-BY-4.0"),
    ("BSD 3-Clause", "BSD-3-Clause"),
)
# the hub's identifiers whose usual spelling is not upper case
_SPELLINGS = {
    "apache-2.0": "Apache-2.0", "bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause", "odc-by": "ODC-By",
    "openrail": "OpenRAIL", "unlicense": "Unlicense", "unknown": "",
}  # fmt: skip
_UPPER = re.compile(r"mit|cc-?[\w.-]*|[al]?gpl-[\d.]+|mpl-[\d.]+|pddl|odbl")
_FRONT_MATTER = re.compile(r"\A\ufeff?---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_STATED = re.compile(r"^licen[sc]e:[ \t]*(?:\n\s*-[ \t]*)?['\"]?([\w.+-]+)", re.MULTILINE)
_NAMED = re.compile(r"^license_name:[ \t]*['\"]?([^'\"\n]+)", re.MULTILINE)
_READ_BYTES = 64 << 10


def licence_beside(place: Path) -> str:
    """The licence that lies next to the data or one folder up, "" where none is stated.

    A LICENSE file comes first, then the front matter of a README.md (a data card), then dataset_info.json.
    """
    folder = place if place.is_dir() else place.parent
    for parent in (folder, folder.parent):
        for file in sorted(parent.glob("LICEN[SC]E*")):
            if file.is_file():
                text = _beginning(file, 4000)
                return next((name for mark, name in _LICENCES if mark in text), f"see {file.name}")
        if stated := _of_card(parent / "README.md") or _of_info(parent / "dataset_info.json"):
            return stated
    return ""


def definitions_in(file: Path) -> tuple[Any, ...]:
    """The tools that a file defines: a list, an object that wraps one, or a mapping name -> definition; else ().

    Raises:
        DataError: There are more than a row may have.
    """
    rows = list(islice(rows_of(file), MAX_TOOLS + 1))
    if not rows or any(row.problem for row in rows):
        return ()
    found = [tool for row in rows for tool in _definitions(row.value, row.key)]
    try:
        specs = read_tools(found).specs
    except Rejected as rejected:
        if rejected.reason == "too_large":
            raise DataError(
                f"{file}: more than {MAX_TOOLS} tools for every row; give each row its own under 'tools'"
            ) from None
        return ()
    return tuple(found) if specs else ()


def _definitions(value: Any, key: str = "") -> list[Any]:
    """The definitions in one value of a file."""
    if not isinstance(value, dict):
        return [value]
    held = next((value[k] for k in ("tools", "functions", "apis") if isinstance(value.get(k), list)), None)
    if held is not None:
        return held
    if isinstance(value.get("name"), str) or isinstance(value.get("function"), dict) or "api_name" in value:
        return [value]
    if key:
        return [{"name": key, **value}]
    if value and all(
        isinstance(inner, dict) and ("description" in inner or "parameters" in inner) for inner in value.values()
    ):
        return [{"name": name, **inner} for name, inner in value.items()]
    return [value]


def _of_card(file: Path) -> str:
    matter = _FRONT_MATTER.match(_beginning(file, _READ_BYTES)) if file.is_file() else None
    stated = _STATED.search(matter[1]) if matter else None
    if not stated:
        return ""
    named = _NAMED.search(matter[1])
    if stated[1].lower() == "other":
        return named[1].strip() if named else f"see {file.name}"
    return _spelt(stated[1])


def _of_info(file: Path) -> str:
    try:
        stated = json.loads(_beginning(file, _READ_BYTES)).get("license") if file.is_file() else ""
    except (ValueError, AttributeError, RecursionError):
        return ""
    return _spelt(stated) if isinstance(stated, str) and re.fullmatch(r"[\w.+-]{2,40}", stated) else ""


def _spelt(name: str) -> str:
    lower = name.lower()
    return _SPELLINGS.get(lower, name.upper() if _UPPER.fullmatch(lower) else name)


def _beginning(file: Path, size: int) -> str:
    with file.open("rb") as stream:
        return stream.read(size).decode("utf-8", "replace")
