"""(header, blobs) <-> frames on a socket. Headers are JSON; blobs are bytes that nobody parses on the way."""

import json
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

_scan = json.JSONDecoder().scan_once
HEADER_MAX = 64 * 1024 * 1024
CHUNK = 1 << 16


def frame_of(header: dict[str, Any], *blobs: bytes) -> bytes:
    """The bytes of one frame."""
    head = json.dumps({**header, "blobs": [len(b) for b in blobs]}).encode()
    return b"".join((len(head).to_bytes(4, "big"), head, *blobs))


def send_frame(sock: socket.socket, header: dict[str, Any], *blobs: bytes) -> None:
    """Send one frame.

    Raises:
        OSError: The other side is gone, or the socket's timeout passed.
    """
    sock.sendall(frame_of(header, *blobs))


def receive_frame(sock: socket.socket) -> tuple[dict[str, Any], list[bytes]]:
    """Receive one frame. The two sides take turns: nothing may follow a frame before it is answered.

    Raises:
        EOFError: The other side closed.
        OSError: The socket failed, or its timeout passed.
        ValueError: Not a frame, or more than one.
    """
    return _frame_from(sock.recv)


def read_frame(fd: int) -> tuple[dict[str, Any], list[bytes]]:
    """The same from a descriptor."""
    return _frame_from(partial(os.read, fd))


def _frame_from(read: Callable[[int], bytes]) -> tuple[dict[str, Any], list[bytes]]:
    raw = _at_least(4, read, b"")
    start = 4 + int.from_bytes(raw[:4], "big")
    if start > HEADER_MAX:
        raise ValueError(f"frame header of {start} bytes")
    raw = _at_least(start, read, raw)
    header = read_json(raw[4:start])
    blobs = []
    for size in header.pop("blobs"):
        raw = _at_least(start + size, read, raw)
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


def _at_least(size: int, read: Callable[[int], bytes], raw: bytes) -> bytes:
    """What was received already, and more until it is `size` bytes: most frames come at the first asking."""
    if len(raw) >= size:
        return raw
    parts = bytearray(raw)
    while len(parts) < size:
        part = read(CHUNK)
        if not part:
            raise EOFError("closed")
        parts += part
    return bytes(parts)
