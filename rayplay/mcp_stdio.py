"""A command that speaks MCP over stdin and stdout -> the client's two streams, bounded, and a process that always ends.

The SDK's own transport keeps a line in memory however long it is, copies it again for every chunk, and leaves the
process behind where its task is cancelled. Here a message has a size limit (the request that it answers gets an error
instead), what is no message is passed over, and whatever the server started is found by a mark in its environment and
ended too.
"""

import asyncio
import json
import os
import re
import signal
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any

import anyio
import mcp_types as types
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage
from pydantic_core import from_json

MESSAGE_BYTES_MAX = 48 << 20
CHUNK_BYTES = 1 << 16
HEAD_BYTES = 4096  # of a message that is too long, in which its id is looked for
LEAVE_S, TERMINATE_S = 1.0, 1.0  # for a server to end by itself once nobody talks to it, and once it is told to
MARK = "RAYPLAY_MCP_SERVER"
UNREADABLE = -32099  # of the codes that JSON-RPC leaves to implementations
TOO_LONG = f"the server's answer is larger than {MESSAGE_BYTES_MAX >> 20} MiB"
_ID = re.compile(rb'"id"\s*:\s*(\d{1,18}|"[^"\\]{1,200}")')

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]


@asynccontextmanager
async def stdio_server(
    command: Sequence[str], env: dict[str, str], errors: IO[str]
) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """Start the command and yield (what it says, what it is told); on leaving, it and all that it started are gone.

    Raises:
        OSError: It cannot be started.
    """
    mark = uuid.uuid4().hex
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        env={**get_default_environment(), **env, MARK: mark},
        start_new_session=True,
    )
    arrived, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, to_send = anyio.create_memory_object_stream[SessionMessage](0)
    tasks = [
        asyncio.create_task(read_messages(process, arrived)),
        asyncio.create_task(write_messages(process, to_send)),
    ]
    try:
        yield incoming, outgoing
    finally:
        try:
            await end_process(process)
        finally:
            kill_all(process.pid, mark)
            for task in tasks:
                task.cancel()
            for stream in (arrived, incoming, outgoing, to_send):
                stream.close()


async def read_messages(
    process: asyncio.subprocess.Process, arrived: MemoryObjectSendStream[SessionMessage | Exception]
) -> None:
    """Lines of the server's output -> messages, until it ends."""
    line, too_long = bytearray(), False
    with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        async with arrived:
            while chunk := await process.stdout.read(CHUNK_BYTES):
                *ended, rest = chunk.split(b"\n")
                for part in ended:
                    line += part
                    message = failed(bytes(line[:HEAD_BYTES]), TOO_LONG) if too_long else parse(bytes(line))
                    line, too_long = bytearray(), False
                    if message is not None:
                        await arrived.send(SessionMessage(message))
                line += rest
                if len(line) > MESSAGE_BYTES_MAX:
                    too_long = True
                if too_long:
                    del line[HEAD_BYTES:]


def parse(line: bytes) -> types.JSONRPCMessage | None:
    """One line as a message; None where it is something that the server printed.

    What answers a request and cannot be read becomes the request's error: nobody waits for a deadline in vain.
    """
    if line.lstrip()[:1] != b"{":
        return None
    try:
        value = read_json(line)
        if "method" in value or not ("result" in value or "error" in value):
            return types.jsonrpc_message_adapter.validate_python(value, by_name=False)
        model = types.JSONRPCResponse if "result" in value else types.JSONRPCError
        return model.model_validate(value, by_name=False)
    except (ValueError, RecursionError):
        return failed(line[:HEAD_BYTES], "the server's answer cannot be read")


def read_json(line: bytes) -> Any:
    """JSON, also with half surrogate pairs, which only the slower reader takes."""
    try:
        return from_json(line)
    except ValueError:
        return json.loads(line)


def failed(head: bytes, why: str) -> types.JSONRPCError | None:
    """The error that stands for an answer, by the id among its first bytes; None where there is none."""
    found = _ID.search(head)
    if found is None:
        return None
    name = found[1].decode(errors="replace")
    request_id = name.strip('"') if name.startswith('"') else int(name)
    return types.JSONRPCError(jsonrpc="2.0", id=request_id, error=types.ErrorData(code=UNREADABLE, message=why))


async def write_messages(
    process: asyncio.subprocess.Process, to_send: MemoryObjectReceiveStream[SessionMessage]
) -> None:
    """Messages -> lines of the server's input. The pipe's own bound makes the sender wait."""
    with suppress(anyio.ClosedResourceError, OSError):
        async with to_send:
            async for item in to_send:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(text.encode() + b"\n")
                await process.stdin.drain()


async def end_process(process: asyncio.subprocess.Process) -> None:
    """Let the server end by itself, then tell it to; the rest is `kill_all`'s."""
    process.stdin.close()
    for seconds, number in ((LEAVE_S, signal.SIGTERM), (TERMINATE_S, signal.SIGKILL)):
        try:
            await asyncio.wait_for(asyncio.shield(process.wait()), seconds)
            return
        except TimeoutError:
            signal_group(process.pid, number)


def signal_group(leader: int, number: int) -> None:
    """Signal the process group that a server leads."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def kill_all(leader: int, mark: str) -> None:
    """End the server's group, and every process that carries its mark, also one that left the group."""
    signal_group(leader, signal.SIGKILL)
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
