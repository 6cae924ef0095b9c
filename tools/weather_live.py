"""City -> today's real weather from Open-Meteo (https://open-meteo.com, free for non-commercial use).

Needs the network, so a recipe must allow it by `"sandbox": {"allow": ["network"]}`. What it answers changes from call
to call: for training runs that must be repeatable take `tools.weather`.
"""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from rayplay.toolbox import ToolError, tool

PLACES = "https://geocoding-api.open-meteo.com/v1/search"
FORECAST = "https://api.open-meteo.com/v1/forecast"
TIMEOUT_S = 4.0
MAX_ANSWER_BYTES = 100_000


@tool(name="weather_live", deadline_s=10.0, needs=("network",))
def weather_live(city: str) -> dict[str, Any]:
    """Weather in a city now.

    Args:
        city: e.g. Paris
    """
    places = fetch(PLACES, {"name": city[:100], "count": 1}).get("results")
    if not places:
        raise ToolError(f"unknown city {city[:100]!r}")
    place = places[0]
    where = {"latitude": place["latitude"], "longitude": place["longitude"]}
    now = fetch(FORECAST, {**where, "current": "temperature_2m,weather_code"})["current"]
    return {
        "city": place["name"],
        "time": now["time"],
        "temperature_c": now["temperature_2m"],
        "condition": condition(now["weather_code"]),
    }


def condition(code: int) -> str:
    """A word for a WMO weather code (table 4677, in the groups that Open-Meteo documents)."""
    groups = ((1, "sunny"), (3, "cloudy"), (48, "foggy"), (67, "rainy"), (77, "snowy"), (82, "rainy"), (86, "snowy"))
    return next((word for last, word in groups if code <= last), "stormy")


def fetch(address: str, query: dict[str, Any]) -> dict[str, Any]:
    """GET a JSON object.

    Raises:
        ToolError: The service cannot be reached or answers something else.
    """
    try:
        with urllib.request.urlopen(f"{address}?{urllib.parse.urlencode(query)}", timeout=TIMEOUT_S) as answer:
            return json.loads(answer.read(MAX_ANSWER_BYTES))
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise ToolError(f"the weather service cannot be reached: {error}") from None
