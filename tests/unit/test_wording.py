"""What counts of a string, by each of the three rules."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayplay.wording import COUNTS

ALIKE_TO_PEOPLE = [
    ("Old Harbour", "old  harbour"),
    ("Old Harbour", "OLDHARBOUR"),
    ("Bodø, Norway", "Bodø Norway"),
    ("Finch & Co.", "Finch & Co"),
    ("south-west", "south west"),
    ("south_west", "south-west"),
    ("and/or", "and or"),
    ("O'Neill's", 'O"Neill"s'),
    ("May 3, 2031", "May 3,2031"),
    ("May 3, 2031", "may 3 2031"),
    ("03/05/2031", "03-05-2031"),
    ("2031.05.03", "2031-05-03"),
    ("12,500 tonnes", "12500 tonnes"),
    ("Washington, D.C.", "Washington DC"),
    ("7 p.m.", "7 pm"),
    ("R.E.M.", "REM"),
    ("four-door car", "four door car"),
    ("4-door car", "4 door car"),
    ("covid-19", "COVID 19"),
    ("18 / 3", "18/3"),
    ("1, 2", "1,2"),
]
OTHER_TO_PEOPLE = [
    ("18 / 3", "18 * 3"),
    ("18 / 3", "18 - 3"),
    ("18 - 3", "183"),
    ("sqrt(18) - 3", "sqrt(18) / 3"),
    ("x^2", "x2"),
    ("price * rate", "price / rate"),
    ("-7", "7"),
    ("down to -7 degrees", "down to 7 degrees"),
    ("2.5", "25"),
    ("Python 3.11", "Python 311"),
    (".5", "5"),
    ("1,2,3", "123"),
    ("pages 3-5", "pages 35"),
    ("2031-1-12", "2031-11-2"),
    ("a.b@example.com", "ab@example.com"),
    ("notes_final.txt", "notesfinal.txt"),
    ("/srv/a/b", "/srv/ab"),
    ("https://example.com/a-b", "https://example.com/ab"),
    ("a[1,2]", "a[12]"),
    ("total=x-y", "total=xy"),
    (",", "."),
    ("-", "_"),
    (" ", ""),
    (" - ", "-"),
]
OTHER_TO_ALL = [
    ("left\nright", "leftright"),
    ("left\nright", "left right"),
    ("\t", ""),
    ("\n", " "),
    ("why?", "why"),
    ("a:b", "a b"),
    ("(x)", "x"),
    ("straße", "strasse"),
    ("north", "south"),
]


def same(rule: str, a: str, b: str) -> bool:
    return COUNTS[rule](a) == COUNTS[rule](b)


@pytest.mark.parametrize(("a", "b"), ALIKE_TO_PEOPLE)
def test_spelling_case_and_punctuation_between_words_do_not_count_but_by_the_exact_rule(a, b):
    assert same("official", a, b) and same("plain", a, b) and not same("exact", a, b)


@pytest.mark.parametrize(("a", "b"), OTHER_TO_PEOPLE)
def test_marks_that_carry_meaning_count_by_the_plain_rule(a, b):
    assert not same("plain", a, b) and same("official", a, b)


@pytest.mark.parametrize(("a", "b"), OTHER_TO_ALL)
def test_other_signs_and_white_space_count_by_every_rule(a, b):
    assert not any(same(rule, a, b) for rule in COUNTS)


TEXTS = st.text(st.sampled_from("aB7 .,/-_*^'\"(x)\n\t2031:@\\é"), max_size=24) | st.text(max_size=40)


@given(TEXTS, st.data())
def test_what_is_the_same_by_a_stricter_rule_is_the_same_by_a_laxer_one(text, data):
    other = data.draw(st.one_of(TEXTS, st.permutations(text).map("".join), st.just(text.upper()), respelt(text)))
    verdicts = [same(rule, text, other) for rule in ("exact", "plain", "official")]
    assert all(laxer or not stricter for stricter, laxer in itertools.pairwise(verdicts))


def respelt(text: str) -> st.SearchStrategy[str]:
    """The text with marks and spaces put in and taken out."""
    swaps = st.sampled_from([(" ", ""), (",", ""), ("-", " "), (".", ""), ("/", "-"), ("_", " "), ("'", '"')])
    return st.lists(swaps, max_size=3).map(lambda found: _replaced(text, found))


def _replaced(text: str, swaps: list[tuple[str, str]]) -> str:
    for old, new in swaps:
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    "text", ["a" * 100_000 + "(", "1," * 50_000, "- " * 50_000, "/a" * 50_000, "ab1" * 40_000 + "("]
)
def test_long_texts_are_read_in_one_go(text):
    assert COUNTS["plain"](text) == COUNTS["plain"](text.upper())
