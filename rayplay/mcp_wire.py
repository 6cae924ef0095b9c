"""A transport -> the same, with results as the server wrote them.

The SDK checks a list of tools and the result of a call as a whole, against its own models and the tool's output
schema, and raises where one part does not fit. Here results pass it as empty ones that carry the raw object along;
judging its parts is left to `mcp_descriptions` and `mcp_results`, so that one complaint costs one tool or one block.
Notifications end here: nothing needs them, and a flood would be a task each.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any

import anyio
import mcp_types as types
from mcp.shared.message import SessionMessage

from rayplay.records import Json

RAW = "rayplay/raw"  # key of `_meta` under which the raw result travels
EMPTY: dict[str, Json] = {"tools/list": {"tools": []}, "tools/call": {"content": []}}
REST: Json = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}  # what some revisions of MCP require


def raw_result(result: types.Result) -> Json:
    """The object that the server answered with."""
    return (result.meta or {}).get(RAW, {})


@asynccontextmanager
async def untyped(transport: AbstractAsyncContextManager[Any]) -> AsyncIterator[tuple["Reading", "Writing"]]:
    """The streams of a transport, results made plain."""
    async with transport as (incoming, outgoing):
        asked: dict[Any, str] = {}
        yield Reading(incoming, asked), Writing(outgoing, asked)


class Writing:
    """The stream to the server; remembers which request asks for what."""

    def __init__(self, stream: Any, asked: dict[Any, str]) -> None:
        self._stream, self._asked = stream, asked

    async def send(self, item: SessionMessage) -> None:
        """Pass a message on."""
        if isinstance(item.message, types.JSONRPCRequest) and item.message.method in EMPTY:
            self._asked[item.message.id] = item.message.method
        await self._stream.send(item)

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()

    async def __aenter__(self) -> "Writing":
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)


class Reading:
    """The stream from the server."""

    def __init__(self, stream: Any, asked: dict[Any, str]) -> None:
        self._stream, self._asked = stream, asked

    @property
    def last_context(self) -> Any:
        """What some transports attach to a message."""
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        """The next message that somebody waits for."""
        while True:
            item = await self._stream.receive()
            if isinstance(item, Exception):
                return item
            message = item.message
            if isinstance(message, types.JSONRPCNotification):
                continue
            if isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
                method = self._asked.pop(message.id, None)
                if method is not None and isinstance(message, types.JSONRPCResponse):
                    plain = {**REST, **EMPTY[method], "_meta": {RAW: message.result}}
                    item = SessionMessage(message.model_copy(update={"result": plain}), item.metadata)
            return item

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()

    def __aiter__(self) -> "Reading":
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> "Reading":
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)
