"""A calendar of bookings without overlaps: a toolset whose state is one JSON object per episode.

State: {"bookings": {title: {"date": "YYYY-MM-DD", "start": hour, "end": hour}}}; hours are whole, 0 to 24.
"""

import copy
import datetime
from typing import Any

from rayplay.toolbox import ToolError, tool

MAX_BOOKINGS = 200

START = {
    "bookings": {
        "Dentist": {"date": "2026-05-04", "start": 9, "end": 10},
        "Team lunch": {"date": "2026-05-04", "start": 12, "end": 13},
        "Piano lesson": {"date": "2026-05-05", "start": 17, "end": 18},
    }
}


class BookingCalendar:
    """The bookings of one episode. `state` is all there is; None starts with a few sample bookings."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state = copy.deepcopy(state or START)

    @tool(deadline_s=2.0, memory_mb=256)
    def list_bookings(self, date: str) -> list[str]:
        """List bookings of a day.

        Args:
            date: YYYY-MM-DD
        """
        day = read_day(date)
        found = sorted((b["start"], title, b["end"]) for title, b in self._bookings.items() if b["date"] == day)
        return [f"{start}-{end} {title}" for start, title, end in found]

    @tool(idempotent=False, deadline_s=2.0, memory_mb=256)
    def book(self, title: str, date: str, start: int, end: int) -> str:
        """Book a time.

        Args:
            title: e.g. Dentist
            date: YYYY-MM-DD
            start: hour
            end: hour
        """
        name = " ".join(title.split())
        if not name or len(name) > 80:
            raise ToolError("the title must have 1 to 80 characters")
        if self._find(name) is not None:
            raise ToolError(f"{name} is booked already")
        if len(self._bookings) >= MAX_BOOKINGS:
            raise ToolError(f"there are {MAX_BOOKINGS} bookings already; cancel one first")
        return f"booked {name} on {self._place(name, read_day(date), start, end)}"

    @tool(idempotent=False, deadline_s=2.0, memory_mb=256)
    def reschedule(self, title: str, date: str, start: int, end: int) -> str:
        """Move a booking.

        Args:
            title: e.g. Dentist
            date: YYYY-MM-DD
            start: hour
            end: hour
        """
        name = self._known(title)
        return f"moved {name} to {self._place(name, read_day(date), start, end)}"

    @tool(idempotent=False, deadline_s=2.0, memory_mb=256)
    def cancel(self, title: str) -> str:
        """Cancel a booking.

        Args:
            title: e.g. Dentist
        """
        name = self._known(title)
        del self._bookings[name]
        return f"cancelled {name}"

    @property
    def _bookings(self) -> dict[str, dict[str, Any]]:
        return self.state["bookings"]

    def _find(self, title: str) -> str | None:
        wanted = " ".join(title.split()).casefold()
        return next((name for name in self._bookings if name.casefold() == wanted), None)

    def _known(self, title: str) -> str:
        name = self._find(title)
        if name is None:
            raise ToolError(f"no booking {title[:80]!r}")
        return name

    def _place(self, name: str, day: str, start: int, end: int) -> str:
        """Set a booking to a free time, which is returned as text."""
        if not 0 <= start < end <= 24:
            raise ToolError(f"{start}-{end} is no time of a day; hours go from 0 to 24 and start before they end")
        for other, b in self._bookings.items():
            if other != name and b["date"] == day and start < b["end"] and b["start"] < end:
                raise ToolError(f"{other} is booked on {day} {b['start']}-{b['end']}")
        self._bookings[name] = {"date": day, "start": start, "end": end}
        return f"{day} {start}-{end}"


def read_day(date: str) -> str:
    """An ISO date.

    Raises:
        ToolError: It is none.
    """
    try:
        return datetime.date.fromisoformat(date.strip()).isoformat()
    except ValueError:
        raise ToolError(f"no date {date[:40]!r}; write YYYY-MM-DD") from None
