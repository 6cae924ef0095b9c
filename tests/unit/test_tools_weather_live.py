"""The live weather tool says what it needs, reads what Open-Meteo answers, and names what fails."""

import io
import urllib.error
from typing import Any

import pytest

from rayplay.toolbox import ToolError, spec_of
from tools import weather_live as module
from tools.weather_live import condition, weather_live

PLACE = b'{"results": [{"name": "Paris", "latitude": 48.85, "longitude": 2.35}]}'
NOW = b'{"current": {"time": "2026-05-04T12:00", "temperature_2m": 17.3, "weather_code": 61}}'


def answering(*bodies: bytes) -> Any:
    waiting = list(bodies)
    return lambda address, timeout: io.BytesIO(waiting.pop(0))


def test_it_declares_that_it_needs_the_network() -> None:
    assert spec_of(weather_live).needs == ("network",)


def test_the_answer_of_the_service_becomes_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.urllib.request, "urlopen", answering(PLACE, NOW))
    expected = {"city": "Paris", "time": "2026-05-04T12:00", "temperature_c": 17.3, "condition": "rainy"}
    assert weather_live("Paris") == expected


def test_an_unknown_city_and_a_dead_service_are_told_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.urllib.request, "urlopen", answering(b"{}"))
    with pytest.raises(ToolError, match="unknown city"):
        weather_live("Nowhere")

    def unreachable(address: str, timeout: float) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(module.urllib.request, "urlopen", unreachable)
    with pytest.raises(ToolError, match="cannot be reached"):
        weather_live("Paris")


def test_weather_codes_become_words() -> None:
    assert [condition(c) for c in (0, 3, 45, 61, 71, 81, 86, 95)] == [
        *("sunny", "cloudy", "foggy", "rainy", "snowy", "rainy", "snowy", "stormy")
    ]
