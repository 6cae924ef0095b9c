"""The tools of some modules -> their specs, in a process of its own, once per sandbox.

Reading a schema needs pydantic; the zygotes do without it. Started and spoken to like a zygote.
"""

import socket
import sys

from rayplay.records import ToolSpec
from rayplay.sandbox.loading import failure, load_tools
from rayplay.sandbox.wire import receive_frame, send_frame
from rayplay.toolbox import spec_of


def describe(modules: list[str]) -> list[ToolSpec]:
    """The specs of all tools of the modules, the first of a name."""
    specs: dict[str, ToolSpec] = {}
    for found in load_tools(modules):
        spec = spec_of(found.function, found.module, found.toolset.__name__ if found.toolset else "")
        specs.setdefault(spec.name, spec)
    return list(specs.values())


def main() -> None:
    """Answer once on the socket whose descriptor is the only argument."""
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        config, _ = receive_frame(sock)
        sys.path[:0] = config["search_paths"]
        try:
            send_frame(sock, {"specs": [spec.model_dump(mode="json") for spec in describe(config["modules"])]})
        except Exception as error:  # the user's modules may raise anything; it is told, not survived
            send_frame(sock, {"failed": failure(error)})
