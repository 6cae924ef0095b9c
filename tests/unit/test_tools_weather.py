"""Weather is a function of city and date alone."""

import datetime

import pytest

from rayplay.toolbox import ToolError
from tools.weather import CONDITIONS, weather


def test_same_city_and_date_give_the_same_weather() -> None:
    assert weather("Oslo", "2026-03-14") == weather(" oslo ", "2026-03-14") | {"city": "Oslo"}


def test_known_values_do_not_change_between_processes() -> None:
    assert weather("Paris", "2026-07-10") == {
        "city": "Paris",
        "date": "2026-07-10",
        "temperature_c": 23,
        "condition": "sunny",
    }
    assert weather("Paris")["date"] == "today"


def test_days_and_cities_differ() -> None:
    days = [(datetime.date(2026, 1, 1) + datetime.timedelta(days=n)).isoformat() for n in range(365)]
    seen = [weather("Lima", day) for day in days]
    assert {w["condition"] for w in seen} == set(CONDITIONS)
    assert all(-30 <= w["temperature_c"] <= 50 for w in seen)
    assert weather("Lima", days[0])["temperature_c"] != weather("Oslo", days[0])["temperature_c"]


@pytest.mark.parametrize(
    ("city", "date"),
    [("", "today"), ("123", "today"), ("x" * 80, "today"), ("Oslo", "14.3.2026"), ("Oslo", "2026-02-30")],
)
def test_nonsense_is_told_to_the_model(city: str, date: str) -> None:
    with pytest.raises(ToolError):
        weather(city, date)
