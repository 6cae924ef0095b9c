"""An MCP server -> tools like our own: names, schemas, results and errors, with allow-list, deadlines and reconnection.

The server runs apart, in its own process (or behind a URL), and is trusted code: no level of the sandbox holds it, only
the limits of `mcp_launch`. What it answers is bounded and cleaned like any tool's output; images and sounds become a
note. A server that hangs or dies costs the call that met it, and is started again for the next one.

Not covered: prompts, resources, sampling and elicitation, which servers may offer beside tools.
"""

import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from mcp import Client, MCPError, types

from rayplay.credentials import redact
from rayplay.errors import ToolboxError
from rayplay.mcp_descriptions import ToolList, allowed
from rayplay.mcp_http import http_server
from rayplay.mcp_results import read_result
from rayplay.mcp_stdio import stdio_server
from rayplay.mcp_wire import raw_result, untyped
from rayplay.records import Json, Status, ToolCall, ToolResult, ToolSpec
from rayplay.sandbox.hygiene import readable
from rayplay.toolbox import check_arguments

CHECK_S = 5.0  # a server that was late with a call must list its tools within this, or is started again
PAUSE_S = 2.0  # after a failed start, calls are refused for so long instead of starting it for each of them
GRACE_S = 5.0
ERRORS_MAX, ERRORS_LOOKED_AT_S = 1 << 20, 1.0  # bytes of a server's standard error that are kept, and how often
MAX_PAGES = 100  # of the list of tools
LEVEL = "L0"  # nothing of the sandbox holds a server

_FAILURES = (OSError, MCPError, RuntimeError, ValueError, ExceptionGroup)


@dataclass
class _Connection:
    """A running client and the task that holds it open."""

    client: Client
    task: asyncio.Task
    stop: asyncio.Event


