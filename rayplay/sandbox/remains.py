"""What one call leaves for the next to read: canaries that mark all that a call has, and one that looks for the marks.

The mark is in a call's arguments, printed text, result, error, state, names and freed memory. The next call of the same
zygote then looks for it in all the memory that its process has: frames, objects and freed pieces alike, since each is
bytes somewhere. It is given the mark backwards, so that it does not find its own argument.
"""

import ctypes
import gc
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from rayplay.toolbox import ToolError, tool

WINDOW = 1 << 20  # Python's allocator takes memory in pieces of this size
STACK_BYTES = 8 * 1024 * 1024
PAGE = os.sysconf("SC_PAGE_SIZE")
OVERLAP = 64  # of a page with the next: a mark may lie across
IS_WRITABLE = re.compile(rb" rw")
_libc = ctypes.CDLL(None)
_write, _read = _libc.write, _libc.read
_write.argtypes = _read.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_write.restype = _read.restype = ctypes.c_ssize_t
_libc.sbrk.argtypes, _libc.sbrk.restype = (ctypes.c_ssize_t,), ctypes.c_size_t
# made before any call: what the search allocates it takes from what was freed, and so from what it is looking for
_page, _maps = ctypes.create_string_buffer(OVERLAP + PAGE), bytearray(1 << 18)
_page_address = ctypes.addressof(_page)


@tool
def leave(mark: str, how: str) -> str:
    """Have the mark in everything that a call has, and end by returning, by an error, or by dying."""
    sys.remains = [mark, mark.encode() * 50, {mark: mark}]
    os.environ["REMAINS"] = mark
    print(mark, flush=True)
    print(mark, file=sys.stderr, flush=True)
    Path(mark, mark).mkdir(parents=True)  # names of files are text of a call too
    Path(mark, "link").symlink_to(mark)
    Path(f"{mark}.txt").write_text(mark)
    if how == "tool error":
        raise ToolError(mark)
    if how == "error":
        raise ValueError(mark)
    if how == "exit":
        os._exit(7)
    return mark * 20


class Keeper:
    """A toolset whose state holds the mark."""

    def __init__(self, state: dict | None = None) -> None:
        self.state = state or {}

    @tool
    def keep(self, mark: str) -> str:
        """Put the mark into the state."""
        self.state[mark] = mark
        return mark


@tool
def look(backwards: str) -> str:
    """Look for a mark, given backwards, in this process's memory and folder; "" where it is nowhere."""
    # letter by letter: to have it in one piece, or to turn pages around, would put the mark into this very memory
    wanted, seen, places = re.compile(b"".join(b"[%c]" % letter for letter in reversed(backwards.encode()))), 0, []
    for address in pages():
        seen += 1
        if wanted.search(_page):
            places.append(f"memory at {address:#x}")
            break  # one is enough, and its page is in this process's buffers now
    if not seen:
        raise ToolError("no memory could be read")
    places += os.listdir(".")  # last: whatever is called before the search takes freed memory, and writes over it
    return f"got {', '.join(places)}" if places else ""


def pages() -> Iterator[int]:
    """Addresses of all pages of memory that can be found; each is in `_page`, after the end of the one before it."""
    read_end, write_end = os.pipe()
    try:
        for first, last in regions():
            ctypes.memset(_page_address, 0, OVERLAP)
            for address in range(first, last, PAGE):
                # the kernel copies what can be read, and refuses the rest: no wrong address ends this process
                if _write(write_end, address, PAGE) == PAGE:
                    _read(read_end, _page_address + OVERLAP, PAGE)
                    yield address
                    ctypes.memmove(_page_address, _page_address + PAGE, OVERLAP)
                else:
                    ctypes.memset(_page_address, 0, OVERLAP)
    finally:
        os.close(read_end)
        os.close(write_end)


def regions() -> Iterator[tuple[int, int]]:
    """What to read: the kernel's list of writable memory where it is shown, else heap, stack and all objects' homes."""
    try:
        maps = os.open("/proc/self/maps", os.O_RDONLY)
    except OSError:
        heap_end = _libc.sbrk(0)
        yield heap_end - heap_end % PAGE - 64 * WINDOW, heap_end
        stack = ctypes.c_void_p.in_dll(_libc, "environ").value or ctypes.addressof(ctypes.c_int())
        yield stack - stack % PAGE - STACK_BYTES, stack - stack % PAGE + PAGE
        for window in {address // WINDOW for address in addresses()}:
            yield window * WINDOW, (window + 1) * WINDOW
        return
    length = 0
    while got := os.readv(maps, [memoryview(_maps)[length:]]):
        length += got
    os.close(maps)
    yield from map(extent, filter(IS_WRITABLE.search, _maps[:length].splitlines()))


def extent(line: bytes) -> tuple[int, int]:
    """First and last address of a line of /proc/PID/maps."""
    first, _, last = line.split()[0].partition(b"-")
    return int(first, 16), int(last, 16)


def addresses() -> Iterator[int]:
    """Where the objects of this process are."""
    gc.unfreeze()
    for thing in gc.get_objects():
        yield id(thing)
        for part in gc.get_referents(thing):
            yield id(part)
