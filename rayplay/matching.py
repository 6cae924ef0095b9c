"""Expected against made: calls with typed arguments, answers as numbers or contained text, end states.

Strings are compared without case and white space, lists in order, objects by key. Types follow BFCL's checker: an
integer may stand for a float but no float for an integer, and booleans never equal numbers. An argument that the
expected call does not name may be given only with its schema's default; one whose alternatives hold None may be left
out.
"""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from rayplay.records import Expected, ExpectedCall, ToolCall, ToolSpec
from rayplay.toolbox import find_tool

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:[eE][+-]?\d+)?")


class CallMatch(NamedTuple):
    """How the calls made fit the expected ones; each made call is used once."""

    names_right: int  # expected calls with a made call of the same name
    argument_scores: tuple[float, ...]  # per expected call, share of right arguments of its best partner
    missing: int  # expected calls that no made call satisfies wholly
    extra: int  # made calls beyond those that satisfy an expected one

    @property
    def exact(self) -> bool:
        """Every expected call made with the right arguments, and nothing else."""
        return self.missing == 0 and self.extra == 0


def same_value(expected: Any, given: Any) -> bool:
    """Typed equality of two JSON values; floats up to what computing them may lose, integers exactly."""
    if isinstance(expected, bool) or isinstance(given, bool):
        return expected is given
    if isinstance(expected, int | float) and isinstance(given, int | float):
        exact = isinstance(expected, int) and isinstance(given, int)
        return expected == given or (not exact and _close(expected, given))
    if isinstance(expected, str) and isinstance(given, str):
        return _plain(expected) == _plain(given)
    if isinstance(expected, list) and isinstance(given, list):
        return len(expected) == len(given) and all(map(same_value, expected, given))
    if isinstance(expected, dict) and isinstance(given, dict):
        return expected.keys() == given.keys() and all(same_value(v, given[k]) for k, v in expected.items())
    return expected is None and given is None


def argument_score(expected: ExpectedCall, call: ToolCall, spec: ToolSpec | None = None) -> float:
    """Share of right arguments, in [0, 1], over all that are expected or given; 1.0 where there are none."""
    defaults = {k: v["default"] for k, v in _properties(spec).items() if isinstance(v, dict) and "default" in v}
    keys = expected.arguments.keys() | expected.alternatives.keys() | call.arguments.keys()
    right = 0
    for key in keys:
        accepted = [*expected.alternatives.get(key, ()), *_one(expected.arguments, key)] or _one(defaults, key)
        if key in call.arguments:
            given = call.arguments[key]
            typed = _of_type(_properties(spec).get(key), given)
            right += typed and any(same_value(value, given) for value in accepted)
        else:
            right += None in accepted or (key in defaults and any(same_value(v, defaults[key]) for v in accepted))
    return right / len(keys) if keys else 1.0


def match_calls(expected: Expected, made: Iterable[ToolCall], tools: Iterable[ToolSpec] = ()) -> CallMatch:
    """Pair expected calls with made ones of the same name, the best-fitting first; their order does not matter."""
    made, tools = list(made), tuple(tools)
    fits = [
        (argument_score(want, call, find_tool(tools, call.name)), -i, -j)
        for i, want in enumerate(expected.calls)
        for j, call in enumerate(made)
        if call.name == want.name and call.problem is None
    ]
    scores: dict[int, float] = {}
    used: set[int] = set()
    for score, i, j in sorted(fits, reverse=True):
        if i not in scores and j not in used:
            scores[i] = score
            used.add(j)
    exact = sum(score == 1.0 for score in scores.values())
    by_call = tuple(scores.get(-i, 0.0) for i in range(len(expected.calls)))
    return CallMatch(len(scores), by_call, len(expected.calls) - exact, len(made) - exact)


def answer_found(expected: Expected, text: str) -> float:
    """Share of expected answers that stand in `text`; 1.0 where none is expected.

    An answer that reads as a number is looked for among the numbers of the text, within the tolerance or as rounded
    to the places that the text gives (at least one place or an integer of three digits); other answers as contained
    text without case and white space.
    """
    if not expected.answer:
        return 1.0
    numbers = _NUMBER.findall(text)
    found = 0
    for answer in expected.answer:
        value = as_number(answer)
        if value is None:
            found += _plain(answer) in _plain(text)
        else:
            found += any(_same_number(value, shown, expected.tolerance) for shown in numbers)
    return found / len(expected.answer)


def end_state_reached(expected: Expected, end_state: str | None) -> bool:
    """Whether the end state is as expected; True where none is expected.

    Toolsets and fields of their state that are not named do not matter; a named field must have exactly the expected
    value, so that nothing that should have been deleted may still be in it.
    """
    if expected.end_state is None:
        return True
    return end_state is not None and _contains(json.loads(end_state), expected.end_state)


def as_number(text: str) -> float | None:
    """The number that the whole text is, or None."""
    try:
        value = float(text.replace(",", "").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _same_number(value: float, shown: str, tolerance: float) -> bool:
    number = float(shown.replace(",", ""))
    if math.isclose(value, number, rel_tol=tolerance, abs_tol=1e-9):
        return True
    places = len(shown.partition(".")[2]) if "e" not in shown.lower() else 0
    return places >= 2 and math.isclose(round(value, places), number, rel_tol=1e-12)


def _contains(whole: Any, part: Any, levels: int = 2) -> bool:
    """Whether `part`'s keys are in `whole` with these values; below `levels` objects must be equal."""
    if levels and isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and _contains(whole[key], value, levels - 1) for key, value in part.items())
    return same_value(part, whole)


def _close(a: float, b: float) -> bool:
    try:
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    except OverflowError:  # an integer beyond the floats
        return False


def _of_type(schema: Any, value: Any) -> bool:
    """Whether no float stands where the schema says integer, in lists neither."""
    if not isinstance(schema, dict):
        return True
    if isinstance(value, list):
        return all(_of_type(schema.get("items"), item) for item in value)
    return not (isinstance(value, float) and schema.get("type") == "integer")


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()


def _one(values: dict[str, Any], key: str) -> list[Any]:
    return [values[key]] if key in values else []


def _properties(spec: ToolSpec | None) -> dict[str, Any]:
    return spec.parameters.get("properties", {}) if spec else {}
