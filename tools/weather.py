"""City and date -> seeded weather: always the same answer for the same city and date, no network.

The figures are invented: a hash of the city chooses its climate, a hash of city and date the day. Not covered: hours,
forecasts' uncertainty, real observations (see `tools.weather_live`).
"""

import datetime
import hashlib
import math
from typing import Any

from rayplay.toolbox import ToolError, tool

CONDITIONS = ("sunny", "cloudy", "rainy", "windy", "foggy", "stormy")
MAX_CITY_CHARACTERS = 60


@tool(pure=True, deadline_s=2.0, memory_mb=256)
def weather(city: str, date: str = "today") -> dict[str, Any]:
    """Weather in a city.

    Args:
        city: e.g. Paris
        date: YYYY-MM-DD
    """
    place = " ".join(city.split())
    if not place or len(place) > MAX_CITY_CHARACTERS or not any(letter.isalpha() for letter in place):
        raise ToolError(f"unknown city {city[:MAX_CITY_CHARACTERS]!r}")
    day = read_date(date)
    climate = _number(place.casefold())
    draw = _number(place.casefold(), day)
    season = _season(day) * (4 + climate % 9)
    temperature = 6 + climate // 16 % 20 + season + draw % 9 - 4
    condition = CONDITIONS[draw // 16 % len(CONDITIONS)]
    return {"city": place, "date": day, "temperature_c": round(temperature), "condition": condition}


def read_date(date: str) -> str:
    """ISO date, or "today", which is a day of its own so that answers do not depend on the clock.

    Raises:
        ToolError: Neither of the two.
    """
    text = date.strip().lower()
    if text == "today":
        return text
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise ToolError(f"no date {date[:40]!r}; write YYYY-MM-DD") from None


def _season(day: str) -> float:
    """-1 in mid January to 1 in mid July; 0 for "today"."""
    if day == "today":
        return 0.0
    return -math.cos(2 * math.pi * (datetime.date.fromisoformat(day).timetuple().tm_yday - 15) / 365)


def _number(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:6])
