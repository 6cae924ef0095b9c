"""Expected against made: calls with typed arguments, answers as numbers or contained text, end states.

Everything that compares expected with made calls asks here. Strings are compared by the rule of the expectation (see
`rayplay.wording`), lists in order, objects by key. Types follow BFCL's checker: an integer may stand for a float but no
float for an integer, however the schema spells it, booleans never equal numbers, and null is right only where the
schema takes null. An argument that the schema requires must be given. Any other may be left out where the expectation
says so or where its schema's default is right, and may be given without being expected only with that default (by the
rule `official` neither defaults count nor arguments that the schema does not name). How calls are paired never depends
on their order.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from rayplay.assignment import assign
from rayplay.records import DEFAULT_RULE, Expected, ExpectedCall, Rule, Task, ToolCall, ToolSpec
from rayplay.schema_types import floats_taken, nulls_taken
from rayplay.stated_numbers import is_stated, numbers_in, read_number
from rayplay.toolbox import find_tool
from rayplay.values import Leeway, pointer, same_value

__all__ = [
    "CallMatch", "answer_found", "argument_score", "argument_verdicts", "end_state_reached", "expected_arguments",
    "judged_by", "match_calls", "pair_calls", "same_value",
]  # fmt: skip

_NO_TOOL = ToolSpec(name="", parameters={})


class CallMatch(NamedTuple):
    """How the calls made fit the expected ones; each made call is used once."""

    names_right: int  # expected calls with a made call of the same name
    argument_scores: tuple[float, ...]  # per expected call, share of right arguments of its partner
    missing: int  # expected calls that no made call satisfies wholly
    extra: int  # made calls beyond those that satisfy an expected one

    @property
    def exact(self) -> bool:
        """Every expected call made with the right arguments, and nothing else."""
        return self.missing == 0 and self.extra == 0


def match_calls(expected: Expected, made: Iterable[ToolCall], tools: Iterable[ToolSpec] = ()) -> CallMatch:
    """Pair expected calls with made ones of the same name.

    As many expected calls as can be are wholly satisfied, then the shares of right arguments add up to the most; no
    order of the calls matters.
    """
    made, tools, rule = list(made), tuple(tools), expected.rule or DEFAULT_RULE
    whole = 1 + len(expected.calls)  # weighs more than all shares of right arguments together

    def weigh(want: ExpectedCall, call: ToolCall) -> Fraction:
        share = _share(argument_verdicts(want, call, find_tool(tools, call.name), rule))
        return share + whole if share == 1 else share

    scores = {i: weigh(expected.calls[i], made[j]) for i, j in pair_calls(expected.calls, made, weigh).items()}
    exact = sum(score > 1 for score in scores.values())
    by_call = tuple(float(min(scores.get(i, Fraction(0)), Fraction(1))) for i in range(len(expected.calls)))
    return CallMatch(len(scores), by_call, len(expected.calls) - exact, len(made) - exact)


def judged_by(task: Task, rule: Rule) -> Task:
    """The task with the recipe's rule, where it has none of its own."""
    if task.expected.rule is not None or rule == DEFAULT_RULE:
        return task
    return task.model_copy(update={"expected": task.expected.model_copy(update={"rule": rule})})


def pair_calls(
    expected: Sequence[ExpectedCall], made: Sequence[ToolCall], weigh: Callable[[ExpectedCall, ToolCall], Fraction]
) -> dict[int, int]:
    """Index of expected -> of made calls of the same name, of greatest total weight; unreadable calls have no pair."""
    pairs: dict[int, int] = {}
    readable = [j for j, call in enumerate(made) if call.problem is None]
    for name in dict.fromkeys(want.name for want in expected):
        rows = [i for i, want in enumerate(expected) if want.name == name]
        columns = [j for j in readable if made[j].name == name]
        found = assign([[weigh(expected[i], made[j]) for j in columns] for i in rows])
        pairs |= {rows[row]: columns[column] for row, column in found.items()}
    return pairs


def argument_score(
    expected: ExpectedCall, call: ToolCall, spec: ToolSpec | None = None, rule: Rule = DEFAULT_RULE
) -> float:
    """Share of right arguments, in [0, 1], over all that are expected, required or given; 1.0 where there are none."""
    return float(_share(argument_verdicts(expected, call, spec, rule)))


def argument_verdicts(
    expected: ExpectedCall, call: ToolCall, spec: ToolSpec | None = None, rule: Rule = DEFAULT_RULE
) -> dict[str, bool]:
    """Each argument that is expected, required or given -> whether it is right, given or left out."""
    spec = spec or _NO_TOOL
    keys = expected_arguments(expected, spec) | dict.fromkeys(call.arguments)
    return {key: _is_right(key, expected, call, spec, rule) for key in keys}


def expected_arguments(expected: ExpectedCall, spec: ToolSpec | None = None) -> dict[str, None]:
    """Names of the arguments that a call is expected, or by its schema required, to decide upon; in order, as keys."""
    places = [place for place in (*expected.accepted, *expected.optional) if place.count("/") == 1]
    pointed = [place[1:].replace("~1", "/").replace("~0", "~") for place in places if place.startswith("/")]
    plain = [name for name in expected.optional if not name.startswith("/")]
    required = _required(spec or _NO_TOOL)
    return dict.fromkeys([*expected.arguments, *expected.alternatives, *pointed, *plain, *required])


