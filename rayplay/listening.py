"""/proc -> what this machine's processes listen on: for checks of what stands open. Linux only; elsewhere nothing."""

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

LISTEN = "0A"  # of /proc/net/tcp's states
MOST_PROCESSES = 10_000


class Listening(NamedTuple):
    """One TCP socket that accepts connections."""

    address: str
    port: int
    pid: int
    command: str

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        found = ipaddress.ip_address(self.address)
        mapped = getattr(found, "ipv4_mapped", None)
        return (mapped or found).is_loopback


def listening_of(pid: int) -> list[Listening]:
    """What a process and all that descend from it listen on."""
    return _listening(_family(pid))


def listening_of_all() -> list[Listening]:
    """What all processes listen on whose files this account may see."""
    return _listening(int(p.name) for p in Path("/proc").glob("[0-9]*"))


def environment_of(pid: int) -> dict[str, str]:
    """A process's environment as it was started; {} where it is gone or another account's."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.partition("=")[::2] for entry in raw.split("\0") if "=" in entry)


def _listening(pids: Iterable[int]) -> list[Listening]:
    sockets = _sockets()
    found = set()
    for pid in pids:
        for inode in _socket_inodes(pid) & sockets.keys():
            found.add(Listening(*sockets[inode], pid, _command(pid)))
    return sorted(found, key=lambda entry: (entry.port, entry.pid))


def _sockets() -> dict[int, tuple[str, int]]:
    """inode -> (address, port) of listening sockets."""
    found = {}
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTEN:
                address, port = fields[1].split(":")
                found[int(fields[9])] = (_address(address), int(port, 16))
    return found


def _address(text: str) -> str:
    """The kernel writes addresses as words of the machine's byte order."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _socket_inodes(pid: int) -> set[int]:
    found = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            match = re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))
            found |= {int(match[1])} if match else set()
    except OSError:  # gone, or of another account
        return found
    return found


def _family(pid: int) -> set[int]:
    found, waiting = set(), [pid]
    while waiting and len(found) < MOST_PROCESSES:
        parent = waiting.pop()
        found.add(parent)
        try:
            for thread in Path(f"/proc/{parent}/task").iterdir():
                waiting += [int(child) for child in (thread / "children").read_text(encoding="ascii").split()]
        except OSError:
            continue
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:120]
    except OSError:
        return ""
