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
        raise ValueError("a number, a text or a depth that JSON cannot hold")
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
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return dict(pairs)


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\n\r":
        at += 1
    return at


_DECODER = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_refuse_constant)