def answer_found(expected: Expected, text: str) -> float:
    """Share of expected answers that stand in `text`; 1.0 where none is expected.

    An answer that reads as a number is looked for among the numbers of the text (see `rayplay.stated_numbers`); other
    answers as contained text without case and white space, which neither begins nor ends inside a number.
    """
    if not expected.answer:
        return 1.0
    numbers = numbers_in(text)
    found = 0
    for answer in expected.answer:
        wanted = read_number(answer)
        found += _contained(answer, text) if wanted is None else is_stated(wanted, numbers, expected.tolerance)
    return found / len(expected.answer)


def end_state_reached(expected: Expected, end_state: str | None) -> bool:
    """Whether the end state is as expected; True where none is expected.

    Toolsets and fields of their state that are not named do not matter; a named field must have exactly the expected
    value, so that nothing that should have been deleted may still be in it.
    """
    if expected.end_state is None:
        return True
    return end_state is not None and _holds(json.loads(end_state), expected.end_state, expected.rule or DEFAULT_RULE)


def _is_right(key: str, expected: ExpectedCall, call: ToolCall, spec: ToolSpec, rule: Rule) -> bool:
    """Whether one argument of a call is right, given or left out."""
    schema = _properties(spec).get(key)
    others = expected.alternatives.get(key, ())
    may_be_absent = key in expected.optional or pointer(key) in expected.optional or None in others
    default = [schema["default"]] if rule != "official" and isinstance(schema, dict) and "default" in schema else []
    wanted = [expected.arguments[key]] if key in expected.arguments else []
    wanted += (value for value in others if value is not None)
    listed = expected.accepted.get(pointer(key), ())
    if key not in call.arguments:
        right = any(same_value(value, d, rule) for value in (*wanted, *listed) for d in default)
        return key not in _required(spec) and (may_be_absent or right)
    if rule == "official" and _properties(spec) and key not in _properties(spec):
        return False
    given = call.arguments[key]
    if may_be_absent or not (wanted or listed):
        wanted += default
    if None in others and nulls_taken(schema, None, spec.parameters):
        wanted.append(None)
    leeway = Leeway(expected.accepted, expected.optional)
    return any(
        same_value(value, given, rule, leeway, pointer(key)) and _well_typed(schema, value, given, spec, rule)
        for value in (*wanted, *listed)
    )


def _well_typed(schema: Any, wanted: Any, given: Any, spec: ToolSpec, rule: Rule) -> bool:
    """Whether a value is also written in the types that the schema takes.

    Where the expected value itself has other numbers than the schema asks for, its own types count. By the official
    rule an expected null is right whatever the schema says.
    """
    root = spec.parameters
    if not nulls_taken(schema, given, root) and not (rule == "official" and wanted is None):
        return False
    return floats_taken(schema, given, root) or not floats_taken(schema, wanted, root)


def _share(verdicts: dict[str, bool]) -> Fraction:
    return Fraction(sum(verdicts.values()), len(verdicts)) if verdicts else Fraction(1)


def _contained(answer: str, text: str) -> bool:
    """Whether the answer stands in the text, in any case and however wrapped, and not as a part of longer numbers."""
    wanted = "".join(answer.split()).casefold()
    kept = [(letter, i) for i, raw in enumerate(text) if not raw.isspace() for letter in raw.casefold()]
    said = "".join(letter for letter, _ in kept)
    start = said.find(wanted)
    while wanted and start >= 0:
        first, last = kept[start][1], kept[start + len(wanted) - 1][1]
        if not _inside_a_number(wanted, text, first, last):
            return True
        start = said.find(wanted, start + 1)
    return not wanted


def _inside_a_number(wanted: str, text: str, first: int, last: int) -> bool:
    before, behind = text[max(0, first - 2) : first], text[last + 1 : last + 3]
    digit_before = before[-1:].isdecimal() or (before[:1].isdecimal() and before[1:] in (".", ","))
    digit_behind = behind[:1].isdecimal() or (behind[:1] in (".", ",") and behind[1:].isdecimal())
    return (wanted[0].isdecimal() and digit_before) or (wanted[-1].isdecimal() and digit_behind)


def _holds(whole: Any, part: Any, rule: Rule, levels: int = 2) -> bool:
    """Whether `part`'s keys are in `whole` with these values; below `levels` objects must be equal."""
    if levels and isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and _holds(whole[key], value, rule, levels - 1) for key, value in part.items())
    return same_value(part, whole, rule)


def _properties(spec: ToolSpec) -> dict[str, Any]:
    found = spec.parameters.get("properties")
    return found if isinstance(found, dict) else {}


def _required(spec: ToolSpec) -> list[str]:
    found = spec.parameters.get("required")
    return [key for key in found if isinstance(key, str)] if isinstance(found, list) else []
