"""Expected against made: calls with typed arguments, answers as numbers or contained text, end states.

Strings are compared without case and white space, numbers by value with int accepted for float (as BFCL's checker
does), booleans never equal numbers, lists in order, objects by key. An argument that the expected call does not name
may be given only with its schema's default; one whose alternatives hold None may be left out.
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


def same_value(expected: Any, given: Any, tolerance: float = 1e-6) -> bool:
    """Typed equality of two JSON values."""
    if isinstance(expected, bool) or isinstance(given, bool):
        return expected is given
    if isinstance(expected, int | float) and isinstance(given, int | float):
        return math.isclose(expected, given, rel_tol=tolerance, abs_tol=1e-9)
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
            right += any(same_value(value, call.arguments[key]) for value in accepted)
        else:
            right += None in accepted or (key in defaults and any(same_value(v, defaults[key]) for v in accepted))
    return right / len(keys) if keys else 1.0


def match_calls(expected: Expected, made: Iterable[ToolCall], tools: Iterable[ToolSpec] = ()) -> CallMatch:
    """Pair expected calls with made ones, the best-fitting first; order does not matter."""
    left, tools = list(made), tuple(tools)
    names_right, scores = 0, []
    exact = 0
    for want in expected.calls:
        same_name = [(argument_score(want, c, find_tool(tools, c.name)), -i) for i, c in enumerate(left)
                     if c.name == want.name and c.problem is None]  # fmt: skip
        if not same_name:
            scores.append(0.0)
            continue
        score, index = max(same_name)
        left.pop(-index)
        names_right += 1
        scores.append(score)
        exact += score == 1.0
    made_count = len(left) + names_right
    return CallMatch(names_right, tuple(scores), len(expected.calls) - exact, made_count - exact)


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


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()


def _one(values: dict[str, Any], key: str) -> list[Any]:
    return [values[key]] if key in values else []


def _properties(spec: ToolSpec | None) -> dict[str, Any]:
    return spec.parameters.get("properties", {}) if spec else {}
