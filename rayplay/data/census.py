"""Outcomes -> counts: what a source holds, what was rejected and why, with the first example of each reason."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rayplay.data.normal import REASONS
from rayplay.data.source import Usable
from rayplay.data.sources import Opened, Outcome
from rayplay.errors import DataError
from rayplay.records import Json, Message, ToolSpec


@dataclass(frozen=True)
class Tally:
    """What one usable row holds; small, so that it can travel instead of the row.

    Attributes:
        turns: Assistant messages of demonstrations (of chosen sides, where a row has preferences alone).
        parallel_calls: Assistant messages with more than one call.
        results: Messages of tools.
        thoughts: Assistant messages with thinking.
        without_loss: Assistant messages that their author excluded from the loss.
    """

    tools: tuple[str, ...] = ()
    calls: int = 0
    turns: int = 0
    parallel_calls: int = 0
    demonstrations: int = 0
    tasks: int = 0
    preferences: int = 0
    simulated: int = 0
    results: int = 0
    thoughts: int = 0
    without_loss: int = 0
    repairs: tuple[str, ...] = ()
    licence: str = ""

    @classmethod
    def of(cls, usable: Usable) -> "Tally":
        """Count one row."""
        conversations = [d.messages for d in usable.demonstrations] or [p.chosen for p in usable.preferences]
        spoken = [m for messages in conversations for m in messages if m.role == "assistant"]
        records = (*usable.demonstrations, *usable.tasks, *usable.preferences)
        return cls(
            tools=tuple({tool.name: None for record in records for tool in record.tools}),
            calls=sum(len(m.tool_calls) for m in spoken),
            turns=len(spoken),
            parallel_calls=sum(_is_parallel(m) for m in spoken),
            demonstrations=len(usable.demonstrations),
            tasks=len(usable.tasks),
            preferences=len(usable.preferences),
            simulated=sum(d.simulated for d in usable.demonstrations),
            results=sum(m.role == "tool" for messages in conversations for m in messages),
            thoughts=sum("<think>" in m.content for m in spoken),
            without_loss=sum(not m.loss for m in spoken),
            repairs=usable.repairs,
            licence=next((r.licence for r in records if r.licence), ""),
        )


_SUMS = (
    "calls", "turns", "parallel_calls", "demonstrations", "tasks", "preferences", "simulated", "results", "thoughts",
    "without_loss",
)  # fmt: skip
# how a raw row shows that it holds a call, whatever its shape
_CALL = re.compile(
    r'"(?:tool_calls|function_calls?|tool_use|toolUse|functionCall)\\*":? ?\\*["\[{]|"(?:tool_call|function_call)"'
    r"|<tool_?call|<function[_=]|<functioncall|\[TOOL_CALLS\]|<\|(?:tool_call|python_tag)|<｜tool▁call|to=functions\.",
    re.IGNORECASE,
)


@dataclass
class Census:
    """Counts over outcomes.

    Attributes:
        tools: Names of all tools defined (the library's, where a source has one).
        sums: Of the numbers of all tallies.
        first: The first row of each reason, as `file:line: detail`.
        rejected_with_calls: Rejected rows that seem to hold a call.
    """

    name: str
    licence: str = ""
    rows: int = 0
    usable: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    tools: set[str] = field(default_factory=set)
    sums: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    rejected_with_calls: int = 0

    @classmethod
    def of(cls, opened: Opened) -> "Census":
        """An empty census of an opened source."""
        library = opened.context.support
        held = library.values() if isinstance(library, dict) else ()
        names = {spec.name for spec in held if isinstance(spec, ToolSpec)}
        return cls(opened.source.name, opened.context.licence, tools=names)

    def count(self, outcome: Outcome) -> None:
        """Add one row."""
        if outcome.usable is not None:
            self.count_usable(Tally.of(outcome.usable))
        elif outcome.rejected is not None:
            rejected = outcome.rejected
            self.count_rejected(rejected.reason, rejected.detail, outcome.row.where, holds_calls(outcome.row.value))

    def counted(self, outcome: Outcome) -> Outcome:
        """Add one row and hand it on."""
        self.count(outcome)
        return outcome

    def count_usable(self, tally: Tally) -> None:
        """Add a usable row by its tally."""
        self.rows += 1
        self.usable += 1
        self.tools.update(tally.tools)
        self.repaired.update(tally.repairs)
        self.sums.update({name: getattr(tally, name) for name in _SUMS})
        self.licence = self.licence or tally.licence

    def count_rejected(self, reason: str, detail: str, where: str, had_calls: bool = False) -> None:
        """Add a rejected row."""
        self.rows += 1
        self.rejected_with_calls += had_calls
        self.rejected[reason] += 1
        self.first.setdefault(reason, f"{where}: {detail or REASONS[reason]}")

    def require_usable(self, path: str) -> None:
        """Raise DataError where not one row is usable."""
        if self.usable:
            return
        reasons = "; ".join(f"{n} {reason} (first: {self.first[reason]})" for reason, n in self.rejected.most_common(3))
        raise DataError(
            f"{path}: none of {self.rows} rows is usable as {self.name}: {reasons or 'there are no rows'}; "
            "leave out --format to have the format detected, or repair the rows"
        )

    def warnings(self) -> list[str]:
        """What a person must not overlook: most rows lost, or all those with calls, or nothing left to learn from."""
        found = []
        lost = self.rows - self.usable
        reasons = ", ".join(f"{n} {reason}" for reason, n in self.rejected.most_common(3))
        if self.usable and lost > self.usable:
            found.append(f"{lost} of {self.rows} rows are rejected ({reasons})")
        if self.usable and self.rejected_with_calls and not self.sums["calls"] and not self.sums["preferences"]:
            found.append(f"all {self.rejected_with_calls} rows with calls are rejected ({reasons}): no call is left")
        if self.sums["demonstrations"] and self.sums["turns"] == self.sums["without_loss"]:
            found.append("every assistant message is excluded from the loss by its author: there is nothing to imitate")
        return found

    def summary(self) -> Json:
        """The report, ready for JSON."""
        return {
            "format": self.name,
            "rows": self.rows,
            "usable": self.usable,
            "rejected": dict(self.rejected.most_common()),
            "tools": len(self.tools),
            **{name: self.sums[name] for name in _SUMS[:3]},
            "licence": self.licence or "unstated",
            **{name: self.sums[name] for name in _SUMS[3:]},
            "rejected_with_calls": self.rejected_with_calls,
            "repaired": dict(self.repaired),
            "first_rejected": self.first,
        }


def holds_calls(value: Any) -> bool:
    """Whether a raw row of any shape seems to hold a call of a tool."""
    if value is None:
        return False
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return False
    return bool(_CALL.search(text))


def _is_parallel(message: Message) -> bool:
    return len(message.tool_calls) > 1
