"""The hostile programs, read from `programs/<family>.py.txt`, and the ground that they are tried on.

A program that gets through says ESCAPED, shows a planted secret, reaches a planted listener or changes a planted file.
"""

import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from secrets import token_hex
from types import TracebackType

import rayplay
from rayplay.sandbox.folders import room_for_sockets

SPECIAL_TOKENS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<tool_call>")  # must not reach a prompt whole
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
ENVIRONMENT_SECRET = "RAYPLAY_TRIAL_TOKEN"
_HEADING = re.compile(r"^### (\w+)(?: \[(L\d)\])?\n", re.MULTILINE)
_LARGE = {
    "@NULL@": "\0",
    "@DEEP@": "(" * 5000 + ")" * 5000,
    "@UNARY@": "-" * 50_000 + "1",
    "@LINES@": "x = 1\n" * 20_000,
    "@NAME@": "a" * 150_000,
    "@DIGITS@": "9" * 100_000,
}


@dataclass(frozen=True)
class Program:
    """One hostile program; `steps` run one after the other, each as a call of its own."""

    family: str
    name: str
    steps: tuple[str, ...]
    held_from: str = "L1"  # the lowest level that promises to hold it


@cache
def programs() -> tuple[Program, ...]:
    """All programs, in the order of their families."""
    return tuple(p for file in sorted(_folder_names()) for p in _parse(file))


def _folder_names() -> list[str]:
    return [
        entry.name for entry in files("rayplay.sandbox").joinpath("programs").iterdir() if entry.name.endswith(".txt")
    ]


def _parse(file: str) -> Iterator[Program]:
    text = files("rayplay.sandbox").joinpath("programs", file).read_text(encoding="utf-8")
    parts = _HEADING.split(text)[1:]
    for name, level, code in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        steps = tuple(step.strip("\n") + "\n" for step in code.split("---\n"))
        yield Program(file.partition(".")[0], name, steps, level or "L1")


class Ground:
    """What a program may try to reach: secret, victim, open folder, listeners. Entering plants, leaving removes."""

    def __enter__(self) -> "Ground":
        self.stack = ExitStack()
        self.secret = f"trial-{token_hex(8)}"
        made = tempfile.TemporaryDirectory(prefix="rayplay-ground-", dir=room_for_sockets())
        folder = Path(self.stack.enter_context(made))
        self.secret_file, self.victim, self.outside = folder / "secret", folder / "victim", folder / "outside"
        self.outside.mkdir()
        self.secret_file.write_text(self.secret)
        self.victim.write_text("victim")
        for path, mode in ((folder, 0o777), (self.secret_file, 0o644), (self.victim, 0o666), (self.outside, 0o777)):
            path.chmod(mode)
        self.abstract = f"rayplay-trial-{token_hex(4)}"
        self.socket_path = folder / "socket"
        self.listeners = [
            self.stack.enter_context(socket.create_server(("127.0.0.1", 0))),
            self._listen(f"\0{self.abstract}", socket.SOCK_STREAM),
            self._listen(str(self.socket_path), socket.SOCK_STREAM),
        ]
        self.datagrams = self._listen(f"\0{self.abstract}-dgram", socket.SOCK_DGRAM)
        self.socket_path.chmod(0o777)
        for listener in (*self.listeners, self.datagrams):
            listener.setblocking(False)
        self.environment_before = os.environ.get(ENVIRONMENT_SECRET)
        os.environ[ENVIRONMENT_SECRET] = self.secret
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del os.environ[ENVIRONMENT_SECRET]
        self.stack.close()

    def _listen(self, address: str, kind: int) -> socket.socket:
        listener = self.stack.enter_context(socket.socket(socket.AF_UNIX, kind))
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen(4)
        return listener

    def fill_in(self, code: str) -> str:
        """A step with the places of the planted things in it."""
        values = {
            "@SECRET@": str(self.secret_file),
            "@OUTSIDE@": str(self.outside),
            "@VICTIM@": str(self.victim),
            "@TREE@": str(Path(rayplay.__file__).parent.parent),
            "@CALLER@": str(os.getpid()),
            "@PORT@": str(self.listeners[0].getsockname()[1]),
            "@SOCKET@": str(self.socket_path),
            "@ABSTRACT@": self.abstract,
            **_LARGE,
        }
        return re.sub(r"@[A-Z]+@", lambda m: values.get(m[0], m[0]), code)

    def breach(self, text: str) -> str:
        """What a program reached, by its output and by what was planted; "" = nothing. Puts things right again."""
        found = [word for word in ("ESCAPED", self.secret, *SPECIAL_TOKENS) if word in text]
        found += ["drove the terminal"] if _CONTROL.search(text) else []
        found += [f"reached {name}" for name in self._visitors()]
        for path in self.outside.iterdir():
            found.append(f"wrote {path.name}")
            path.unlink()
        if self.outside.stat().st_mode & 0o777 != 0o777:
            found.append("changed the mode of a folder outside")
            self.outside.chmod(0o777)
        if not self._victim_is_well():
            found.append("harmed the victim")
            self.victim.unlink(missing_ok=True)
            self.victim.write_text("victim")
            self.victim.chmod(0o666)
        return ", ".join(found)

    def _victim_is_well(self) -> bool:
        try:
            return self.victim.read_text() == "victim" and self.victim.stat().st_mode & 0o777 == 0o666
        except OSError:
            return False

    def _visitors(self) -> Iterator[str]:
        for listener in self.listeners:
            try:
                listener.accept()[0].close()
            except BlockingIOError:
                continue
            yield str(listener.getsockname())
        try:
            self.datagrams.recv(64)
        except BlockingIOError:
            return
        yield "the datagram socket"
