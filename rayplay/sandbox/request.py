"""A request <-> its bytes on the way from the owner to a child.

In numbers and lengths, not JSON: to read that would touch, and so copy, fifty more pages of a freshly forked child.
Standard library only: zygotes use it.
"""

import os
import struct
from collections.abc import Sequence
from functools import partial
from typing import Any

from rayplay.sandbox.wire import CHUNK, at_least

_HEAD = struct.Struct("=QQQI")  # bytes in all, MiB, seconds, calls
_LENGTH = struct.Struct("=I")


def encode_request(request: dict[str, Any], blobs: Sequence[bytes]) -> bytes:
    """The bytes of a request: its head, then each name and each blob behind its length."""
    parts = []
    for part in (*[name.encode() for name in request["tools"]], *blobs):
        parts += _LENGTH.pack(len(part)), part
    body = b"".join(parts)
    head = _HEAD.pack(_HEAD.size + len(body), request["memory_mb"], request["cpu_s"], len(request["tools"]))
    return head + body


def read_request(fd: int) -> tuple[int, int, list[str], list[bytes]]:
    """Read one request from a descriptor.

    Returns:
        MiB that the child may map on top of what its zygote maps already; seconds of processor time; the names of the
        tools, one for each call; the arguments of each call, then the state of a single one.

    Raises:
        EOFError: The other side closed.
    """
    raw = os.read(fd, CHUNK)
    if len(raw) < _HEAD.size:
        raw = at_least(_HEAD.size, partial(os.read, fd), raw)
    size, memory_mb, cpu_s, calls = _HEAD.unpack_from(raw)
    if len(raw) < size:
        raw = at_least(size, partial(os.read, fd), raw)
    parts, at = [], _HEAD.size
    while at < size:
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        parts.append(raw[at : at + length])
        at += length
    return memory_mb, cpu_s, [name.decode() for name in parts[:calls]], parts[calls:]
