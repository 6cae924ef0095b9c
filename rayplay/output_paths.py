"""A path that a command will write to -> refused before any work is done, where nothing can be written there.

Permissions alone do not tell: /proc, a read-only mount and a full quota let root try. So the nearest folder that
exists is tried, with a folder of a moment's life.
"""

import os
import tempfile
from pathlib import Path

from rayplay.errors import RunFolderError

NAME_MAX, PATH_MAX = 240, 4000  # a little less than Linux takes: names of files that are half written are longer


def check_output_folder(path: str | Path, option: str = "--output-dir") -> None:
    """Refuse a folder that can neither be made nor written into.

    Raises:
        RunFolderError: Naming the folder and the reason.
    """
    if reason := why_not_writable(Path(path)):
        raise RunFolderError(f"output folder {str(path)[:300]}: {reason}; choose another {option}")


def check_output_file(path: str | Path, option: str) -> None:
    """Refuse a file that can neither be made nor replaced.

    Raises:
        RunFolderError: Naming the file and the reason.
    """
    path = Path(path)
    reason = why_not_writable(path.parent) or why_no_name(path)
    if not reason and path.is_dir():
        reason = "it is a folder"
    if reason:
        raise RunFolderError(f"output file {str(path)[:300]}: {reason}; choose another {option}")


def why_not_writable(folder: Path) -> str:
    """Why nothing can be written into a folder, or it cannot be made; "" where it can."""
    if reason := why_no_name(folder):
        return reason
    nearest = folder.absolute()
    try:
        while not os.path.lexists(nearest):
            nearest = nearest.parent
        if not nearest.is_dir():
            return f"{nearest} is a link to nowhere" if nearest.is_symlink() else f"{nearest} is a file"
        with tempfile.TemporaryDirectory(prefix=".rayplay-", dir=nearest):
            return ""
    except OSError as error:
        return f"{nearest} is not writable ({error.strerror})"


def why_no_name(path: Path) -> str:
    """Why no file system takes a path; "" where one may."""
    text = os.fsencode(path)
    if b"\0" in text:
        return "a path cannot hold a NUL character"
    longest = max((len(part) for part in text.split(b"/")), default=0)
    if longest > NAME_MAX or len(os.fsencode(path.absolute())) > PATH_MAX:
        return f"the name is too long; at most {NAME_MAX} bytes for each part and {PATH_MAX} for the whole"
    return ""
