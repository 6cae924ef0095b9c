"""The Python tool tells what was printed and what `result` is, and errors with their line."""

import pytest

from rayplay.toolbox import ToolError
from tools.python import python


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("result = 6 * 7", "42"),
        ("result = [1, 'a']", "[1, 'a']"),
        ("import math\nresult = math.comb(10, 3)", "120"),
        ("def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\nresult = f(12)", "144"),
        ("class A:\n    x = 3\nresult = A().x", "3"),
        ("x = 1", ""),
        ("result = None", "None"),
        ("result = 1\nraise SystemExit(0)", "1"),
        ("if __name__ == '__main__':\n    result = 'main'", "main"),
    ],
)
def test_result_is_returned(code: str, text: str) -> None:
    assert python(code) == text


def test_printing_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert python("print('hello')") == ""
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\n1 / 0", "ZeroDivisionError: division by zero (line 2)"),
        ("def f():\n    raise ValueError('no')\nf()", "ValueError: no (line 2)"),
        ("unknown", "NameError: name 'unknown' is not defined (line 1)"),
        ("import sys\nsys.exit('bye')", "SystemExit: bye (line 2)"),
        ("raise ValueError", "ValueError (line 1)"),
        ("class A:\n    def __str__(self):\n        raise ValueError('no')\nresult = A()", "ValueError: no (line 3)"),
    ],
)
def test_errors_of_the_program_name_their_line(code: str, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        python(code)
    assert str(caught.value) == message


@pytest.mark.parametrize("code", ["def f(:", "x = \0", "(" * 5000, "'unclosed"])
def test_unreadable_source_is_told_to_the_model(code: str) -> None:
    with pytest.raises(ToolError):
        python(code)


def test_calls_share_no_variables() -> None:
    python("kept = 1")
    with pytest.raises(ToolError, match="kept"):
        python("result = kept")
