"""Warm zygotes, by kind: taken for a call, given back after it, started where more are worth it, replaced when worn.

Each module of tools has zygotes of its own, started at its first call: a fork costs what its process has loaded, so
that one heavy module would slow the calls of all others down. A start costs as much as a hundred calls: so another
zygote of a kind is started, in the background, only once calls have waited for one as long as a start takes.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from rayplay.errors import SandboxError, ToolboxError
from rayplay.sandbox.warm import Zygote, ZygoteGoneError, no_resources

RENEW_AT = 0.9  # of the calls that a zygote serves: when a successor is started, so that nobody waits for it
START_WORTH_S = 0.25  # of waiting, by all calls of a kind together
LOOK_S = 0.02  # how often a waiting call sees whether it has waited long enough

Kind = tuple[str, frozenset[str]]  # of zygotes: the module whose tools they run, and the needs that these may have


@dataclass
class Kin:
    """The zygotes of one kind: the free ones, how many are at work or being started; how long calls waited, and who."""

    free: list[Zygote] = field(default_factory=list)
    busy: int = 0
    starting: int = 0
    waited_s: float = 0.0
    queue: deque[object] = field(default_factory=deque)


class Stock:
    """All zygotes of a sandbox. Thread-safe.

    Args:
        start: Starts a zygote of a kind; may raise OSError, SandboxError, ToolboxError.
        size: Most zygotes of a kind.
        recycle_after: Calls after which a zygote is replaced.
    """

    def __init__(self, start: Callable[[Kind], Zygote], size: int, recycle_after: int) -> None:
        self._start, self._size, self._recycle_after = start, size, recycle_after
        self._kin: dict[Kind, Kin] = {}
        self._changed = threading.Condition()
        self._background = ThreadPoolExecutor(max_workers=size, thread_name_prefix="sandbox-start")
        self._closed = False

    def idle(self) -> list[Zygote]:
        """Those that wait for a call."""
        with self._changed:
            return [zygote for kin in self._kin.values() for zygote in kin.free]

    def take(self, kind: Kind) -> Zygote:
        """A zygote for a call, which must be given back: one that is ready, else one that is still tidying up.

        Waits no longer than the calls of its kind last, which all have deadlines.

        Raises:
            ZygoteGoneError: The stock is closed.
            SandboxError, ToolboxError: There is none, and none can be started.
        """
        while zygote := self._free_one(kind):
            if zygote.settle():
                return zygote
            zygote.close()
            self._count(kind, busy=-1)
        try:
            zygote = self._make(kind)
        except BaseException:
            self._count(kind, starting=-1)
            raise
        self._count(kind, starting=-1, busy=1)
        return zygote

    def give_back(self, zygote: Zygote, kind: Kind, worn: bool) -> None:
        """Keep a zygote for the next call, whatever became of the last one; replace it where it is worn out.

        That is every so many calls, and where it is gone or its children cannot start.
        """
        worn = worn or zygote.calls >= self._recycle_after
        renew = worn or zygote.calls >= RENEW_AT * self._recycle_after
        with self._changed:
            kin = self._kin[kind]
            kin.busy -= 1
            keep = not worn and not self._closed
            if keep:
                kin.free.append(zygote)
            if renew and not self._closed and not zygote.renewed:
                zygote.renewed = True
                self._order(kind, kin)
            self._changed.notify_all()
        if not keep:
            zygote.close()

    def close(self) -> None:
        """End all zygotes; calls that are running lose theirs when they give it back."""
        with self._changed:
            self._closed = True
            free = [zygote for kin in self._kin.values() for zygote in kin.free]
            for kin in self._kin.values():
                kin.free.clear()
            self._changed.notify_all()
        for zygote in free:
            zygote.close()
        self._background.shutdown(wait=False, cancel_futures=True)

    def _free_one(self, kind: Kind) -> Zygote | None:
        """A free zygote, counted as busy; None, counted as starting: the caller must start the first one."""
        with self._changed:
            kin = self._kin.setdefault(kind, Kin())
            if kin.free and not kin.queue and not self._closed:  # as most calls find it: nobody to wait for or to wake
                return self._pop(kin)
            turn = object()  # first come, first served: the lock alone would favour whoever runs already
            kin.queue.append(turn)
            try:
                while not self._closed:
                    if kin.queue[0] is turn:
                        if kin.free:
                            return self._pop(kin)
                        if not kin.busy and not kin.starting:
                            kin.starting += 1
                            return None
                    self._wait(kind, kin)
            finally:
                kin.queue.remove(turn)
                self._changed.notify_all()
            raise ZygoteGoneError("the sandbox is closed")

    def _pop(self, kin: Kin) -> Zygote:
        """The free zygote that was used last of those that are ready, else the first; holds the lock."""
        kin.busy += 1
        for n in reversed(range(len(kin.free))):
            if kin.free[n].is_ready():
                return kin.free.pop(n)
        return kin.free.pop(0)

    def _wait(self, kind: Kind, kin: Kin) -> None:
        """Wait for a change; once calls have waited long enough, have another zygote started."""
        before = time.monotonic()
        self._changed.wait(LOOK_S)
        kin.waited_s += time.monotonic() - before
        if kin.waited_s > START_WORTH_S and kin.busy + kin.starting + len(kin.free) < self._size and not self._closed:
            self._order(kind, kin)

    def _order(self, kind: Kind, kin: Kin) -> None:
        """Have another zygote started; holds the lock."""
        kin.waited_s = 0.0
        kin.starting += 1
        self._background.submit(self._add, kind)

    def _add(self, kind: Kind) -> None:
        """Start a zygote and put it where it is used last."""
        zygote = None
        with suppress(SandboxError, ToolboxError):  # a call that finds no other zygote is told
            zygote = self._make(kind)
        with self._changed:
            kin = self._kin.setdefault(kind, Kin())
            kin.starting -= 1
            keep = zygote is not None and not self._closed and len(kin.free) + kin.busy < self._size + 1
            if zygote is not None and keep:
                kin.free.insert(0, zygote)
            self._changed.notify_all()
        if zygote is not None and not keep:
            zygote.close()

    def _make(self, kind: Kind) -> Zygote:
        """A new zygote; where files or processes are short, those that nobody is calling make room."""
        with suppress(OSError):
            return self._start(kind)
        with self._changed:
            idle = [zygote for kin in self._kin.values() for zygote in kin.free]
            for kin in self._kin.values():
                kin.free.clear()
        for zygote in idle:
            zygote.close()
        try:
            return self._start(kind)
        except OSError as error:
            raise no_resources(error) from error

    def _count(self, kind: Kind, busy: int = 0, starting: int = 0) -> None:
        with self._changed:
            kin = self._kin[kind]
            kin.busy += busy
            kin.starting += starting
            self._changed.notify_all()
