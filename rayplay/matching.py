"""Expected against made: calls with typed arguments, answers as numbers or contained text, end states.

Everything that compares expected with made calls asks here. Strings are compared by the rule of the expectation (see
`rayplay.wording`), lists in order, objects by key, types as `rayplay.arguments` says. How calls are paired never
depends on their order.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from rayplay.arguments import argument_score, argument_verdicts, share_of
from rayplay.assignment import assign
from rayplay.records import DEFAULT_RULE, Expected, ExpectedCall, Rule, Task, ToolCall, ToolSpec
from rayplay.stated_numbers import is_stated, numbers_in, read_number
from rayplay.toolbox import find_tool
from rayplay.values import same_value

__all__ = [
    "CallMatch", "answer_found", "argument_score", "end_state_reached", "judged_by", "match_calls", "pair_calls",
    "same_value",
]  # fmt: skip


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
        share = share_of(argument_verdicts(want, call, find_tool(tools, call.name), rule))
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


def answer_found(expected: Expected, text: str) -> float:
    """Share of expected answers that stand in `text`; 1.0 where none is expected.

    An answer that reads as a number is looked for among the numbers of the text (see `rayplay.stated_numbers`); other
    answers as contained text without case and white space, which neither begins nor ends inside a number. An entry
    that lists several answers is found where one of them is.
    """
    if not expected.answer:
        return 1.0
    numbers = numbers_in(text)

    def stands(answer: str) -> bool:
        wanted = read_number(answer)
        return _contained(answer, text) if wanted is None else is_stated(wanted, numbers, expected.tolerance)

    return sum(any(map(stands, alternatives)) for alternatives in expected.answers) / len(expected.answer)


def end_state_reached(expected: Expected, end_state: str | None) -> bool:
    """Whether the end state is as expected; True where none is expected.

    Toolsets and fields of their state that are not named do not matter; a named field must have exactly the expected
    value, so that nothing that should have been deleted may still be in it.
    """
    if expected.end_state is None:
        return True
    return end_state is not None and _holds(json.loads(end_state), expected.end_state, expected.rule or DEFAULT_RULE)


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
