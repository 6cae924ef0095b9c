"""(header, blobs) <-> frames on a socket. Headers are JSON; blobs are bytes that nobody parses on the way."""

import json
import socket
from typing import Any

_scan = json.JSONDecoder().scan_once
HEADER_MAX = 64 * 1024 * 1024


def send_frame(sock: socket.socket, header: dict[str, Any], *blobs: bytes) -> None:
    """Send one frame.

    Raises:
        OSError: The other side is gone, or the socket's timeout passed.
    """
    head = json.dumps({**header, "blobs": [len(b) for b in blobs]}).encode()
    sock.sendall(b"".join((len(head).to_bytes(4, "big"), head, *blobs)))


def receive_frame(sock: socket.socket) -> tuple[dict[str, Any], list[bytes]]:
    """Receive one frame.

    Raises:
        EOFError: The other side closed.
        OSError: The socket failed, or its timeout passed.
        ValueError: Not a frame.
    """
    size = int.from_bytes(_exactly(sock, 4), "big")
    if size > HEADER_MAX:
        raise ValueError(f"frame header of {size} bytes")
    header = read_json(_exactly(sock, size))
    return header, [_exactly(sock, n) for n in header.pop("blobs")]


def read_json(encoded: bytes) -> Any:
    """A value from what `json.dumps` wrote; json.loads would look for other encodings and for white space first.

    That touches, and so copies, twenty more pages in each forked child and its zygote.

    Raises:
        ValueError: Not JSON.
    """
    try:
        return _scan(encoded.decode(), 0)[0]
    except StopIteration:
        raise ValueError("not JSON") from None


def _exactly(sock: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = sock.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError("closed")
        parts += part
    return bytes(parts)
