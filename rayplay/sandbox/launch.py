"""Level + modules -> the command, environment and files that start a zygote."""

import os
import platform
import shutil
import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import rayplay
from rayplay.errors import SandboxError
from rayplay.sandbox.levels import Level

SCRATCH_INSIDE = "/scratch"  # at L3: a tmpfs of its own
UID_FIRST, UID_COUNT = 61184, 4000  # the range that systemd sets aside for users that exist only while a service runs
CODE_MOUNTS_MAX = 200
MACHINES = ("x86_64", "aarch64")
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TZ": "UTC",
}
# setuid and friends to become nobody, kill to end what has become so, the rest to hand over and sweep the scratch
ROOT_CAPABILITIES = (
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_KILL",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
)


@dataclass(frozen=True)
class Launch:
    """How to start one zygote, and the folder on this side that goes with it."""

    command: tuple[str, ...]
    environment: dict[str, str]
    folder: str  # made for this zygote, removed with it
    scratch: str  # as the zygote sees it
    uid: int


def prepare(level: Level, search_paths: tuple[str, ...], scratch_bytes: int, slot: int) -> Launch:
    """Make the folder of a zygote and say how to start it; `slot` gives concurrent zygotes different uids.

    Raises:
        SandboxError: The level needs a program that is not installed.
    """
    folder = tempfile.mkdtemp(prefix="rayplay-sandbox-")
    os.chmod(folder, 0o711)  # children of another uid reach their scratch by its name
    python = (sys.executable, "-I", "-B", "-m", "rayplay.sandbox.zygote")
    uid = UID_FIRST + slot % UID_COUNT
    if level is not Level.L3:
        scratch = str(Path(folder) / "scratch")
        os.mkdir(scratch)
        return Launch(python, {**ENVIRONMENT, "HOME": scratch, "TMPDIR": scratch}, folder, scratch, uid)
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxError("bubblewrap is not installed (no bwrap on PATH); install it, or require L2")
    environment = {**ENVIRONMENT, "HOME": SCRATCH_INSIDE, "TMPDIR": SCRATCH_INSIDE}
    command = (bwrap, *namespaces(), *mounts(search_paths, scratch_bytes), "--", *python)
    return Launch(command, environment, folder, SCRATCH_INSIDE, uid)


def namespaces() -> tuple[str, ...]:
    """Options of bubblewrap that take everything away that has a namespace."""
    flags = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    if os.geteuid() == 0:  # real root needs no user namespace, and can hand out a real uid without one
        flags += [part for name in ROOT_CAPABILITIES for part in ("--cap-add", name)]
    else:
        flags += ["--unshare-user", "--disable-userns"]
    return (*flags, "--die-with-parent", "--new-session")


def mounts(search_paths: tuple[str, ...], scratch_bytes: int) -> tuple[str, ...]:
    """A minimal root: the interpreter, its libraries, the tools' code; a scratch of bounded size."""
    parts: list[str] = []
    for link in ("/lib", "/lib64", "/lib32", "/bin"):
        if Path(link).is_symlink():
            parts += ["--symlink", os.readlink(link), link]
    bound: list[Path] = []
    for path in sorted({*read_paths(), *code_paths(search_paths)}):
        ancestors = [a for a in reversed(Path(path).parents) if a != Path("/")]
        if not any(b in bound for b in (*ancestors, Path(path))):
            for ancestor in ancestors:  # bubblewrap would make them for the zygote's eyes only
                parts += ["--perms", "0755", "--dir", str(ancestor)]
            parts += ["--ro-bind-try", path, path]
            bound.append(Path(path))
    parts += ["--proc", "/proc", "--dev", "/dev"]
    return (*parts, "--size", str(scratch_bytes), "--tmpfs", SCRATCH_INSIDE, "--chdir", SCRATCH_INSIDE)


@cache
def read_paths() -> tuple[str, ...]:
    """What any Python program may read: interpreter, standard library, installed packages, shared libraries, time zones."""
    paths = {sys.base_prefix, sys.prefix, sysconfig.get_path("stdlib"), *site.getsitepackages()}
    paths |= {"/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/etc/ld.so.cache"}
    paths |= {"/usr/share/zoneinfo", "/etc/localtime", "/dev/urandom", "/dev/random", "/dev/zero"}
    if sys.base_prefix in ("/usr", "/usr/local"):  # the system's own Python: its prefix is more than Python
        paths -= {sys.base_prefix}
        paths |= {str(Path(sys.executable).resolve())}
    return tuple(sorted(p for p in paths if Path(p).exists() and not Path(p).is_symlink()))


def code_paths(search_paths: tuple[str, ...]) -> Iterator[str]:
    """rayplay itself, and the Python code directly under the search paths; not the data, runs or secrets beside it."""
    yield str(Path(rayplay.__file__).parent)
    for folder in search_paths:
        found = (p for p in sorted(Path(folder).iterdir()) if not p.name.startswith("."))
        code = (p for p in found if p.suffix == ".py" or (p.is_dir() and any(p.glob("*.py"))))
        for _, path in zip(range(CODE_MOUNTS_MAX), code, strict=False):
            yield str(path.resolve())


def supported_machine() -> bool:
    """Whether the system call numbers of this machine are known here."""
    return sys.platform == "linux" and platform.machine() in MACHINES
