"""Answers of servers behind an address: as large as is allowed, and never packed."""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from rayplay import mcp_http
from rayplay.errors import ToolboxError
from rayplay.mcp_tools import McpToolbox

LIMIT = 1 << 20


@contextmanager
def server(body: Iterator[bytes], **headers: str) -> Iterator[str]:
    """A server that gives one body to every request, as far as anybody reads it; yields its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            for name, value in ({"content-type": "application/json"} | headers).items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            try:
                for part in body:
                    self.wfile.write(part)
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}/mcp"
        http.shutdown()
        thread.join(10)


@pytest.fixture(autouse=True)
def small_limit(monkeypatch) -> None:
    monkeypatch.setattr(mcp_http, "MESSAGE_BYTES_MAX", LIMIT)


async def fetch(url: str) -> bytes:
    async with mcp_http.bounded_client() as client:
        return (await client.post(url, json={})).content


@pytest.mark.parametrize("size", [0, 10, LIMIT])
def test_an_answer_within_the_limit_is_read_whole(size):
    with server([b"x" * size]) as url:
        assert len(asyncio.run(fetch(url))) == size


def test_an_answer_without_end_or_in_a_packing_ends_with_an_error():
    with server(iter(lambda: b" " * 65536, b"")) as url, pytest.raises(httpx2.ReadError, match="more than 1 MiB"):
        asyncio.run(fetch(url))
    packed = gzip.compress(b" " * 100)
    with server([packed], content_encoding="gzip") as url, pytest.raises(httpx2.ReadError, match="packs its answers"):
        asyncio.run(fetch(url))


def test_a_server_that_answers_without_end_is_refused_at_its_start():
    with server(iter(lambda: b" " * 65536, b"")) as url, pytest.raises(ToolboxError, match="cannot be used"):
        McpToolbox(url=url, deadline_s=2.0)
