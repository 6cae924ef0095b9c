"""Text -> JSON values that every store can hold and no two readers understand differently.

Python's reader takes more than JSON: NaN, infinity, a key that stands twice, half a surrogate pair, any depth. Each of
them is refused here, by one rule for sampled calls, lines of calls and whatever else somebody wrote by hand.
"""

import json
import math
from typing import Any

MAX_DEPTH = 64
LARGEST_INTEGER = 10**308  # beyond it no double holds the value, and other readers of JSON make infinity of it


def read_json(text: str) -> Any:
    """The value of a whole text.

    Raises:
        ValueError: It is no JSON, or none that can be kept: see the module.
    """
    start = _skip_space(text, 0)
    value, end = read_json_at(text, start)
    if _skip_space(text, end) != len(text):
        raise ValueError(f"more text behind the JSON value at character {end}")
    return value


def read_json_at(text: str, at: int) -> tuple[Any, int]:
    """The value that begins at `text[at]`, and one past its last character.

    Raises:
        ValueError: As `read_json`.
    """
    try:
        value, end = _DECODER.raw_decode(text, at)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not is_storable(value):
        raise ValueError(first_unstorable(value) or f"nested deeper than {MAX_DEPTH}")
    return value, end


def is_storable(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether a value comes back the same from any JSON file: finite numbers, Unicode text, at most `depth` deep."""
    if isinstance(value, str):
        return is_unicode(value)
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -LARGEST_INTEGER < value < LARGEST_INTEGER
    if isinstance(value, float):
        return math.isfinite(value)
    if depth <= 0:
        return False
    if isinstance(value, list):
        return all(is_storable(item, depth - 1) for item in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and is_unicode(k) and is_storable(v, depth - 1) for k, v in value.items())
    return False


def first_unstorable(value: Any, path: str = "") -> str:
    """`key.of.it: what is wrong` for the first part of a value that JSON cannot hold; "" where only the depth is."""
    where = f"{path}: " if path else ""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            below = f"{path}.{key}" if path else str(key)
            if found := first_unstorable(part, below[-200:]) or (first_unstorable(key, below[-200:])):
                return found
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{where}{value} is not a finite number"
    if isinstance(value, str) and not is_unicode(value):
        return f"{where}half of a surrogate pair is not Unicode text"
    return "" if is_storable(value) else f"{where}a {type(value).__name__} that JSON cannot hold"


def is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_unicode(text: str) -> str:
    """The text, with `?` for each half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object that names a key twice means two things at once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        doubled = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {doubled!r} stands twice in one object; keep one")
    return found


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\n\r":
        at += 1
    return at


_DECODER = json.JSONDecoder(object_pairs_hook=_no_duplicates)
