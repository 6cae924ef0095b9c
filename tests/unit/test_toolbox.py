"""Typed function -> schema, and the checking of arguments against it."""

from enum import Enum
from typing import Annotated, Literal

import pytest
from pydantic import Field

from rayplay.errors import ToolboxError
from rayplay.records import ToolSpec
from rayplay.toolbox import check_arguments, coerce_arguments, find_tool, is_tool, read_docstring, spec_of, tool


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@tool(idempotent=False, deadline_s=9.0, memory_mb=64, needs=("network",))
def paint(what: str, colour: Colour, layers: int = 1, finish: Literal["matt", "gloss"] | None = None) -> str:
    """Paint a thing
    all over.

    Args:
        what: The thing
            to paint.
        colour: Its new colour.
        layers: How many.

    Returns:
        A report.
    """
    return f"{what} {colour} {layers} {finish}"


def test_the_schema_is_read_off_the_function() -> None:
    spec = spec_of(paint, module="tools.paint")
    assert spec.name == "paint" and spec.description == "Paint a thing all over." and spec.module == "tools.paint"
    assert (spec.idempotent, spec.deadline_s, spec.memory_mb, spec.needs) == (False, 9.0, 64, ("network",))
    assert spec.parameters["required"] == ["what", "colour"]
    assert spec.parameters["properties"]["what"] == {"type": "string", "description": "The thing to paint."}
    assert spec.parameters["properties"]["layers"]["default"] == 1
    assert spec.parameters["$defs"]["Colour"]["enum"] == ["red", "blue"]
    assert "title" not in str(spec.parameters)


def test_a_tool_stays_a_function_and_may_have_another_name() -> None:
    @tool(name="other")
    def mine(x: int) -> int:
        """Say x."""
        return x

    assert mine(3) == 3 and is_tool(mine) and spec_of(mine).name == "other"
    assert not is_tool(print)


def test_methods_of_a_toolset_have_no_self_in_their_schema() -> None:
    class Counter:
        @tool
        def count(self, by: int) -> int:
            """Count."""
            return by

    spec = spec_of(Counter.count, toolset="Counter")
    assert list(spec.parameters["properties"]) == ["by"] and spec.toolset == "Counter"


def test_functions_that_cannot_be_tools_are_refused_by_name() -> None:
    @tool
    def untyped(x) -> int:
        """Say x."""
        return x

    @tool
    def many(*x: int) -> int:
        """Say x."""
        return len(x)

    @tool
    def silent(x: int) -> int:
        return x

    for function, message in ((untyped, "'x' has no type"), (many, "variadic"), (silent, "no docstring")):
        with pytest.raises(ToolboxError, match=message):
            spec_of(function)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"what": "door", "colour": "red"}, ""),
        ({"what": "door", "colour": "red", "layers": 2, "finish": None}, ""),
        ({"what": "door"}, "'colour' is a required property"),
        ({"what": 3, "colour": "red"}, "what: 3 is not of type 'string'"),
        ({"what": "door", "colour": "green"}, "colour: 'green' is not one of"),
        ({"what": "door", "colour": "red", "layers": "2"}, "layers: '2' is not of type 'integer'"),
        ({"what": "door", "colour": "red", "layer": 2}, "unknown argument 'layer'; paint takes: what, colour"),
        (["door"], "arguments must be an object, not list"),
        (None, "arguments must be an object, not NoneType"),
    ],
)
def test_arguments_are_checked_in_words(arguments: object, problem: str) -> None:
    found = check_arguments(spec_of(paint), arguments)
    assert found.startswith(problem) if problem else found == ""


POINT = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}


@pytest.mark.parametrize(
    ("parameters", "arguments", "problem"),
    [
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"b": 1}, ""),
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"c": 1}, "{'c': 1} is not valid"),
        ({"$ref": "#/$defs/P", "$defs": {"P": POINT}}, {"x": 1}, ""),
        ({"$ref": "#/$defs/P", "$defs": {"P": POINT}}, {"x": "1"}, "x: '1' is not of type 'number'"),
        ({"properties": {"p": {"$ref": "#/$defs/Nowhere"}}}, {"p": 1}, ""),
        ({"properties": {"p": {"$ref": "http://127.0.0.1:9/schema.json"}}}, {"p": 1}, ""),
        ({"properties": {"p": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"$ref": "#/$defs/A"}}}, {"p": 1}, ""),
        ({"properties": {"p": {"type": "string", "pattern": r"^\p{L}+$"}}}, {"p": "a"}, ""),
        ({"type": "object"}, {"p": 1}, "unknown argument 'p'; other takes: none"),
    ],
)
def test_schemas_of_others_refuse_what_they_can_refuse(parameters: dict, arguments: dict, problem: str) -> None:
    found = check_arguments(ToolSpec(name="other", parameters=parameters), arguments)
    assert found.startswith(problem) if problem else found == ""


def test_deep_arguments_are_refused_before_the_schema_sees_them() -> None:
    deep: list = []
    for _ in range(100):
        deep = [deep]
    assert "nested deeper" in check_arguments(spec_of(paint), {"what": deep})


def test_arguments_become_the_types_of_the_function() -> None:
    assert coerce_arguments(paint, {"what": "door", "colour": "red"})["colour"] is Colour.RED


def test_tools_are_found_by_their_exact_name() -> None:
    specs = (ToolSpec(name="a"), ToolSpec(name="b"))
    assert find_tool(specs, "b") is specs[1] and find_tool(specs, "B") is None


def test_docstrings_without_sections_are_all_description() -> None:
    assert read_docstring("Only\nthis.") == ("Only this.", {})
    assert read_docstring("Sum.\n\nArgs:\n    x (int): First.\n    y: Second\n        line.\n") == (
        "Sum.",
        {"x": "First.", "y": "Second line."},
    )


def test_an_annotation_describes_what_the_docstring_does_not() -> None:
    @tool
    def pour(
        millilitres: Annotated[float, Field(multiple_of=0.1, description="how much")],
        into: Annotated[str, Field(description="which vessel")] = "cup",
    ) -> str:
        """Pour.

        Args:
            into: A vessel at hand.
        """
        return f"{millilitres} {into}"

    properties = spec_of(pour).parameters["properties"]
    assert properties["millilitres"] == {"type": "number", "multipleOf": 0.1, "description": "how much"}
    assert properties["into"]["description"] == "A vessel at hand."
    assert check_arguments(spec_of(pour), {"millilitres": 0.7}) == ""
    assert "multiple" in check_arguments(spec_of(pour), {"millilitres": 0.75})
