"""Arithmetic expression -> its value, exact for integers.

Built on simpleeval, which walks the syntax tree and knows no attribute access here; the limits below keep one call far
under its deadline. Not covered: text, lists, comparisons, complex numbers, several expressions at once.
"""

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

from simpleeval import FunctionNotDefined, InvalidExpression, NameNotDefined, SimpleEval

from rayplay.toolbox import ToolError, tool

MAX_EXPRESSION_CHARACTERS = 200
MAX_INTEGER_BITS = 4_000
SIGNIFICANT_DIGITS = 10

Number = int | float

_SPELLINGS = str.maketrans({"×": "*", "÷": "/", "−": "-", "–": "-", "²": "**2", "³": "**3", "^": "**"})
_CONSTANTS = {"pi": math.pi, "π": math.pi, "e": math.e}


@tool(deadline_s=2.0, memory_mb=256, pure=True)
def calculator(expression: str) -> str:
    """Evaluate arithmetic.

    Args:
        expression: e.g. 12 * 7
    """
    if len(expression) > MAX_EXPRESSION_CHARACTERS:
        raise ToolError(f"expression has {len(expression)} characters; at most {MAX_EXPRESSION_CHARACTERS} are allowed")
    text = expression.translate(_SPELLINGS).strip()
    evaluator = SimpleEval(operators=_OPERATORS, functions=_FUNCTIONS, names=_CONSTANTS)
    try:
        tree = ast.parse(text, mode="eval").body
        _only_numbers(tree)
        return tidy(evaluator.eval(text, previously_parsed=tree))
    except ToolError:
        raise
    except ZeroDivisionError:
        raise ToolError("division by zero") from None
    except RecursionError:
        raise ToolError("expression is nested too deeply") from None
    except SyntaxError as error:
        raise ToolError(f"cannot read {expression!r}: {error.msg}") from None
    except FunctionNotDefined as error:
        raise ToolError(f"unknown function {error.func_name!r}; there are: {', '.join(_FUNCTIONS)}") from None
    except NameNotDefined as error:
        raise ToolError(f"unknown name {error.name!r}; write numbers, pi or e") from None
    except (InvalidExpression, ArithmeticError, ValueError, TypeError) as error:
        raise ToolError(f"cannot evaluate {expression!r}: {error}") from None


def tidy(value: Any) -> str:
    """A number as people write it: 42 for 42.0, at most 10 significant digits.

    Raises:
        ToolError: The value is not a finite real number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ToolError(f"the result is not a number but {type(value).__name__}")
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        raise ToolError("the result is too large")
    rounded = float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    return str(int(rounded)) if rounded.is_integer() and abs(rounded) < 1e15 else f"{rounded:.{SIGNIFICANT_DIGITS}g}"


def _only_numbers(tree: ast.AST) -> None:
    """Refuse text, lists and the rest of Python before anything is evaluated: they are where blow-ups start."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and (isinstance(node.value, bool) or not isinstance(node.value, int | float)):
            raise ToolError(f"only numbers are allowed, not {str(node.value)[:40]!r}")
        if isinstance(node, ast.Tuple):
            raise ToolError("a comma only stands between a function's arguments; write 1000 for 1,000")
        if not isinstance(node, _ALLOWED):
            raise ToolError(f"only numbers, + - * / // % ** and functions are allowed, not {type(node).__name__}")


def _bounded(function: Callable[..., Number]) -> Callable[..., Number]:
    def bounded(*values: Number) -> Number:
        result = function(*values)
        if isinstance(result, int) and result.bit_length() > MAX_INTEGER_BITS:
            raise ToolError(f"a number with more than {MAX_INTEGER_BITS} bits is too large")
        return result

    return bounded


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > 2 * MAX_INTEGER_BITS:
        raise (
            ToolError(f"{base} ** {exponent} is too large") if base.bit_length() < 64 else ToolError("power too large")
        )
    result = base**exponent
    if isinstance(result, complex):
        raise ToolError("the result is not a real number")
    return result


def _divide(dividend: Number, divisor: Number) -> Number:
    """Exact where two integers divide evenly, however large."""
    if isinstance(dividend, int) and isinstance(divisor, int) and divisor and dividend % divisor == 0:
        return dividend // divisor
    return dividend / divisor


def _round(value: Number, digits: int = 0) -> Number:
    return round(value, digits) if digits else round(value)


def _factorial(value: int) -> int:
    if value > 400:
        raise ToolError(f"factorial of {value} is too large")
    return math.factorial(value)


_OPERATORS = {
    ast.Add: _bounded(operator.add),
    ast.Sub: _bounded(operator.sub),
    ast.Mult: _bounded(operator.mul),
    ast.Div: _divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _bounded(_power),
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}

_ALLOWED = (ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name, ast.Load, ast.Call, *_OPERATORS)

_FUNCTIONS = {
    "abs": abs,
    "round": _round,
    "min": min,
    "max": max,
    "sqrt": math.sqrt,
    "floor": math.floor,
    "ceil": math.ceil,
    "factorial": _bounded(_factorial),
    "log": math.log,
    "exp": math.exp,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
}

# Python fills caches of its own as it runs. Each call is forked from the process that imported this module: what is
# filled here, none of them has to.
for _ in range(30):
    calculator("2 * (3 + 4.5)")
