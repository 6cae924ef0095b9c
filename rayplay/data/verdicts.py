"""What authors say of their rows: labels, rewards and flags that mark a row as wrong, and columns of pictures or sound.

Rollouts and labelled rows hold the bad next to the good. A row that its author calls bad is not imitated, and its calls
are not what a task expects.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

from rayplay.data.normal import Rejected
from rayplay.data.source import Usable
from rayplay.errors import DataError
from rayplay.records import Json

REWARD_MIN = 0.5  # the middle of the usual scale from 0 to 1
_TRUE_IS_GOOD = (
    "label", "kto_tag", "kto_label", "is_correct", "correct", "success", "successful", "is_success", "is_successful",
    "task_success", "resolved", "is_resolved", "solved", "is_solved", "passed", "is_passed", "accepted", "is_accepted",
    "desirable", "is_desirable", "is_good", "is_chosen", "is_valid", "feedback", "verdict", "outcome", "thumbs_up",
    "chosen", "valid", "good", "pass", "rating", "human_feedback", "status",
)  # fmt: skip
_TRUE_IS_BAD = (
    "is_bad", "is_rejected", "failed", "is_failed", "is_wrong", "is_incorrect", "undesirable", "thumbs_down",
    "rejected", "bad", "wrong", "incorrect", "invalid",
)  # fmt: skip
_SCORES = ("reward", "rewards", "score", "scores", "total_reward", "final_reward", "outcome_reward", "reward_score")
_TOTALS = ("total", "reward", "score", "final", "overall")
_NESTED = ("metadata", "meta", "info", "extra_info", "annotation", "annotations", "evaluation", "eval", "result")
_BAD_WORDS = {
    "false", "no", "bad", "wrong", "incorrect", "rejected", "reject", "undesirable", "negative", "fail", "failed",
    "failure", "error", "invalid", "unsuccessful", "unresolved", "unsolved", "thumbs_down", "dislike", "0",
}  # fmt: skip
_MEDIA_COLUMNS = ("images", "image", "audios", "audio", "videos", "video", "image_url", "image_path", "objects_3d")
_MEDIA_FILE = re.compile(r"data:|.*\.(?:png|jpe?g|webp|gif|bmp|tiff?|wav|mp3|flac|ogg|mp4|webm|mov)\Z", re.IGNORECASE)


def refuse_media(value: Any) -> None:
    """Raise Rejected where a column of the row holds pictures, sound or video."""
    for key in _MEDIA_COLUMNS if isinstance(value, dict) else ():
        held = value.get(key)
        if not held:
            continue
        is_file = isinstance(held, str) and _MEDIA_FILE.match(held)
        if is_file or isinstance(held, dict) or (isinstance(held, list) and any(held)):
            raise Rejected("not_text", f"the row has {key!r}; leave such rows out, or keep those that are text alone")


def refuse_marked(value: Any, usable: Usable, options: Json) -> None:
    """Raise Rejected where the author marked a row as bad that would be imitated, or whose calls a task would expect.

    Args:
        value: The raw row.
        usable: What it would give. Preferences, and tasks that expect no calls, may come from such rows.
        options: Of the source; `reward_min` is the least reward of a row that is imitated (default REWARD_MIN).
    """
    if not usable.demonstrations and not any(task.expected.check_calls for task in usable.tasks):
        return
    if not isinstance(value, dict):
        return
    least = options.get("reward_min", REWARD_MIN)
    if isinstance(least, bool) or not isinstance(least, int | float):
        raise DataError(f"the option reward_min is {least!r}; write a number, as reward_min={REWARD_MIN}")
    for name, held in _marks(value):
        problem = _problem(name.rpartition(".")[2], held, least)
        if problem is not None:
            raise Rejected("marked_bad", f"{name} is {str(held)[:60]!r}{problem}")


def _marks(value: Json) -> Iterator[tuple[str, Any]]:
    """(name, value) of the fields that may judge a row, those of its metadata included."""
    for key, held in value.items():
        if isinstance(held, dict) and key in _NESTED:
            yield from ((f"{key}.{inner}", v) for inner, v in held.items())
        yield str(key), held


def _problem(name: str, held: Any, least: float) -> str | None:
    """What is wrong with a row by one of its fields; None where nothing is, "" where the field says all."""
    if name in _SCORES:
        number = _number(held)
        if number is not None and number < least:
            return f", less than reward_min {least}; the option reward_min sets what is good enough"
        return None
    is_bad = _truth(held) is (name in _TRUE_IS_BAD)
    return "" if is_bad and name in (*_TRUE_IS_GOOD, *_TRUE_IS_BAD) else None


def _truth(held: Any) -> bool | None:
    """A mark as true or false; None where it says neither (a class, a text)."""
    if isinstance(held, str):
        word = re.sub(r"[\s\-]+", "_", held.strip().lower())
        return False if word in _BAD_WORDS else True if word in ("true", "yes", "1") else None
    if isinstance(held, int | float) and held in (0, 1, -1):
        return held == 1
    return None


def _number(held: Any) -> float | None:
    """A reward as one number: itself, its text, or the total among its parts."""
    if isinstance(held, dict):
        held = next((held[k] for k in _TOTALS if k in held), None)
    if isinstance(held, str):
        try:
            held = float(held)
        except ValueError:
            return None
    if isinstance(held, bool | int | float) and not (isinstance(held, float) and math.isnan(held)):
        return float(held)
    return None
