"""Shapes of tool definitions, and of where they stand."""

import json

from tests.unit.data_shapes.greenhouse import BARE, OPENAI, SCHEMA, TOOL
from tests.unit.data_shapes.shape import Shape, lines

_MESSAGES = {"messages": OPENAI["messages"]}
_PLAIN = {"bed": {"type": "str", "description": "Name."}, "depth_cm": {"type": "int, optional"}}


def _defined(tools, key="tools"):
    return [{**_MESSAGES, key: tools}]


SHAPES = (
    Shape("tools as bare functions", _defined([BARE])),
    Shape("tools under functions", _defined([BARE], "functions")),
    Shape("tools as a list of JSON texts", _defined([json.dumps(TOOL)])),
    Shape("tools with input_schema", _defined([{"name": "soil_moisture", "description": "x", "input_schema": SCHEMA}])),
    Shape("tools with inputSchema (MCP)", _defined([{"name": "soil_moisture", "inputSchema": SCHEMA}])),
    Shape("parameters as JSON text", _defined([{**BARE, "parameters": json.dumps(SCHEMA)}])),
    Shape("parameters by name with Python types", _defined([{**BARE, "parameters": _PLAIN}])),
    Shape(
        "schemas with $ref and $defs",
        _defined(
            [
                {
                    **BARE,
                    "parameters": {
                        "type": "object",
                        "properties": {"bed": {"$ref": "#/$defs/bed"}, "depth_cm": {"type": "integer"}},
                        "$defs": {"bed": {"type": "string"}},
                    },
                }
            ]
        ),
    ),
    Shape("built-in tools beside", _defined([TOOL, {"type": "code_interpreter"}, {"type": "web_search"}])),
    Shape("tools.json for all rows", [_MESSAGES], beside={"tools.json": json.dumps([TOOL]).encode()}),
    Shape(
        "tools next to the rows in one document",
        [_MESSAGES],
        file="rows.json",
        pack=lambda rows: json.dumps({"tools": [TOOL], "data": list(rows)}).encode(),
    ),
    Shape(
        "settings, a card and statistics beside",
        [OPENAI],
        beside={"README.md": b"---\nlicense: mit\n---\n", "dataset_info.json": b'{"a": 1}', "stats.json": b'{"n": 1}'},
    ),
    Shape("calls of tools that the row lacks", [OPENAI, {**_MESSAGES, "tools": [{"name": "other"}]}]),
    Shape("one good row of three", [OPENAI, {"messages": 3}, {"messages": []}], pack=lines),
)
