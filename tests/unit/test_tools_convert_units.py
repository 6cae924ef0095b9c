"""Units convert by name, symbol and plural; nonsense is told to the model."""

import pytest

from rayplay.toolbox import ToolError
from tools.convert_units import convert_units


@pytest.mark.parametrize(
    ("value", "source", "target", "text"),
    [
        (10, "miles", "km", "16.09344"),
        (100, "celsius", "fahrenheit", "212"),
        (-40, "°F", "°C", "-40"),
        (0, "C", "kelvin", "273.15"),
        (5, "Liters", "milliliters", "5000"),
        (60, "mph", "km/h", "96.56064"),
        (2.5, "hours", "minutes", "150"),
        (12, "inches", "feet", "1"),
        (1, "m^2", "cm^2", "10000"),
        (36, "km/hour", "meters per second", "10"),
        (1, "kg", "pounds", "2.204622622"),
        (20, "degrees Celsius", "degrees fahrenheit", "68"),
        (1, "light year", "km", "9.460730473e+12"),
        (1, "Nautical Mile", "metres", "1852"),
        (8, "fl oz", "ml", "236.5882365"),
        (1, "m2", "square feet", "10.76391042"),
        (1, "m**2", "ft^2", "10.76391042"),
    ],
)
def test_values(value: float, source: str, target: str, text: str) -> None:
    assert convert_units(value, source, target) == text


@pytest.mark.parametrize(
    ("value", "source", "target"),
    [
        (1, "kg", "m"),
        (1, "flurbs", "m"),
        (1, "", "m"),
        (1, "m**9999", "m"),
        (1, "m" * 100, "m"),
        (1, "__import__('os')", "m"),
        (1, "1/0", "m"),
        (1, "(", "m"),
        (-300, "celsius", "kelvin"),
        (-1, "kelvin", "celsius"),
        (1e308, "km", "mm"),
        (float("nan"), "km", "m"),
    ],
)
def test_nonsense_is_told_to_the_model(value: float, source: str, target: str) -> None:
    with pytest.raises(ToolError):
        convert_units(value, source, target)
