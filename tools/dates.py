"""Dates in, dates and distances out: calendar arithmetic and time zones.

Dates are ISO 8601 (YYYY-MM-DD) in the Gregorian calendar, years 1 to 9999. Nothing here reads the clock. A time that
a zone's clocks show twice, when they are put back, is the first of the two.
"""

import calendar
import datetime
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rayplay.toolbox import ToolError, tool

Unit = Literal["days", "weeks", "months", "years"]

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@tool(pure=True, deadline_s=2.0, memory_mb=256)
def add_to_date(date: str, amount: int, unit: Unit) -> str:
    """Move a date.

    Args:
        date: YYYY-MM-DD
        amount: may be negative
        unit: what to count
    """
    start = read_date(date)
    try:
        if unit == "days":
            return (start + datetime.timedelta(days=amount)).isoformat()
        if unit == "weeks":
            return (start + datetime.timedelta(weeks=amount)).isoformat()
        months = start.year * 12 + start.month - 1 + amount * (12 if unit == "years" else 1)
        year, month = divmod(months, 12)
        last = calendar.monthrange(year, month + 1)[1] if 1 <= year <= 9999 else 1
        # The 31st moved into a shorter month becomes that month's last day, as people expect of "in a month".
        return datetime.date(year, month + 1, min(start.day, last)).isoformat()
    except (OverflowError, ValueError):
        raise ToolError(f"{date} moved by {amount} {unit} is outside the years 1 to 9999") from None


@tool(pure=True, deadline_s=2.0, memory_mb=256)
def days_between(start: str, end: str) -> int:
    """Count days.

    Args:
        start: YYYY-MM-DD
        end: YYYY-MM-DD
    """
    return (read_date(end) - read_date(start)).days


@tool(pure=True, deadline_s=2.0, memory_mb=256)
def weekday(date: str) -> str:
    """Day of the week.

    Args:
        date: YYYY-MM-DD
    """
    return WEEKDAYS[read_date(date).weekday()]


@tool(pure=True, deadline_s=2.0, memory_mb=256)
def convert_time(time: str, source: str, target: str) -> str:
    """Convert between time zones.

    Args:
        time: YYYY-MM-DD HH:MM
        source: e.g. Europe/Paris
        target: e.g. Asia/Tokyo
    """
    try:
        moment = datetime.datetime.strptime(time.strip().replace("T", " "), "%Y-%m-%d %H:%M")
    except ValueError:
        raise ToolError(f"no time {time[:40]!r}; write YYYY-MM-DD HH:MM") from None
    there, here = read_zone(target), read_zone(source)
    try:
        utc = moment.replace(tzinfo=here).astimezone(datetime.UTC)
        if utc.astimezone(here).replace(tzinfo=None) != moment:
            raise ToolError(f"{time} does not exist in {source}: clocks are put forward over it")
        return utc.astimezone(there).strftime("%Y-%m-%d %H:%M")
    except OverflowError:
        raise ToolError(f"{time} in {source} is outside the years 1 to 9999 in {target}") from None


def read_date(text: str) -> datetime.date:
    """An ISO date.

    Raises:
        ToolError: It is none, or no such day exists.
    """
    try:
        return datetime.date.fromisoformat(text.strip())
    except ValueError:
        raise ToolError(f"no date {text[:40]!r}; write YYYY-MM-DD") from None


def read_zone(name: str) -> datetime.tzinfo:
    """A time zone of the IANA data base, or UTC.

    Raises:
        ToolError: There is none of that name.
    """
    zone = "_".join(name.split())
    if zone.upper() in ("UTC", "GMT", "Z"):
        return datetime.UTC
    try:
        return _ZONES.get(zone) or ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolError(f"unknown time zone {name[:60]!r}; write it as Europe/Paris") from None


# Read while the process is being prepared: the confined child may not be allowed to read the system's zone files.
_ZONES: dict[str, ZoneInfo] = {}
for _name in (
    *("Europe/London", "Europe/Paris", "Europe/Berlin", "Europe/Madrid", "Europe/Rome", "Europe/Athens"),
    *("Europe/Moscow", "Europe/Istanbul", "Africa/Cairo", "Africa/Lagos", "Africa/Nairobi", "Africa/Johannesburg"),
    *("Asia/Dubai", "Asia/Kolkata", "Asia/Bangkok", "Asia/Shanghai", "Asia/Tokyo", "Asia/Seoul", "Asia/Singapore"),
    *("Australia/Sydney", "Pacific/Auckland", "America/New_York", "America/Chicago", "America/Denver"),
    *("America/Los_Angeles", "America/Toronto", "America/Mexico_City", "America/Sao_Paulo", "America/Lima"),
):
    try:
        _ZONES[_name] = ZoneInfo(_name)
    except ZoneInfoNotFoundError:  # a machine without zone data still has all other tools of this file
        break
