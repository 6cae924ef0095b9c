"""MCP servers that a recipe may start: `{"mcp": {"command": "python", "args": ["-m", "tools.servers.NAME"]}}`."""
