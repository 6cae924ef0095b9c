"""A path -> the files that hold rows, and what lies next to them: tools for all rows, a licence, files left out."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rayplay.data.reading import RawRow
from rayplay.data.unpacking import is_visible
from rayplay.errors import DataError

_PLAIN = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".feather")
_PACKED = ("", ".gz", ".bz2", ".xz", ".zst", ".lz4")
ENDINGS = tuple(plain + packed for packed in _PACKED for plain in _PLAIN)
ARCHIVES = (".zip", *(f".tar{packed}" for packed in _PACKED), ".tgz", ".tbz2", ".txz")
MAX_FILES = 100_000
MAX_LISTED = 8
_CACHES = re.compile(r"cache-.*\.arrow|tmp.*\.arrow|indices.*\.arrow")
# what tools write next to the rows: about them, not of them
_ABOUT = re.compile(
    r"(?:dataset_(?:infos?|dict)|state|config(?:uration)?|.*_config|.*config\.schema|metadata|.*[._-]metadata|meta"
    r"|croissant|datapackage|package(?:-lock)?|manifest|index|.*\.index|stats|statistics|.*_stats|schema|.*\.schema"
    r"|tokenizer(?:_config)?|special_tokens_map|vocab|generation_config|trainer_state|training_args|adapter_config"
    r"|license|codemeta|citation|labels?|label_map|id2label)\.json",
    re.IGNORECASE,
)
_TOOL_FILE = re.compile(
    r"(?:all_|my_|the_)?(?:tools?|functions?|apis?|tool_?(?:list|schemas?|defs?|definitions|specs?)"
    r"|function_?(?:list|schemas?|defs?|definitions))\.json",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Found:
    """What a path holds.

    Attributes:
        files: Those that may hold rows, in a fixed order.
        tool_files: Named like definitions of tools for all rows; whether they are, their contents say.
        left_out: Name -> why a file is not read. Not rows, and not counted as such.
        refused: Files that should hold rows and may not be read, one problem each.
    """

    files: tuple[Path, ...]
    tool_files: tuple[Path, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    refused: tuple[RawRow, ...] = ()


def is_data_name(name: str) -> bool:
    """Whether a file of that name may hold rows."""
    return name.lower().endswith((*ENDINGS, *ARCHIVES))


def find(path: Path) -> Found:
    """The data files of a folder at any depth, or the file itself; archives where a folder holds nothing else.

    Links that lead out of a folder are refused: a data set of somebody else's must not name files of this machine.

    Raises:
        DataError: There is no such path, it is no file or folder, or nothing readable is in it.
    """
    if path.is_file():
        beside = sorted(f for f in path.parent.iterdir() if f != path and _TOOL_FILE.fullmatch(f.name) and f.is_file())
        return Found((path,), tuple(beside))
    if not path.is_dir():
        if os.path.lexists(path):
            raise DataError(f"{path}: neither a regular file nor a folder; write its rows to a file first")
        raise DataError(f"{path}: no such file or folder; give a path, or a hub id like 'owner/name'")
    files, archives, tools = [], [], []
    left_out: dict[str, str] = {}
    refused = []
    for file in _walk(path):
        name = str(file.relative_to(path))
        if file.is_symlink() and not _stays_inside(file, path):
            refused.append(_refusal(file, f"a link that leads out of the folder, to {os.readlink(file)}"))
        elif file.is_dir():
            left_out[name] = "a link to a folder; give its target to read it"
        elif _TOOL_FILE.fullmatch(file.name):
            tools.append(file)
        elif _ABOUT.fullmatch(file.name) or _CACHES.fullmatch(file.name):
            left_out[name] = "about the data, not rows"
        elif file.name.lower().endswith(ENDINGS):
            files.append(file)
        else:
            known = file.name.lower().endswith(ARCHIVES)
            archives += [file] if known else []
            left_out[name] = "an archive next to data files; give its path to read it" if known else _no_data_name(file)
    if not files:
        # the only files there are may well be the rows, whatever they are called
        files, archives, tools = (archives, [], tools) if archives else (tools, [], [])
        left_out = {name: why for name, why in left_out.items() if path / name not in files}
    if not files and not refused:
        raise DataError(
            f"{path}: no data file in it; looked for {', '.join((*_PLAIN, *ARCHIVES[:2]))}{_seen(left_out)}"
        )
    return Found(tuple(files), tuple(tools), left_out, tuple(refused))


def _walk(folder: Path) -> Iterator[Path]:
    """All files, and links to folders, in a fixed order; hidden ones left out. Links to folders are not followed."""
    count = 0
    for place, folders, names in os.walk(folder, followlinks=False):
        inside = Path(place)
        linked = [name for name in folders if (inside / name).is_symlink()]
        folders[:] = sorted(name for name in folders if is_visible(name) and name not in linked)
        for name in sorted((*names, *linked)):
            file = inside / name
            if not is_visible(name) or not (file.is_symlink() or file.is_file()):
                continue
            count += 1
            if count > MAX_FILES:
                raise DataError(f"{folder}: more than {MAX_FILES} files; give a folder that holds only the rows")
            yield file


def _stays_inside(link: Path, folder: Path) -> bool:
    """Whether a link leads into its folder, or into the blobs of the hub's cache that the folder is a snapshot of."""
    target = link.resolve()
    root = folder.resolve()
    blobs = root.parents[1] / "blobs" if root.parent.name == "snapshots" else root
    return target.is_file() and (target.is_relative_to(root) or target.is_relative_to(blobs))


def _refusal(file: Path, why: str) -> RawRow:
    told = f"{why}; not read: give the target itself if you mean it" if file.exists() else "a link to nothing"
    return RawRow(None, str(file), 0, problem=("unreadable_file", told))


def _no_data_name(file: Path) -> str:
    return "a spreadsheet; save it as CSV to read it" if file.suffix.lower() in (".xlsx", ".xls", ".ods") else "no data"


def _seen(left_out: dict[str, str]) -> str:
    if not left_out:
        return ""
    shown = [f"{name} ({why})" for name, why in list(left_out.items())[:MAX_LISTED]]
    return f"; there are: {', '.join(shown)}" + (
        f" and {len(left_out) - MAX_LISTED} more" if len(left_out) > MAX_LISTED else ""
    )
