"""Lines of calls: what can be read is read, what cannot becomes a status, and tool names are found without imports."""

import ast
import json
from pathlib import Path

import pytest

from rayplay.call_lines import read_line, result_json
from rayplay.errors import ToolboxError
from rayplay.records import Status, ToolResult
from rayplay.tool_files import marked_names, module_of, tools_in


def test_a_call_is_read_with_its_arguments_and_state() -> None:
    call, state = read_line(b'{"name": "add", "arguments": {"a": 1}, "state": {"n": 2}}', 7)
    assert (call.call_id, call.name, call.arguments, call.problem) == ("line-7", "add", {"a": 1}, None)
    assert json.loads(state) == {"n": 2}


def test_arguments_may_be_json_text_or_missing() -> None:
    assert read_line(b'{"name": "add", "arguments": "{\\"a\\": 1}"}', 1)[0].arguments == {"a": 1}
    assert read_line(b'{"name": "add"}', 1)[0].arguments == {}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"   ",
        b'{"name": ',
        b"[1]",
        b"null",
        b'"add"',
        b'{"arguments": {}}',
        b'{"name": 3}',
        b"\xff\xfe",
        b'{"name": "add", "name": "sub"}',
        b'{"name": "add", "arguments": "{"}',
        b"[" * 100_000,
    ],
)
def test_a_broken_line_is_a_status_not_a_crash(raw: bytes) -> None:
    call, state = read_line(raw, 1)
    assert call.problem is Status.INVALID_JSON and state is None


def test_arguments_that_are_no_object_are_bad_arguments() -> None:
    assert read_line(b'{"name": "add", "arguments": [1]}', 1)[0].problem is Status.BAD_ARGUMENTS


def test_a_result_is_shown_with_four_fields_and_its_state() -> None:
    result = ToolResult(call_id="1", name="add", status=Status.OK, text="3", seconds=0.12345, level="L2")
    assert result_json(result) == {"status": "ok", "text": "3", "seconds": 0.1235, "level": "L2"}
    assert result_json(result.model_copy(update={"state": '{"n": 1}'}))["state"] == {"n": 1}


def test_marked_functions_are_found_in_every_form() -> None:
    source = """
@tool
def one(): ...
@tool(name="zwei", deadline_s=1)
def two(): ...
@other
def three(): ...
class Set:
    @tool()
    def four(self): ...
"""
    assert list(marked_names(ast.parse(source))) == ["one", "zwei", "four"]


def test_the_shipped_tools_are_found_by_name() -> None:
    found = tools_in(Path("tools"))
    assert found["calculator"] == "tools.calculator" and found["add_to_cart"] == "tools.shopping_cart"
    assert module_of("weekday", Path("tools")) == "tools.dates"
    with pytest.raises(ToolboxError, match="did you mean 'calculator'"):
        module_of("calculatr", Path("tools"))
    with pytest.raises(ToolboxError, match="no such folder"):
        tools_in(Path("nowhere"))
