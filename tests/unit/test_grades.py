"""Which number of a judge's reply is its grade, and where there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayplay.grades import read_grade


@pytest.mark.parametrize(
    ("said", "grade"),
    [
        ("6", 0.6),
        ("Grade: 10", 1.0),
        ("4.", 0.4),
        ("1/10", 0.1),
        ("7.5 / 10", 0.75),
        ("__9__ of __10__", 0.9),
        ("Rating - 3 out of ten", 0.3),
        ("Score: 3 of 5", 0.6),
        ("2 out of four", 0.5),
        ("6,5", 0.65),
        ("70%", 0.7),
        ("55 percent", 0.55),
        ("[[8]]", 0.8),
        ("９／１０", 0.9),
        ("5 (scale: 0 to 10)", 0.5),
        ("On a scale of 1-5 I say 4.", 0.8),
        ("With 10 as the maximum of 10: 2/10", None),
        ("The highest mark is 10; this one gets 2", 0.2),
        ("Final score: 4/10\nStyle score: 9/10", 0.4),
        ("The lake holds 37 km.\nGrade: 8", 0.8),
        ("8\nIt names the 37 km that the tool found.", 0.8),
        ("<think>3 would be harsh, 9 too much</think>\n6", 0.6),
    ],
)
def test_the_grade_is_the_share_of_its_scale(said, grade):
    assert read_grade(said) == grade


@pytest.mark.parametrize(
    "said",
    [
        *(
            "",
            "fine",
            "A-",
            "nan",
            "Infinity",
            "-2",
            "−2",
            "12",
            "100",
            "12/10",
            "7/0",
            "-4/10",
            "140%",
            "2e1",
            "1,000",
        ),
        *("6-7", "6–7", "6 or 7", "between 4 and 6", "0-10", "6½", "9²", "3/4/2031", "v8", "8km"),
        *(
            "style score 3, content score 8",
            "<think>6 seems",
            "2 of the 3 facts, and 4 names",
            "4 of 7 names are right, 6",
        ),
        *("8" * 3000, "1 " * 15_000),
    ],
)
def test_where_it_is_not_plain_there_is_none(said):
    assert read_grade(said) is None


@pytest.mark.parametrize(
    ("said", "grade"),
    [
        ('{"score": 7}', 0.7),
        ('```json\n{"grade": 7.5, "why": "all 12 rows"}\n```', 0.75),
        ('{"rating": "3/5"}', 0.6),
        ('{"score": 3, "out_of": 4}', 0.75),
        ('{"mark": "8", "max": 10}', 0.8),
        ('{"quality": 2}', 0.2),
        ('Here you are: {"score": 9}', 0.9),
        ('{"clarity": 2, "depth": 9}', None),
        *((f'{{"score": {value}}}', None) for value in ("NaN", "Infinity", "-1", "11", "true", "null", "[7]", "1e400")),
        (f'{{"score": {10**2000}}}', None),
        (f'{{"score": {"9" * 5000}}}', None),
        ("{" * 5000, None),
        ("{}", None),
    ],
)
def test_a_json_object_says_its_score(said, grade):
    assert read_grade(said) == grade


TOPS = st.sampled_from([4, 5, 10, 20, 100])
LABELS = st.sampled_from(["", "Score: ", "grade = ", "**Rating**: ", "My verdict:\n", "Final mark is "])
ENDS = st.sampled_from(["", ".", " .", "\n", "\nThe tool said so.", " (good)"])


@given(TOPS, st.integers(0, 1000), LABELS, st.sampled_from(["/", " / ", " out of ", "/ "]), ENDS)
def test_a_grade_out_of_any_scale_is_read_with_any_label(top, permille, label, out_of, end):
    value = round(top * permille / 1000, 2)
    assert read_grade(f"{label}{value:g}{out_of}{top}{end}") == pytest.approx(value / top)


@given(st.text(st.sampled_from('0123456789 .,/-%of\n()scoreSc:[]{}"½−x'), max_size=60) | st.text(max_size=200))
def test_any_text_gives_a_share_or_none(text):
    grade = read_grade(text)
    assert grade is None or 0 <= grade <= 1
