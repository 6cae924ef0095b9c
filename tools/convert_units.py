"""Value, source and target unit -> the converted value, by pint.

Physical units only: pint knows no exchange rates. Temperatures convert as points on their scale, not as differences,
and none lies below absolute zero.
"""

import contextlib
import math
import re
import tokenize

from pint import DimensionalityError, Unit, UnitRegistry
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
        quantity = _registry.Quantity(value, read_unit(source))
        converted = quantity.to(read_unit(target)).magnitude
        if quantity.units in _SCALES and quantity.to("kelvin").magnitude < -1e-9:
            raise ToolError(f"{value:g} {source} is below absolute zero")
    except DimensionalityError:
        raise ToolError(f"{source} cannot be converted to {target}: they measure different things") from None
    except (ArithmeticError, ValueError) as error:
        raise ToolError(f"cannot convert {value} {source}: {error}") from None
    if not math.isfinite(converted):
        raise ToolError(f"{value:g} {source} is too large in {target}")
    return f"{converted:.10g}"


def read_unit(name: str) -> Unit:
    """A unit by its name, symbol or plural.

    Raises:
        ToolError: Not a unit, or longer than `MAX_UNIT_CHARACTERS`.
    """
    plain = _DEGREES.sub("", " ".join(name.split()))
    text = _POWER.sub("^", _OTHER_NAMES.get(plain.lower(), plain))
    unknown = ToolError(f"unknown unit {name[:MAX_UNIT_CHARACTERS]!r}; write it like km, mile/hour or m^2")
    if len(text) > MAX_UNIT_CHARACTERS or not _UNIT.fullmatch(text):
        raise unknown
    # "light year" is a name of its own, "newton meter" a product; and people write "Miles"
    for spelling in (text.replace(" ", "_"), text, text.lower().replace(" ", "_"), text.lower()):
        with contextlib.suppress(PintError, ValueError, TypeError, AttributeError, SyntaxError, tokenize.TokenError):
            return _registry.Unit(spelling)
    raise unknown


_DEGREES = re.compile(r"^(?:degrees?|deg|°) ?(?=(?:c|f|celsius|fahrenheit|kelvin)$)", re.IGNORECASE)
_POWER = re.compile(r"\*\*|(?<=[a-zA-Z])(?=[23]$)")  # m**2 and m2 for m^2
_SCALES = {_registry.Unit(scale) for scale in ("degC", "degF", "kelvin", "degR")}

_OTHER_NAMES = {
    "celsius": "degC",
    "centigrade": "degC",
    "fahrenheit": "degF",
    "c": "degC",
    "f": "degF",
    "mph": "mile/hour",
    "km/h": "kilometer/hour",
    "kmh": "kilometer/hour",
    "feet": "foot",
    "inches": "inch",
    "fl oz": "fluid_ounce",
    "au": "astronomical_unit",
}
