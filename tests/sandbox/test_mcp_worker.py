"""A tool worker serves sandboxed tools and an MCP server's side by side, and cleans both."""

import asyncio
import sys
from pathlib import Path

import pytest

from rayplay.actors.tools import ToolWorker
from rayplay.records import Status, ToolCall

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]

SERVER = str(Path(__file__).parents[1] / "unit" / "mcp_server.py")


def test_calls_reach_the_sandbox_or_the_server_by_name() -> None:
    server = {"command": sys.executable, "args": [SERVER], "allow": ["add", "draw", "die"]}
    worker = ToolWorker(["tools.calculator", "tools.shopping_cart"], mcp_servers=[server], special_tokens=["here"])

    async def play() -> list:
        calls = [
            ToolCall(call_id="1", name="calculator", arguments={"expression": "2 * 21"}),
            ToolCall(call_id="2", name="add", arguments={"a": 40, "b": 2}),
            ToolCall(call_id="3", name="check_item", arguments={"item": "milk"}),
            ToolCall(call_id="4", name="draw"),
            ToolCall(call_id="5", name="environment"),
        ]
        results = await asyncio.gather(*(worker.call(call) for call in calls))
        lost = await worker.call(ToolCall(call_id="6", name="die"))
        again = await worker.call(ToolCall(call_id="7", name="add", arguments={"a": 1, "b": 1}))
        return [*results, lost, again]

    try:
        results = asyncio.run(play())
        names = {spec.name for spec in worker.describe()}
    finally:
        worker.close()
    assert {"calculator", "add", "draw"} <= names and "environment" not in names
    assert [r.text for r in results[:2]] == ["42", "42"]
    assert [r.status for r in results] == [*[Status.OK] * 4, Status.UNKNOWN_TOOL, Status.UNAVAILABLE, Status.OK]
    assert results[0].level >= "L1" and results[1].level == "L0"
    assert results[3].text.startswith("h ere")  # a special token of the model, broken
    assert worker.mcp_report()[0]["trusted"] is True
