"""Text -> the numbers that it states, in the spellings that people and models use.

Read: -5, −5, minus 5, .5, 1,234,567.8, 1.234.567,8, 1 234 567 (with plain, no-break, narrow or thin spaces), 1'234'567,
1_234_567, 12,34,567, 6.7e-11, 6.7 × 10^-11, 10⁶, 85 %, 3/4, 2½, and LaTeX's 1{,}234 and 6.7 \\times 10^{-11}. A hyphen
behind a digit, a letter or a bracket is no minus: "3-5" states 3 and 5. Commas between groups that are no thousands
part a list: "1,2,3" states 1, 2 and 3.

Where a spelling has two usual readings, both are stated: "9,5" (9.5, or 9 and 5), "12 345" (one number or two), "85 %"
(85 or 0.85) and "3/4" (3 and 4, or 0.75). One comma before exactly three digits always parts thousands.
Not read: numbers in words, Roman numerals, other bases, times and dates as such (their parts are numbers).
"""

import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Literal, NamedTuple

_GROUP_SIGNS = "'’_\u00a0\u2009\u202f"  # between groups of three digits they have no other meaning
_RUN = re.compile(rf"(?:(?<![\w.])\.)?\d(?:[\d.,{_GROUP_SIGNS}]*\d)?")
_PLAIN = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_COMMA_GROUPS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_SIGN_GROUPS = re.compile(rf"[1-9]\d{{0,2}}([{_GROUP_SIGNS}])\d{{3}}(?:\1\d{{3}})*(?:[.,]\d+)?")
_POINT_GROUPS = re.compile(r"[1-9]\d{0,2}(?:(?:\.\d{3}){2,}(?:,\d+)?|\.\d{3},\d+)")
_LAKH_GROUPS = re.compile(r"[1-9]\d?(?:,\d{2})+,\d{3}(?:\.\d+)?")
_SPACE_GROUPS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3})+(?!\d)(?:\.\d+)?")
_DECIMAL_COMMA = re.compile(r"\d+,\d+")
_PARTS = re.compile(rf"[,{_GROUP_SIGNS}]")

_MINUS = re.compile(r"(?:(?<![\w)\]%])[-−–‐‑－﹣]|\b(?:minus|negative)\s)[$€£¥₹]?\Z", re.IGNORECASE)
_MINUS_SPAN = 11  # characters that it takes at most, with the one before it
_POWER = re.compile(
    r"[eE]([+−-]?\d{1,4})(?!\w)"
    r"|\s?(?:[×x*·]|\\times|\\cdot)\s?10(?:\s?(?:\^|\*\*)\s?[{(]?([+−-]?\d{1,4})[})]?|([⁺⁻]?[⁰¹²³⁴-⁹]{1,4}))"
)
_POWER_OF_TEN = re.compile(r"(?:\^|\*\*)[{(]?([+−-]?\d{1,4})[})]?|([⁺⁻]?[⁰¹²³⁴-⁹]{1,4})")
_PERCENT = re.compile(r"\s?\\?(?:[%％]|(?:percent|per cent)\b)", re.IGNORECASE)
_WHOLE = re.compile(
    rf"[+−-]?(?:{_RUN.pattern})(?:{_POWER.pattern}|{_POWER_OF_TEN.pattern}|{_PERCENT.pattern})?", re.IGNORECASE
)
_FRACTION = re.compile(r"(?<![\d/.,⁄])(?:(\d{1,6}) )?(\d{1,6}) ?[/⁄] ?(\d{1,6})(?![\d/⁄]|[.,]\d)")
_VULGAR = re.compile(r"\s?([¼-¾⅐-⅞])")
_LONE_VULGAR = re.compile(r"(?<!\d)(?<!\d\s)[¼-¾⅐-⅞]")
_SUPERSCRIPTS = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "+-0123456789-")


class Stated(NamedTuple):
    """One number of a text, as precise as it is written: `digits` times ten to the power `exponent`."""

    digits: str  # with its sign
    exponent: int = 0
    percent: Literal["", "face", "part"] = ""  # of "85 %": 85 is the face, 0.85 the part

    @property
    def value(self) -> float:
        """The number; infinite beyond the floats."""
        return float(f"{self.digits}e{self.exponent}" if self.exponent else self.digits)

    @property
    def places(self) -> int:
        """Decimal places that are written."""
        return len(self.digits.partition(".")[2])

    @property
    def figures(self) -> int:
        """Significant figures that are written."""
        return len(re.sub(r"\D", "", self.digits).lstrip("0"))


def numbers_in(text: str) -> list[Stated]:
    """Every number that the text states, each reading of an ambiguous one."""
    text = text.replace("{,}", ",").replace("\\,", "\u2009")  # what LaTeX parts thousands with
    return [*_runs(text), *_space_groups(text), *_fractions(text)]


