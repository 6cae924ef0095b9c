"""`python -m rayplay.mcp_launch MEMORY_MB COMMAND ARG...`: bound this process, then become the MCP server.

The server is trusted code; the bounds only keep a faulty one from taking the machine along. Data memory (not address
space, which some runtimes reserve by the terabyte), no core dumps, and an end when the starter ends.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
OPEN_FILES = 1024


def main() -> None:
    """Set the limits and exec the command."""
    memory_mb, command = int(sys.argv[1]), sys.argv[2:]
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    bound = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (bound, bound))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"cannot start {command[0]!r}: {error.strerror}")


if __name__ == "__main__":
    main()
