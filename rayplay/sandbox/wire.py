"""(header, blobs) <-> frames on a socket. Headers are JSON; blobs are bytes that nobody parses on the way."""

import json
import socket
from collections.abc import Callable
from typing import Any

_scan = json.JSONDecoder().scan_once
HEADER_MAX = 64 * 1024 * 1024
CHUNK = 1 << 16


def send_frame(sock: socket.socket, header: dict[str, Any], *blobs: bytes) -> None:
    """Send one frame.

    Raises:
        OSError: The other side is gone, or the socket's timeout passed.
    """
    head = json.dumps({**header, "blobs": [len(b) for b in blobs]}).encode()
    sock.sendall(b"".join((len(head).to_bytes(4, "big"), head, *blobs)))


def receive_frame(sock: socket.socket) -> tuple[dict[str, Any], list[bytes]]:
    """Receive one frame. The two sides take turns: nothing may follow a frame before it is answered.

    Raises:
        EOFError: The other side closed.
        OSError: The socket failed, or its timeout passed.
        ValueError: Not a frame, or more than one.
    """
    raw = at_least(4, sock.recv, b"")
    start = 4 + int.from_bytes(raw[:4], "big")
    if start > HEADER_MAX:
        raise ValueError(f"frame header of {start} bytes")
    raw = at_least(start, sock.recv, raw)
    header = read_json(raw[4:start])
    blobs = []
    for size in header.pop("blobs"):
        raw = at_least(start + size, sock.recv, raw)
        blobs.append(raw[start : start + size])
        start += size
    if len(raw) > start:
        raise ValueError(f"{len(raw) - start} bytes after a frame")
    return header, blobs


def read_json(encoded: bytes) -> Any:
    """A value from what `json.dumps` wrote; json.loads would look for other encodings and for white space first.

    That touches, and so copies, twenty more pages in each forked child.

    Raises:
        ValueError: Not JSON.
    """
    try:
        return _scan(encoded.decode(), 0)[0]
    except StopIteration:
        raise ValueError("not JSON") from None


def at_least(size: int, read: Callable[[int], bytes], raw: bytes) -> bytes:
    """What was received already, and more until it is `size` bytes: most frames come at the first asking.

    Raises:
        EOFError: The other side closed before.
    """
    if len(raw) >= size:
        return raw
    parts = bytearray(raw)
    while len(parts) < size:
        part = read(CHUNK)
        if not part:
            raise EOFError("closed")
        parts += part
    return bytes(parts)
