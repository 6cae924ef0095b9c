"""`python -m tools.servers.money`: an MCP server over stdio that exchanges money at fixed, invented rates.

It shows how a tool of somebody else's server is used: rayplay reads its name and schema from the server itself.
"""

from typing import Literal

from mcp.server import MCPServer
from mcp.types import ToolAnnotations

Currency = Literal["dollars", "euros", "pounds", "yen", "francs"]

# Hundredths of a dollar for one unit: integers, so that every answer is exact to the cent.
CENTS: dict[str, int] = {"dollars": 100, "euros": 110, "pounds": 125, "yen": 1, "francs": 120}

server = MCPServer("money")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def exchange(amount: int, source: Currency, target: Currency) -> str:
    """Exchange money."""
    return f"{amount * CENTS[source] / CENTS[target]:.2f}"


if __name__ == "__main__":
    server.run("stdio")
