"""Two JSON values -> whether they are the same, by one of the rules of `rayplay.wording`.

Types count: booleans never equal numbers (but inside objects and lists by the rule `official`), and null equals null
alone. 5 and 5.0 are one number; whether a float may be written at all is the schema's business
(`rayplay.schema_types`). Floats are the same up to what computing them may lose, relative to their size; whole numbers,
and by the rules `official` and `exact` all numbers, have to be equal.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rayplay.records import DEFAULT_RULE, Rule
from rayplay.wording import COUNTS

_DEEPEST = 32  # levels; deeper values are not the same as anything (no tool takes them)
_EXACT_WHOLE = 2**53  # above, floats skip whole numbers
# Where BFCL's checker compares strings by its rule, deeper ones character by character: l = in a list, o = in an object
_OFFICIAL_DEPTHS = ("", "l", "o", "lo")


class Leeway(NamedTuple):
    """What else is right inside, by JSON pointer: further values of a place, and fields that may be absent."""

    accepted: Mapping[str, Sequence[Any]] = {}
    optional: Sequence[str] = ()


NO_LEEWAY = Leeway()


def same_value(expected: Any, given: Any, rule: Rule = DEFAULT_RULE, leeway: Leeway = NO_LEEWAY, at: str = "") -> bool:
    """Whether `given` says what `expected` says.

    Args:
        expected: Any JSON value.
        given: Any JSON value.
        rule: How strings and numbers are compared.
        leeway: What else is right at places inside.
        at: The JSON pointer of this place, for `leeway`.
    """
    return _Comparison(rule, leeway).same(expected, given, at, "")


def pointer(*keys: str | int) -> str:
    """The JSON pointer (RFC 6901) of a place."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


class _Comparison(NamedTuple):
    rule: Rule
    leeway: Leeway

    def same(self, expected: Any, given: Any, at: str, within: str) -> bool:
        """`within`: a letter for each list or object around; see _OFFICIAL_DEPTHS."""
        if len(within) > _DEEPEST:
            return False
        if within and self._listed(given, at, within):
            return True
        if (isinstance(expected, bool) or isinstance(given, bool)) and not (within and self.rule == "official"):
            return expected is given
        if isinstance(expected, int | float) and isinstance(given, int | float):
            return expected == given or (self.rule == "plain" and _close(expected, given))
        if isinstance(expected, str) and isinstance(given, str):
            return self._same_text(expected, given, within)
        if isinstance(expected, list) and isinstance(given, list):
            items = enumerate(zip(expected, given, strict=False))
            return len(expected) == len(given) and all(
                self.same(a, b, at and at + pointer(i), within + "l") for i, (a, b) in items
            )
        if isinstance(expected, dict) and isinstance(given, dict):
            return all(self._same_field(k, expected, given, at, within) for k in expected.keys() | given.keys())
        return expected is None and given is None

    def _same_field(self, key: str, expected: dict[str, Any], given: dict[str, Any], at: str, within: str) -> bool:
        place = at and at + pointer(key)
        if key in expected and key in given:
            return self.same(expected[key], given[key], place, within + "o")
        if key in given:
            return self._listed(given[key], place, within + "o")
        return place in self.leeway.optional if place else False

    def _listed(self, given: Any, at: str, within: str) -> bool:
        """Whether `given` is one of the further values that are right at this place."""
        others = self.leeway.accepted.get(at, ()) if at else ()
        return any(_Comparison(self.rule, NO_LEEWAY).same(other, given, "", within) for other in others)

    def _same_text(self, expected: str, given: str, within: str) -> bool:
        if expected == given:
            return True
        if self.rule == "exact" or (self.rule == "official" and within not in _OFFICIAL_DEPTHS):
            return False
        counts = COUNTS[self.rule]
        return counts(expected) == counts(given)


def _close(a: float, b: float) -> bool:
    if all(isinstance(x, int) or x.is_integer() for x in (a, b)) and max(abs(a), abs(b)) < _EXACT_WHOLE:
        return False
    try:
        return not (isinstance(a, int) and isinstance(b, int)) and math.isclose(a, b, rel_tol=1e-9)
    except OverflowError:  # an integer beyond the floats
        return False