def read_number(text: str) -> Stated | None:
    """The one number that the whole text is, or None; of a percentage the hundredth part."""
    text = text.strip()
    found = [number for number in numbers_in(text) if number.percent != "face"]
    one = (len(found) == 1 and _WHOLE.fullmatch(text)) or _SPACE_GROUPS.fullmatch(text.lstrip("+−-"))
    return found[-1] if one and math.isfinite(found[-1].value) else None


def is_stated(wanted: Stated, numbers: list[Stated], tolerance: float) -> bool:
    """Whether one of `numbers` is the wanted one, within a relative tolerance or rounded as it is written.

    Two whole numbers must be equal unless the tolerance is above 1e-6: nothing is lost in computing them. A rounded
    number needs two decimal places and two significant figures. A wanted percentage is no plain number of its size.
    """
    return any(_same(wanted.value, n, tolerance) for n in numbers if not (wanted.percent and n.percent == "face"))


def _same(wanted: float, shown: Stated, tolerance: float) -> bool:
    value = shown.value
    if wanted == value:
        return True
    whole = wanted.is_integer() and value.is_integer() and abs(wanted) < 2**53
    if not (whole and tolerance <= 1e-6) and math.isclose(wanted, value, rel_tol=tolerance):
        return True
    if shown.places < 2 or shown.figures < 2 or abs(shown.exponent) > 300:
        return False
    rounded = round(wanted / 10.0**shown.exponent, shown.places)
    return math.isclose(rounded, float(shown.digits), rel_tol=1e-12)


def _runs(text: str) -> Iterator[Stated]:
    """Digits with the marks between them: a sign belongs to the first number, what follows to the last."""
    end = 0
    while run := _RUN.search(text, end):
        suffix = _suffix(text, run)
        end = suffix.end() if suffix else run.end()
        for first, *rest in _readings(run[0]):
            *whole, last = [_sign(text, run.start()) + first, *rest]
            yield from map(Stated, whole)
            yield from _with_suffix(last, suffix)


def _sign(text: str, start: int) -> str:
    """ "-" where a minus stands before `start`, else ""."""
    return "-" if _MINUS.search(text[max(0, start - _MINUS_SPAN) : start]) else ""


def _readings(run: str) -> list[list[str]]:
    """A run read as one number, as several, or both ways where both are usual."""
    if _PLAIN.fullmatch(run) or _COMMA_GROUPS.fullmatch(run):
        return [[run.replace(",", "")]]
    if _SIGN_GROUPS.fullmatch(run):
        return [[re.sub(rf"[{_GROUP_SIGNS}]", "", run).replace(",", ".")]]
    if _POINT_GROUPS.fullmatch(run):
        return [[run.replace(".", "").replace(",", ".")]]
    parts = [number for part in _PARTS.split(run) for number in _plain_numbers(part)]
    if _LAKH_GROUPS.fullmatch(run):
        return [[run.replace(",", "")], parts]
    return [[run.replace(",", ".")], parts] if _DECIMAL_COMMA.fullmatch(run) else [parts]


def _plain_numbers(part: str) -> list[str]:
    return [part] if _PLAIN.fullmatch(part) else [number for number in part.split(".") if number]


def _suffix(text: str, run: re.Match[str]) -> re.Match[str] | None:
    """The vulgar fraction, the power of ten or the percent sign right behind a run."""
    patterns = (_VULGAR, _POWER_OF_TEN if run[0] == "10" else _POWER, _POWER, _PERCENT)
    return next((found for pattern in patterns if (found := pattern.match(text, run.end()))), None)


def _with_suffix(digits: str, suffix: re.Match[str] | None) -> Iterator[Stated]:
    if suffix is None:
        yield Stated(digits)
    elif suffix.re is _VULGAR:
        yield Stated(repr(float(digits) + math.copysign(unicodedata.numeric(suffix[1]), float(digits))))
    elif suffix.re is _PERCENT:
        yield from (Stated(digits, percent="face"), Stated(digits, -2, "part"))
    else:
        power = next(group for group in suffix.groups() if group)
        base = digits.removesuffix("0") if suffix.re is _POWER_OF_TEN else digits
        yield Stated(base, int(power.translate(_SUPERSCRIPTS)))


def _space_groups(text: str) -> Iterator[Stated]:
    for groups in _SPACE_GROUPS.finditer(text):
        yield Stated(_sign(text, groups.start()) + groups[0].replace(" ", ""))


def _fractions(text: str) -> Iterator[Stated]:
    """a/b that is no whole number, and vulgar fractions that stand alone."""
    for fraction in _FRACTION.finditer(text):
        whole, over, under = (int(part or 0) for part in fraction.groups())
        if under and over % under:
            yield Stated(_sign(text, fraction.start()) + repr(whole + over / under))
    for vulgar in _LONE_VULGAR.finditer(text):
        yield Stated(_sign(text, vulgar.start()) + repr(unicodedata.numeric(vulgar[0])))