class McpToolbox:
    """The tools of one MCP server. Thread-safe; `describe` and `run` mean the same as the sandbox's.

    Args:
        command: What to start; it speaks MCP over stdin and stdout. "python" is the interpreter that runs rayplay.
        args: Its arguments.
        env: Variables it gets besides PATH, HOME and the like; nothing else of our environment reaches it.
        url: Address of a server over streamable HTTP, instead of a command.
        allow: Names of tools to take; None = all.
        deadline_s: Seconds of one call.
        start_deadline_s: Seconds of starting the server and listing its tools.
        memory_mb: Data memory of a started server, MiB.
        output_bytes: Most bytes of a result's text.

    Raises:
        ToolboxError: The server cannot be started or reached, or an allowed tool does not exist.
    """

    def __init__(
        self,
        *,
        command: str | None = None,
        args: Sequence[str] = (),
        env: dict[str, str] | None = None,
        url: str | None = None,
        allow: Sequence[str] | None = None,
        deadline_s: float = 20.0,
        start_deadline_s: float = 30.0,
        memory_mb: int = 4096,
        output_bytes: int = 65536,
    ) -> None:
        self.label = redact(url or " ".join([command or "", *args]))
        self.url = url
        # "python" means the one that runs us: a recipe cannot know where its packages are
        self._command = [sys.executable if command == "python" else command or "", *args]
        self._env = dict(env or {})
        self._deadline_s, self._start_deadline_s = deadline_s, start_deadline_s
        self.longest_s = 2 * (deadline_s + start_deadline_s) + GRACE_S  # with a new start and a repetition
        self._memory_mb, self._output_bytes = memory_mb, output_bytes
        self._errors: IO[str] = tempfile.TemporaryFile("a+", errors="replace")  # noqa: SIM115
        self._connection: _Connection | None = None
        self._refuse_until, self._problem = 0.0, ""
        self.starts = 0
        self._loop = asyncio.new_event_loop()
        self._connecting = asyncio.Lock()
        self._checking: asyncio.Task | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="mcp-client", daemon=True)
        self._thread.start()
        try:
            found = self._wait(self._list_tools(allow), start_deadline_s + 3 * GRACE_S)
            self._specs, self.skipped = found.specs(self.label, deadline_s, url is not None), found.skipped
            if not self._specs and self.skipped and allow is None:
                why = "; ".join(f"{name}: {text}" for name, text in list(self.skipped.items())[:3])
                raise ToolboxError(f"MCP server {self.label!r} has no tool that can be offered ({why})")
            if allow is not None:
                self._specs = allowed(self._specs, allow, self.label, found.names)
            self._specs = tuple(ToolSpec.model_validate_json(redact(spec.model_dump_json())) for spec in self._specs)
        except (FutureTimeoutError, *_FAILURES) as error:
            problem = f"MCP server {self.label!r} cannot be used: {reason(error)}{self._complaint()}"
            self.close()
            raise ToolboxError(problem) from error
        except ToolboxError:
            self.close()
            raise

    def describe(self) -> tuple[ToolSpec, ...]:
        """The allowed tools; `original_name` is the server's own where ours had to differ."""
        return self._specs

    def report(self) -> Json:
        """What a manifest should say of it."""
        return {"mcp": self.label, "trusted": True, "level": LEVEL, "tools": len(self._specs), "skipped": self.skipped}

    def run(
        self, spec: ToolSpec, call: ToolCall, *, state: str | None = None, deadline_s: float | None = None
    ) -> ToolResult:
        """One call -> its result; blocks. Every way to end is a status, none is an exception."""
        started = time.monotonic()
        own = next((s for s in self._specs if s.name == call.name), None)
        limit_s = min(self._deadline_s, deadline_s or self._deadline_s)
        if call.problem is not None:
            status, text = call.problem, f"the call cannot be read: {call.problem.value}"
        elif own is None or spec.name != call.name:
            status, text = Status.UNKNOWN_TOOL, f"no tool named {call.name[:80]!r}"
        elif problem := check_arguments(own, call.arguments):
            status, text = Status.BAD_ARGUMENTS, problem
        else:
            try:
                status, text = self._wait(self._call(own, call.arguments, limit_s), self.longest_s)
            except FutureTimeoutError:
                status, text = Status.UNAVAILABLE, "the MCP client does not answer"
        return ToolResult(
            call_id=call.call_id,
            name=call.name,
            status=status,
            text=redact(text),
            seconds=time.monotonic() - started,
            level=LEVEL,
        )

    def close(self) -> None:
        """End the connection, and a started server with it."""
        if self._loop.is_running():
            self._wait(self._drop(self._connection), GRACE_S + 10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(GRACE_S)
        self._errors.close()

    def __enter__(self) -> "McpToolbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, work: Any, seconds: float) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    async def _list_tools(self, allow: Sequence[str] | None) -> ToolList:
        """All pages, judged as they come, within the time of the start; a list that does not end is cut."""
        found, until = ToolList(allow), time.monotonic() + self._start_deadline_s  # the loop's clock too
        connection = await self._connected()
        cursor: str | None = None
        try:
            async with asyncio.timeout_at(until):
                for _ in range(MAX_PAGES):
                    page = await self._ask_for_tools(connection, cursor)
                    before = len(found.names)
                    found.add(page.get("tools"), until)
                    cursor = page.get("nextCursor")
                    if not isinstance(cursor, str) or not cursor or len(found.names) == before:
                        return found
        except TimeoutError:
            if not found.seen:
                raise RuntimeError(f"its list of tools did not come within {self._start_deadline_s:g} s") from None
        found.skipped["(rest)"] = f"the list has no end within {MAX_PAGES} pages and {self._start_deadline_s:g} s"
        return found

    async def _ask_for_tools(self, connection: _Connection, cursor: str | None) -> Json:
        request = types.ListToolsRequest(params=types.PaginatedRequestParams(cursor=cursor) if cursor else None)
        return raw_result(await connection.client.session.send_request(request, types.ListToolsResult))

    async def _call(self, spec: ToolSpec, arguments: Json, limit_s: float) -> tuple[Status, str]:
        """Call the tool; where the server is lost, once more for tools that may be repeated."""
        attempts = (1, 2) if spec.idempotent else (1,)
        problem = ""
        for _ in attempts:
            try:
                connection = await self._connected()
            except _FAILURES as error:
                return Status.UNAVAILABLE, f"the MCP server cannot be started: {reason(error)}"
            try:
                async with asyncio.timeout(limit_s):
                    params = types.CallToolRequestParams(name=spec.original_name or spec.name, arguments=arguments)
                    request = types.CallToolRequest(params=params)
                    result = await connection.client.session.send_request(request, types.CallToolResult)
                    return await asyncio.to_thread(self._read, raw_result(result))
            except TimeoutError:
                self._checking = self._loop.create_task(self._check(connection))  # the next call waits for it
                return Status.TIMEOUT, f"[stopped: no result within {limit_s:g} s]"
            except MCPError as error:
                if error.code == types.INVALID_PARAMS:
                    return Status.BAD_ARGUMENTS, self._clean(error.message)
                if error.code != types.CONNECTION_CLOSED:
                    return Status.TOOL_ERROR, self._clean(error.message)
                problem = error.message
            except (OSError, RuntimeError, ValueError, ExceptionGroup) as error:
                problem = reason(error)
            await self._drop(connection)
        return Status.UNAVAILABLE, f"the MCP server was lost during this call ({problem}); it is not the call's fault"

    def _read(self, result: Json) -> tuple[Status, str]:
        failed, text = read_result(result, 2 * self._output_bytes)
        return (Status.TOOL_ERROR if failed else Status.OK), self._clean(text)

    def _clean(self, text: str) -> str:
        return readable(redact(text).encode(errors="replace"), self._output_bytes)  # before it is cut

    async def _connected(self) -> _Connection:
        """The running connection, or a new one."""
        async with self._connecting:
            if self._checking is not None:
                await asyncio.wait([self._checking], timeout=CHECK_S + GRACE_S)
                self._checking = None
            if self._connection is not None and not self._connection.task.done():
                return self._connection
            if time.monotonic() < self._refuse_until:
                raise RuntimeError(self._problem)
            ready, stop = self._loop.create_future(), asyncio.Event()
            task = self._loop.create_task(self._hold(ready, stop))
            self.starts += 1
            try:
                async with asyncio.timeout(self._start_deadline_s):
                    client = await ready
            except (TimeoutError, *_FAILURES) as error:
                task.cancel()
                await asyncio.wait([task], timeout=GRACE_S)
                late = isinstance(error, TimeoutError)
                self._problem = f"no answer within {self._start_deadline_s:g} s" if late else reason(error)
                self._refuse_until = time.monotonic() + PAUSE_S
                raise RuntimeError(self._problem) from error
            self._connection = _Connection(client, task, stop)
            return self._connection

    async def _hold(self, ready: asyncio.Future, stop: asyncio.Event) -> None:
        """Keep a client open until told to stop: it must be left by the task that entered it."""
        try:
            async with Client(self._transport()) as client:
                ready.set_result(client)
                while not stop.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), ERRORS_LOOKED_AT_S)
                    if os.fstat(self._errors.fileno()).st_size > ERRORS_MAX:
                        self._errors.truncate(0)  # the server appends: it goes on at the start
        except _FAILURES as error:
            if not ready.done():
                ready.set_exception(RuntimeError(reason(error)))

    def _transport(self) -> Any:
        if self.url is not None:
            return untyped(http_server(self.url))
        command = [sys.executable, "-m", "rayplay.mcp_launch", str(self._memory_mb), *self._command]
        return untyped(stdio_server(command, self._env, self._errors))

    async def _check(self, connection: _Connection) -> None:
        """Drop a connection whose server does not even list its tools; an error is an answer too."""
        try:
            async with asyncio.timeout(CHECK_S):
                await self._ask_for_tools(connection, None)
        except MCPError as error:
            if error.code == types.CONNECTION_CLOSED:
                await self._drop(connection)
        except (TimeoutError, OSError, RuntimeError, ValueError, ExceptionGroup):
            await self._drop(connection)

    async def _drop(self, connection: _Connection | None) -> None:
        if connection is None:
            return
        if self._connection is connection:
            self._connection = None
        connection.stop.set()
        _, late = await asyncio.wait([connection.task], timeout=GRACE_S)
        for task in late:
            task.cancel()

    def _complaint(self) -> str:
        """The end of what the server wrote to its standard error."""
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return redact(f"; it wrote: {lines[-1][:300]}") if lines else ""


def reason(error: BaseException) -> str:
    """The first plain error inside groups, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return redact(str(error)) or type(error).__name__
