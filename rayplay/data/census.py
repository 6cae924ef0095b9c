"""Outcomes -> counts: what a source holds, what was rejected and why, with the first example of each reason."""

from collections import Counter
from dataclasses import dataclass, field

from rayplay.data.normal import REASONS
from rayplay.data.source import Usable
from rayplay.data.sources import Opened, Outcome
from rayplay.errors import DataError
from rayplay.records import Demonstration, Json, Message


@dataclass
class Census:
    """Counts over outcomes.

    Attributes:
        tools: Names of all tools defined (the library's, where a source has one).
        turns: Assistant messages of demonstrations.
        parallel_calls: Assistant messages with more than one call.
        first: The first row of each reason, as `file:line: detail`.
    """

    name: str
    licence: str = ""
    rows: int = 0
    usable: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    tools: set[str] = field(default_factory=set)
    calls: int = 0
    turns: int = 0
    parallel_calls: int = 0
    demonstrations: int = 0
    tasks: int = 0
    preferences: int = 0
    simulated: int = 0
    repaired: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, opened: Opened) -> "Census":
        """An empty census of an opened source."""
        library = opened.context.support
        names = {s.name for s in library.values()} if isinstance(library, dict) else set()
        return cls(opened.source.name, opened.context.licence, tools=names)

    def count(self, outcome: Outcome) -> None:
        """Add one row."""
        self.rows += 1
        if outcome.usable is not None:
            self.usable += 1
            self._count_usable(outcome.usable)
        elif outcome.rejected is not None:
            reason = outcome.rejected.reason
            self.rejected[reason] += 1
            self.first.setdefault(reason, f"{outcome.row.where}: {outcome.rejected.detail or REASONS[reason]}")

    def counted(self, outcome: Outcome) -> Outcome:
        """Add one row and hand it on."""
        self.count(outcome)
        return outcome

    def require_usable(self, path: str) -> None:
        """Raise DataError where not one row is usable."""
        if self.usable:
            return
        reasons = "; ".join(f"{n} {reason} (first: {self.first[reason]})" for reason, n in self.rejected.most_common(3))
        raise DataError(
            f"{path}: none of {self.rows} rows is usable as {self.name}: {reasons or 'there are no rows'}; "
            "leave out --format to have the format detected, or mend the rows"
        )

    def summary(self) -> Json:
        """The report, ready for JSON."""
        return {
            "format": self.name,
            "rows": self.rows,
            "usable": self.usable,
            "rejected": dict(self.rejected.most_common()),
            "tools": len(self.tools),
            "calls": self.calls,
            "turns": self.turns,
            "parallel_calls": self.parallel_calls,
            "licence": self.licence or "unstated",
            "demonstrations": self.demonstrations,
            "tasks": self.tasks,
            "preferences": self.preferences,
            "simulated": self.simulated,
            "repaired": dict(self.repaired),
            "first_rejected": self.first,
        }

    def _count_usable(self, usable: Usable) -> None:
        self.demonstrations += len(usable.demonstrations)
        self.tasks += len(usable.tasks)
        self.repaired.update(usable.repairs)
        self.preferences += len(usable.preferences)
        for record in (*usable.demonstrations, *usable.tasks, *usable.preferences):
            self.tools.update(tool.name for tool in record.tools)
        for demonstration in usable.demonstrations:
            self._count_messages(demonstration.messages)
            self.simulated += demonstration.simulated
        if not usable.demonstrations:
            for preference in usable.preferences:
                self._count_messages(preference.chosen)
        if not self.licence:
            self.licence = _licence(usable.demonstrations)

    def _count_messages(self, messages: tuple[Message, ...]) -> None:
        for message in messages:
            self.turns += message.role == "assistant"
            self.calls += len(message.tool_calls)
            self.parallel_calls += len(message.tool_calls) > 1


def _licence(demonstrations: tuple[Demonstration, ...]) -> str:
    return next((d.licence for d in demonstrations if d.licence), "")
