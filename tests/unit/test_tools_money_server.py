"""The shipped MCP server exchanges money, is found by its own description, and refuses unknown currencies."""

import pytest

from rayplay.mcp_tools import McpToolbox
from rayplay.records import Status, ToolCall


@pytest.mark.timeout(60)
def test_the_server_of_the_stateful_recipe_answers() -> None:
    with McpToolbox(command="python", args=["-m", "tools.servers.money"]) as toolbox:
        (spec,) = toolbox.describe()
        assert (spec.name, spec.idempotent) == ("exchange", True)
        good = {"amount": 200, "source": "pounds", "target": "euros"}
        result = toolbox.run(spec, ToolCall(call_id="1", name="exchange", arguments=good))
        assert (result.status, result.text) == (Status.OK, "227.27")
        bad = toolbox.run(spec, ToolCall(call_id="2", name="exchange", arguments=good | {"target": "shells"}))
        assert bad.status is Status.BAD_ARGUMENTS
