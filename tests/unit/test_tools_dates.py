"""Calendar arithmetic: month ends, leap years, time zones, and the edges of the calendar."""

import pytest

from rayplay.toolbox import ToolError
from tools.dates import add_to_date, convert_time, days_between, weekday


@pytest.mark.parametrize(
    ("date", "amount", "unit", "moved"),
    [
        ("2026-01-31", 1, "months", "2026-02-28"),
        ("2024-02-29", 1, "years", "2025-02-28"),
        ("2024-02-28", 1, "days", "2024-02-29"),
        ("2026-12-31", 1, "days", "2027-01-01"),
        ("2026-03-15", -3, "weeks", "2026-02-22"),
        ("2026-03-15", -15, "months", "2024-12-15"),
        ("2026-03-15", 0, "years", "2026-03-15"),
    ],
)
def test_dates_move(date: str, amount: int, unit: str, moved: str) -> None:
    assert add_to_date(date, amount, unit) == moved


def test_distances_and_weekdays() -> None:
    assert days_between("2026-01-01", "2026-12-25") == 358
    assert days_between("2026-03-01", "2026-02-01") == -28
    assert weekday("2026-11-22") == "Sunday"


def test_time_zones_know_summer_time() -> None:
    assert convert_time("2026-07-01 12:00", "Europe/Paris", "Asia/Tokyo") == "2026-07-01 19:00"
    assert convert_time("2026-01-01T12:00", "Europe/Paris", "Asia/Tokyo") == "2026-01-01 20:00"
    assert convert_time("2026-01-01 00:30", "UTC", "America/New_York") == "2025-12-31 19:30"
    assert convert_time("2026-11-01 01:30", "America/New York", "UTC") == "2026-11-01 05:30"  # the first of the two
    with pytest.raises(ToolError, match="2026-03-29 02:30 does not exist in Europe/Paris"):
        convert_time("2026-03-29 02:30", "Europe/Paris", "UTC")


def test_nonsense_is_told_to_the_model() -> None:
    for call in (
        lambda: add_to_date("2026-02-30", 1, "days"),
        lambda: add_to_date("9999-12-31", 1, "days"),
        lambda: add_to_date("2026-01-01", -3000, "years"),
        lambda: add_to_date("2026-01-01", 10**30, "weeks"),
        lambda: days_between("soon", "2026-01-01"),
        lambda: convert_time("2026-01-01 25:00", "UTC", "UTC"),
        lambda: convert_time("2026-01-01 12:00", "Mars/Base", "UTC"),
        lambda: convert_time("2026-01-01 12:00", "../../etc/passwd", "UTC"),
        lambda: convert_time("0001-01-01 00:00", "Asia/Tokyo", "America/New_York"),
    ):
        with pytest.raises(ToolError):
            call()
