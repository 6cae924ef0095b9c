"""Tools for the tests of the sandbox."""

import os
import socket
import time
from enum import StrEnum

from rayplay.toolbox import ToolError, tool

COUNTER = [0]


class Colour(StrEnum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


@tool(deadline_s=20.0)
def python(code: str) -> str:
    """Run code."""
    variables: dict = {}
    exec(code, variables)
    return str(variables.get("result", ""))


@tool(pure=True)
def double(x: int) -> int:
    """Double a number."""
    return 2 * x


@tool(pure=True, deadline_s=3.0)
def misbehave(how: str) -> str:
    """Claim to be pure, and be anything but."""
    if how == "hang":
        time.sleep(1000)
    if how == "die":
        os._exit(3)
    if how == "print":
        print("printed")
    if how == "raise":
        raise ValueError("raised")
    if how == "remember":
        global COUNTER
        COUNTER = [*COUNTER, 1]
    if how == "leave":
        open("left", "w").close()
    return f"{how} {len(COUNTER)} {os.listdir('.')}"


@tool
def paint(colour: Colour) -> str:
    """Say what a colour is in Python."""
    return type(colour).__name__


@tool
def refuse(reason: str) -> str:
    """Refuse."""
    raise ToolError(reason)


@tool(idempotent=False)
def pay(seconds: float) -> str:
    """Something that must not happen twice."""
    time.sleep(seconds)
    return "paid"


@tool
def wait(seconds: float) -> str:
    """Something that may happen twice."""
    time.sleep(seconds)
    return "waited"


@tool(needs=("network",))
def reach(port: int) -> str:
    """Connect to this machine."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        return connection.recv(16).decode()


class Tally:
    """A stateful toolset."""

    def __init__(self, state: dict | None = None) -> None:
        self.state = state or {"total": 0}

    @tool
    def add(self, amount: int) -> int:
        """Add to the tally."""
        self.state["total"] += amount
        return self.state["total"]
