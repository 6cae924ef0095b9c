"""A real MCP server over stdio for the tests: `python mcp_server.py [MODE] [FILE]`.

Modes: "" ordinary tools; "many" 200 tools; "http:PORT" ordinary tools over streamable HTTP; "deaf" never answers;
"dead" ends at once. Each start adds a line to FILE.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.types import ImageContent, TextContent, ToolAnnotations

PIXEL = "iVBORw0KGgo="

mode = sys.argv[1] if len(sys.argv) > 1 else ""
log = Path(sys.argv[2]) if len(sys.argv) > 2 else None
server = MCPServer("test")


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def fail(text: str) -> str:
    """Always fail."""
    raise ValueError(f"cannot do {text}")


def draw() -> list[Any]:
    """Draw a picture."""
    return [TextContent(type="text", text="here"), ImageContent(type="image", data=PIXEL, mime_type="image/png")]


def shout(count: int) -> str:
    """Say a lot, with a terminal control sequence."""
    return "\x1b[31m" + "x" * count


async def stall() -> str:
    """Take for ever, but leave the server alive."""
    await anyio.sleep(3600)
    return "never"


def hang() -> str:
    """Stop the whole server."""
    os.kill(os.getpid(), 19)
    return "never"


def complain(count: int) -> str:
    """Write so many lines of 1 KiB to standard error, and one last word."""
    for _ in range(count):
        print("e" * 1023, file=sys.stderr)
    print("the end", file=sys.stderr, flush=True)
    return "done"


def chatter() -> str:
    """Print what is no message to where messages go."""
    os.write(1, b"Loading model...\n{not json\n\xff\xfe\n")
    return "done"


def die() -> str:
    """End the whole server."""
    os._exit(3)


def die_once() -> str:
    """End the server the first time only."""
    if log is not None and len(log.read_text().splitlines()) < 2:
        os._exit(3)
    return "second life"


def environment() -> str:
    """Name the variables that the server can see."""
    return " ".join(sorted(os.environ))


if log is not None:
    with log.open("a") as lines:
        lines.write(f"{os.getpid()}\n")
if mode == "dead":
    sys.exit("this server has a problem")
if mode == "deaf":
    time.sleep(3600)
if mode == "many":
    one = Tool.from_function(add)
    server = MCPServer("test", tools=[one.model_copy(update={"name": f"add/{number}"}) for number in range(200)])
else:
    for function in (add, fail, draw, shout, stall, hang, complain, chatter, die, environment):
        server.add_tool(function)
    server.add_tool(die_once, annotations=ToolAnnotations(idempotent_hint=True))
if mode.startswith("http:"):
    server.run("streamable-http", port=int(mode.removeprefix("http:")))
else:
    server.run("stdio")
