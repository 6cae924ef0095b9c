"""Owner <-> zygote: orders and reports of fixed size. No argument, output or state of a call passes through here.

What a call is given and what it writes goes past the zygote, through the pipes that an order brings along: so
nothing of a call ever lies in the process that the next one is forked from. Standard library only: zygotes use it.
"""

import array
import ctypes
import socket
import struct
from typing import NamedTuple

RUN, END = 1, 2  # orders: fork a child for a call; end the one that runs
_ORDER = struct.Struct("=IId")
ORDER_BYTES = _ORDER.size
DESCRIPTORS_BYTES = socket.CMSG_SPACE(3 * array.array("i").itemsize)
ENDINGS = ("", "deadline", "threads", "disk", "order")  # why a zygote ended a call; "": it ended by itself
NOT_STARTED = 120  # exit code of a child that could not get so far as to run the tool
CLEAN, SWEEPING, SPOILT = 0, 1, 2  # the scratch: ready; being emptied, another report follows; not to be emptied


class Order(NamedTuple):
    """What a zygote is to do.

    Attributes:
        what: RUN or END.
        number: Of the call, so that an order to end one that has ended meanwhile hits no other.
        deadline_s: After which the zygote ends the call by itself.
    """

    what: int
    number: int
    deadline_s: float = 0.0

    def encode(self) -> bytes:
        """The bytes of this order."""
        return _ORDER.pack(*self)


def decode_order(raw: bytes) -> Order:
    """The order that some bytes are."""
    return Order(*_ORDER.unpack(raw))


class Report(ctypes.Structure):
    """How a call ended. The kernel writes `status` and `usage` into it; the zygote sends it unread and wipes it."""

    _fields_ = [
        ("number", ctypes.c_uint32),
        ("ending", ctypes.c_uint32),  # an index of ENDINGS
        ("scratch", ctypes.c_uint32),  # CLEAN, SWEEPING or SPOILT
        ("status", ctypes.c_int32),  # of wait4(2)
        ("usage", ctypes.c_long * 18),  # struct rusage: user and system time as (seconds, microseconds), then counts
    ]

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time that the child used."""
        user_s, user_us, system_s, system_us = self.usage[:4]
        return user_s + system_s + (user_us + system_us) / 1e6


REPORT_BYTES = ctypes.sizeof(Report)


def receive_report(sock: socket.socket) -> Report:
    """The next report.

    Raises:
        EOFError: The zygote has gone.
        OSError: The socket failed, or there is none.
    """
    raw = sock.recv(REPORT_BYTES, socket.MSG_WAITALL)
    if len(raw) < REPORT_BYTES:
        raise EOFError("closed")
    return Report.from_buffer_copy(raw)
