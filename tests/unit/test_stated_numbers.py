"""Numbers in the spellings of people and models, and numbers that are not there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayplay.matching import answer_found
from rayplay.records import Expected
from rayplay.stated_numbers import numbers_in, read_number


def found(answer: str, text: str, **expected) -> bool:
    return answer_found(Expected(answer=(answer,), **expected), text) == 1.0


STATED = [
    *(("-8", f"It is {minus}8 °C.") for minus in ("-", "−", "–", "minus ", "‑", "－")),
    ("-8.5", "a loss of -$8.50"),
    ("0.25", "a chance of .25."),
    ("-0.25", "x = -.25"),
    ("6", "between 4-6 days"),
    ("6", "between 4–6 days"),
    ("8", "the values are 2,4,8"),
    ("20000000", "20,000,000 people"),
    *(("7654321", f"7{sign}654{sign}321 rows") for sign in " \u00a0\u202f\u2009'’_,."),
    ("7654321", "76,54,321 rupees"),
    ("7654.25", "7.654,25 Euro"),
    ("7654.25", "7'654.25 francs"),
    ("2.5", "2,5 km"),
    ("2", "2,5 and more"),
    ("6.674e-11", "G is 6.674 × 10^-11"),
    ("6.674e-11", "G is 6.674×10⁻¹¹"),
    ("6.674e-11", "G is 6.674 \\times 10^{-11}"),
    ("6.674e-11", "about 6.67e-11"),
    ("1000000", "10^6 of them"),
    ("7654321", "$7{,}654{,}321$ rows"),
    ("7654321", "7\\,654\\,321 rows"),
    ("0.35", "35\\%"),
    ("0.35", "35 %"),
    ("35", "35 percent"),
    ("35%", "35 % of all"),
    ("35%", "a share of 0.35"),
    ("0.75", "3/4 of it"),
    ("2.5", "2½ hours"),
    ("1.5", "1 1/2 cups"),
    ("12 km", "It is 12 km."),
    ("12 km", "12\nkm, wrapped"),
    ("90071992547409931", "90071992547409931"),
]
NOT_STATED = [
    ("8", "It is −8 °C."),
    ("-6", "between 4-6 days"),
    ("248", "the values are 2,4,8"),
    ("654", "7,654 rows"),
    ("25", "a chance of .25"),
    ("6.674e-11", "It is 0."),
    ("6.674e-11", "It is 0.00."),
    ("6.674e-11", "about 6.67e-10"),
    ("0.0049", "about 0.00"),
    ("35%", "35 of them"),
    ("1", "10/10 points, 7/7 stars"),
    ("12 km", "It is 112 km."),
    ("12 km", "It is 1.12 km."),
    ("in 12", "in 123 days"),
    ("4999999", "It is 5000000."),
    ("2468013579", "It is 2468013578."),
]


@pytest.mark.parametrize(("answer", "text"), STATED)
def test_a_number_is_found_however_it_is_written(answer, text):
    assert found(answer, text)


@pytest.mark.parametrize(("answer", "text"), NOT_STATED)
def test_a_number_that_the_text_does_not_state_is_not_found(answer, text):
    assert not found(answer, text)


def test_a_wide_tolerance_holds_for_whole_numbers_too():
    assert found("5000", "about 4990", tolerance=0.01) and not found("5000", "about 4990")


@pytest.mark.parametrize(
    "text", ["3-5", "1,2,3", "9,5", "3/4", "nan", "inf", "1e999", "", "-", "--5", "5 km", "0x1f", "7/10"]
)
def test_what_is_no_single_number_is_looked_for_as_text(text):
    assert read_number(text) is None


@given(st.integers(-(10**12), 10**12), st.sampled_from([",", "\u202f", "\u00a0", "'", "_", " "]))
def test_thousands_may_be_parted_by_any_usual_sign(number, sign):
    text = f"{number:,}".replace(",", sign)
    assert found(str(number), f"There are {text}.") and not found(str(number + 1), f"There are {text}.")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_is_found_as_python_writes_it(number):
    assert found(repr(number), f"It is {number!r}.")


@given(st.text(st.sampled_from("0123456789.,-−–'’_ e+%/⁄½×*^10⁻¹²\u202f(){}$\n"), max_size=40) | st.text(max_size=80))
def test_any_text_is_read(text):
    for number in numbers_in(text):
        assert isinstance(number.value, float)
    assert 0.0 <= answer_found(Expected(answer=(text, "7")), text) <= 1.0


@pytest.mark.parametrize(
    "text", ["1," * 40_000, "1.1" * 40_000, "1 000" * 20_000, "1/" * 40_000, "−" * 80_000, "9" * 80_000]
)
def test_long_texts_are_read_in_one_go(text):
    assert len(numbers_in(text)) <= len(text)
