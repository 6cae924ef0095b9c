"""Value, source and target unit -> the converted value, by pint.

Physical units only: pint knows no exchange rates. Temperatures convert as points on their scale, not as differences.
"""

import re
import tokenize

from pint import DimensionalityError, UndefinedUnitError, Unit, UnitRegistry
from pint.errors import PintError

from rayplay.toolbox import ToolError, tool

MAX_UNIT_CHARACTERS = 60

# pint reads units as expressions: names, products, quotients and small powers are all that a unit needs of them
_UNIT = re.compile(r"[^\W\d][^\W\d_]*(?:[ _/*]+[^\W\d_]+)*(?:\^[1-4])?(?:[ /*]+[^\W\d_]+)*")

_registry = UnitRegistry(autoconvert_offset_to_baseunit=True)


@tool(pure=True, deadline_s=3.0)
def convert_units(value: float, source: str, target: str) -> str:
    """Convert units.

    Args:
        value: amount
        source: e.g. miles
        target: e.g. km
    """
    try:
        converted = _registry.Quantity(value, read_unit(source)).to(read_unit(target)).magnitude
    except DimensionalityError:
        raise ToolError(f"{source} cannot be converted to {target}") from None
    except (ArithmeticError, ValueError) as error:
        raise ToolError(f"cannot convert {value} {source}: {error}") from None
    return f"{converted:.10g}"


def read_unit(name: str) -> Unit:
    """A unit by its name, symbol or plural.

    Raises:
        ToolError: Not a unit, or longer than `MAX_UNIT_CHARACTERS`.
    """
    text = _OTHER_NAMES.get(name.strip().lower(), name.strip())
    if len(text) > MAX_UNIT_CHARACTERS or "**" in text or not _UNIT.fullmatch(text):
        raise ToolError(f"unknown unit {name[:MAX_UNIT_CHARACTERS]!r}")
    try:
        return _registry.Unit(text)
    except UndefinedUnitError:
        if text != text.lower():
            return read_unit(text.lower())
        raise ToolError(f"unknown unit {name!r}") from None
    except (PintError, ValueError, TypeError, AttributeError, SyntaxError, tokenize.TokenError):
        raise ToolError(f"unknown unit {name!r}") from None


_OTHER_NAMES = {
    "celsius": "degC",
    "fahrenheit": "degF",
    "°c": "degC",
    "°f": "degF",
    "c": "degC",
    "f": "degF",
    "mph": "mile/hour",
    "km/h": "kilometer/hour",
    "kmh": "kilometer/hour",
    "feet": "foot",
    "inches": "inch",
}
