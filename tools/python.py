"""Python source -> what it printed and the variable `result`, in full CPython.

Nothing here confines the program: that is the sandbox's work (a fresh process, no network, no files but its own
scratch, bounded time, memory and output). Each call starts with empty variables.
"""

from types import CodeType
from typing import Any

from rayplay.toolbox import ToolError, tool


@tool(deadline_s=5.0, memory_mb=512)
def python(code: str) -> str:
    """Run Python code. Print the answer or set `result`.

    Args:
        code: Python source.
    """
    variables = {"__name__": "__main__"}
    try:
        # Compiled apart, so that a program's own SyntaxError is told from one of the source.
        program = compile(code, "<code>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ToolError(f"{type(error).__name__}: {error}") from None
    try:
        run(program, variables)
        return str(variables["result"]) if "result" in variables else ""
    except MemoryError:
        raise
    except BaseException as error:  # whatever the program raises is its result, told to the model as a tool error
        raise ToolError(told(error)) from None


def run(program: CodeType, variables: dict[str, Any]) -> None:
    """Run a program to its end; to leave by exit code 0 is one."""
    try:
        exec(program, variables)
    except SystemExit as error:
        if error.code not in (None, 0):
            raise


def told(error: BaseException) -> str:
    """One line: the error, and the line of the program that it came from."""
    where, step = "", error.__traceback__
    while step is not None:  # `traceback` would do, and make every fork of this process dearer
        if step.tb_frame.f_code.co_filename == "<code>":
            where = f" (line {step.tb_lineno})"
        step = step.tb_next
    try:
        text = str(error)
    except BaseException:  # of the program's own making
        text = "<exception str() failed>"
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"
