"""One request -> what the child printed and wrote: the owner's side of a call, past the zygote.

The owner makes three pipes for each call (request, printed, written) and hands their other ends to the child by way of
the zygote, which closes them unread. Output is read within bounds; a child that goes over one is ended.
"""

import os
import select
import socket
import time
from typing import NamedTuple

from rayplay.sandbox.control import END, ENDINGS, RUN, Order, Report, receive_report

CHUNK = 1 << 16
READ_END, WRITE_END = 0, 1  # of a pipe
FIRST_LOOK_S = 0.01  # how long a call may write before anyone reads: most end sooner, and to be woken costs
GRACE_S = 2.0  # by how much the owner outwaits the zygote's own deadline


class Bounds(NamedTuple):
    """Of a request: seconds without a word from the child, seconds in all, bytes that it may print and write.

    The zygote keeps the time in all; the owner what it alone can see.
    """

    silence_s: float
    in_all_s: float
    printed: int
    written: int


class Exchange:
    """The owner's ends of one call's channels. A context: leaving it closes them."""

    def __init__(self, control: socket.socket, number: int, request: bytes, bounds: Bounds) -> None:
        self.control, self.number, self.bounds = control, number, bounds
        self.why = ""  # the owner ended the call
        self.unsent = memoryview(request)
        self.ours: list[int] = []
        self.theirs: list[int] = []
        try:
            for mine in (WRITE_END, READ_END, READ_END):  # pipes: a pair of sockets costs four times as much
                ends = os.pipe2(os.O_CLOEXEC)
                self.ours.append(ends[mine])
                self.theirs.append(ends[1 - mine])
                os.set_blocking(ends[mine], False)
        except OSError:
            self._close()
            raise
        self.request, printed, written = self.ours
        self.heads = {printed: bytearray(), written: bytearray()}
        self.most = {printed: bounds.printed, written: bounds.written}

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        self._hand_over()
        for fd in self.ours:
            os.close(fd)

    def _hand_over(self) -> None:
        """Close the child's ends, which it has by now or never gets."""
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []

    def run(self) -> tuple[Report, str, bytes, bytes]:
        """Have the call run -> (report, why it was ended or "", printed, written).

        Raises:
            EOFError: The zygote has gone.
            OSError: It does not answer (TimeoutError), or its socket failed.
        """
        self._write()
        order = Order(RUN, self.number, self.bounds.in_all_s)
        socket.send_fds(self.control, [order.encode()], self.theirs)
        self._hand_over()
        report = self._ends_soon() or self._watch()
        for fd, head in self.heads.items():
            while self._read(fd):
                pass
            if len(head) > self.most[fd] and not self.why:
                self.why = "output"
        printed, written = map(bytes, self.heads.values())
        return report, self.why or ENDINGS[report.ending], printed, written

    def _ends_soon(self) -> Report | None:
        """The report of a child that ends within the first look, as most do: one waking."""
        if self.unsent:
            return None
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        return receive_report(self.control) if poll.poll(FIRST_LOOK_S * 1000) else None

    def _watch(self) -> Report:
        """Read what the child writes until its report is there."""
        now = time.monotonic()
        give_up, silent_at = now + self.bounds.in_all_s + GRACE_S, now + self.bounds.silence_s
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        for fd in self.heads:
            poll.register(fd, select.POLLIN)
        if self.unsent:
            poll.register(self.request, select.POLLOUT)
        while (now := time.monotonic()) < give_up:
            if now >= silent_at and not self.why:
                give_up = self._end("deadline")
            wake_at = give_up if self.why else min(give_up, silent_at)
            events = dict(poll.poll((wake_at - now) * 1000 + 1))
            if self.request in events and not self._write():
                poll.unregister(self.request)
            for fd in self.heads.keys() & events.keys():
                if self._read(fd):
                    silent_at = time.monotonic() + self.bounds.silence_s
                else:
                    poll.unregister(fd)
                if len(self.heads[fd]) > self.most[fd] and not self.why:
                    give_up = self._end("output")
            if self.control.fileno() in events:
                return receive_report(self.control)
        raise TimeoutError("no answer in time")

    def _end(self, why: str) -> float:
        """Have the zygote end the call; returns until when it has time to say so."""
        self.why = why
        self.control.sendall(Order(END, self.number).encode())
        return time.monotonic() + GRACE_S

    def _write(self) -> bool:
        """Send as much of the request as fits; whether some is left."""
        try:
            while self.unsent:
                self.unsent = self.unsent[os.write(self.request, self.unsent) :]
        except BlockingIOError:
            pass
        except OSError:  # the child has ended; its report says how
            self.unsent = memoryview(b"")
        return bool(self.unsent)

    def _read(self, fd: int) -> bool:
        """Take what is there, at most one byte over the bound; False where there is nothing, at the end or for now."""
        try:
            part = os.read(fd, min(self.most[fd] + 1 - len(self.heads[fd]), CHUNK))
        except OSError:  # nothing there
            return False
        self.heads[fd] += part
        return bool(part)
