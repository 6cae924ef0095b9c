"""The HTTP client for MCP servers behind an address: an answer may be as large as one over pipes, and never packed.

Streams of events have a bound of their own in the SDK, one for each event.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

from rayplay.mcp_stdio import MESSAGE_BYTES_MAX


@asynccontextmanager
async def http_server(url: str) -> AsyncIterator[tuple]:
    """The SDK's streams to a server behind an address."""
    async with bounded_client() as client, streamable_http_client(url, http_client=client) as streams:
        yield streams


def bounded_client() -> httpx2.AsyncClient:
    """A client with the SDK's time limits that reads at most MESSAGE_BYTES_MAX of an answer."""
    client = create_mcp_http_client(headers={"accept-encoding": "identity"})  # packed, few bytes could hold many
    client.event_hooks["response"].append(_bound)
    return client


async def _bound(response: httpx2.Response) -> None:
    """Put the bound between the connection and whoever reads the body.

    Raises:
        httpx2.ReadError: The body is packed, though nobody asked for that.
    """
    packing = response.headers.get("content-encoding", "identity")
    if packing != "identity":
        raise httpx2.ReadError(f"the server packs its answers ({packing[:40]}), which was not asked for")
    if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
        response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with an error where it is too large."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._body:
            size += len(part)
            if size > MESSAGE_BYTES_MAX:
                raise httpx2.ReadError(f"the server's answer has more than {MESSAGE_BYTES_MAX >> 20} MiB")
            yield part

    async def aclose(self) -> None:
        """Close the connection's body."""
        await self._body.aclose()
