"""Python source -> what it printed and the variable `result`, in full CPython.

Nothing here confines the program: that is the sandbox's work (a fresh process, no network, no files but its own
scratch, bounded time, memory and output). Each call starts with empty variables.
"""

import ast
import traceback

from rayplay.toolbox import ToolError, tool


@tool(deadline_s=5.0, memory_mb=512)
def python(code: str) -> str:
    """Run Python code. Print the answer or set `result`.

    Args:
        code: Python source.
    """
    variables = {"__name__": "__main__"}
    try:
        # Parsed apart, so that a program's own SyntaxError is told from one of the source.
        program = compile(ast.parse(code, "<code>"), "<code>", "exec")
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ToolError(f"{type(error).__name__}: {error}") from None
    try:
        exec(program, variables)
    except MemoryError:
        raise
    except Exception as error:  # whatever the program raises is its result, told to the model as a tool error
        raise ToolError(told(error)) from None
    return str(variables["result"]) if "result" in variables else ""


def told(error: Exception) -> str:
    """One line: the error, and the line of the program that it came from."""
    frames = traceback.walk_tb(error.__traceback__)
    lines = [line for frame, line in frames if frame.f_code.co_filename == "<code>"]
    where = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {error}{where}"
