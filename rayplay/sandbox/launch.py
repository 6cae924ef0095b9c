"""Setup of a sandbox -> the command, environment and folder that start one zygote."""

import os
import platform
import shutil
import site
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from os import geteuid
from pathlib import Path

import rayplay
from rayplay.errors import SandboxError
from rayplay.sandbox.confine import ROOT_CAPABILITIES
from rayplay.sandbox.folders import make_folder
from rayplay.sandbox.gvisor import gvisor_command, runsc_path, write_bundle
from rayplay.sandbox.lease import FIRST
from rayplay.sandbox.levels import Level, Limits

SCRATCH_INSIDE = "/scratch"  # at L3: a tmpfs of its own
CODE_MOUNTS_MAX = 200  # per search path
MACHINES = ("x86_64", "aarch64")
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "LD_BIND_NOW": "1",  # so that no child has to look symbols up
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",  # sets of words have one order in all zygotes; that of sets of objects is by address
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TZ": "UTC",
}
NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl", "/etc/ca-certificates")
SHARED_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/etc/ld.so.cache")
HARMLESS_FILES = ("/usr/share/zoneinfo", "/etc/localtime", "/dev/urandom", "/dev/random", "/dev/zero")


@dataclass(frozen=True)
class Setup:
    """Everything that zygotes of one kind have in common.

    `grants` are the needs ("network", "files") that this kind may have: network opens sockets and keeps the machine's
    network namespace; files lets tools read the search paths.
    """

    modules: tuple[str, ...]
    level: Level
    limits: Limits = field(default_factory=Limits)
    search_paths: tuple[str, ...] = ()
    grants: frozenset[str] = frozenset()

    def for_tools(self, module: str, grants: frozenset[str]) -> "Setup":
        """The same for the tools of one module, with these grants."""
        return replace(self, modules=(module,), grants=grants)


@dataclass(frozen=True)
class Launch:
    """How to start one zygote, and the folder on this side that goes with it."""

    command: tuple[str, ...]
    environment: dict[str, str]
    folder: Path | None  # made for this zygote, removed with it; at L3 nothing is needed on this side
    held: int  # descriptor that marks the folder as in use; -1 where there is none
    scratch: str  # as the zygote sees it
    uid: int
    socket_is_stdin: bool = False  # gVisor passes no other descriptor


def prepare(setup: Setup, uid: int, program: str) -> Launch:
    """Make the folder of a zygote and say how to start it; `uid` is whom its children become, -1 where not root.

    Raises:
        SandboxError: The machine is not Linux on x86_64 or aarch64, or the level needs what is not installed.
    """
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        raise SandboxError(f"the sandbox needs Linux on {' or '.join(MACHINES)}, not {sys.platform}")
    wrapper = wrapper_of(setup)
    folder, held, scratch = None, -1, SCRATCH_INSIDE
    if setup.level is Level.L4:
        return _prepare_gvisor(setup, program, uid if uid >= 0 else FIRST)  # there everybody starts as root
    if setup.level is not Level.L3:
        folder, held = make_folder("rayplay-scratch-")
        folder.chmod(0o711)  # children of another uid reach their scratch by its name
        (folder / "scratch").mkdir(0o700)
        scratch = str(folder / "scratch")
    environment = {**ENVIRONMENT, "HOME": scratch, "TMPDIR": scratch}
    return Launch((*wrapper, *interpreter(program)), environment, folder, held, scratch, uid)


def interpreter(program: str) -> tuple[str, ...]:
    """This Python, without its user's packages, running `main` of a module of this very rayplay.

    Not isolated mode: that would also ignore the hash seed of ENVIRONMENT, which is all the environment that there is.

    Not `-m`: that would find an installed rayplay where this one runs from a checkout or a Ray job's working folder.
    """
    home = str(Path(rayplay.__file__).resolve().parents[1])
    code = f"import sys; sys.path.insert(0, {home!r}); import rayplay; del sys.path[0]; import {program} as p; p.main()"
    return (sys.executable, "-s", "-P", "-B", "-c", code)


def _prepare_gvisor(setup: Setup, program: str, uid: int) -> Launch:
    network = "network" in setup.grants
    runsc_path()  # refuses before a folder is made
    folder, held = make_folder("rayplay-gvisor-")
    environment = {**ENVIRONMENT, "HOME": SCRATCH_INSIDE, "TMPDIR": SCRATCH_INSIDE}
    write_bundle(
        folder,
        interpreter(program),
        environment,
        [*readable_paths(setup), *code_paths(setup.search_paths), "/lib", "/lib64"],  # links, where the loader is
        SCRATCH_INSIDE,
        setup.limits.scratch_bytes,
        ROOT_CAPABILITIES,
        network,
    )
    outside = {"PATH": os.defpath, "HOME": str(folder)}
    command = gvisor_command(folder, network)
    return Launch(command, outside, folder, held, SCRATCH_INSIDE, uid, socket_is_stdin=True)


def wrapper_of(setup: Setup) -> tuple[str, ...]:
    """The program that the zygote is started through: none below L3, bubblewrap at L3; L4 has a command of its own."""
    if setup.level is not Level.L3:
        return ()
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxError("bubblewrap is not installed (no bwrap on PATH); install it, or require L2")
    return (bwrap, *namespaces("network" in setup.grants), *mounts(setup), "--")


def namespaces(network: bool) -> tuple[str, ...]:
    """Options of bubblewrap that take away everything that has a namespace."""
    flags = ["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
    if not network:
        flags.append("--unshare-net")
    flags += ["--cap-add", "CAP_SYS_ADMIN"]  # for the zygote's own mounts; given up before the first call
    if geteuid() == 0:  # real root needs no user namespace, and can hand out a real uid without one
        flags += [part for name in ROOT_CAPABILITIES for part in ("--cap-add", name)]
    else:
        flags += ["--unshare-user", "--disable-userns"]
    return (*flags, "--die-with-parent", "--new-session")


def mounts(setup: Setup) -> tuple[str, ...]:
    """A minimal root: the interpreter, its libraries, the tools' code; a scratch of bounded size."""
    parts: list[str] = []
    for link in map(Path, ("/lib", "/lib64", "/lib32", "/bin")):
        if link.is_symlink():
            parts += ["--symlink", str(link.readlink()), str(link)]
    bound: list[Path] = []
    for path in sorted(map(Path, {*readable_paths(setup), *code_paths(setup.search_paths)})):
        ancestors = list(path.parents)[-2::-1]  # from the one below / down
        if not any(b in bound for b in (*ancestors, path)):
            for ancestor in ancestors:  # bubblewrap would make them for the zygote's eyes only
                parts += ["--perms", "0755", "--dir", str(ancestor)]
            parts += ["--ro-bind-try", str(path), str(path)]
            bound.append(path)
    parts += ["--proc", "/proc", "--dev", "/dev"]
    size = str(setup.limits.scratch_bytes)
    return (*parts, "--size", size, "--tmpfs", SCRATCH_INSIDE, "--chdir", SCRATCH_INSIDE)


def readable_paths(setup: Setup) -> list[str]:
    """What a call may read besides the folders of its own modules."""
    more = NETWORK_FILES if "network" in setup.grants else ()
    files = setup.search_paths if "files" in setup.grants else ()
    return [*interpreter_paths(), *(p for p in more if Path(p).exists()), *files]


@cache
def interpreter_paths() -> tuple[str, ...]:
    """Interpreter, standard library, installed packages, shared libraries, time zones."""
    paths = {sys.prefix, sysconfig.get_path("stdlib"), *site.getsitepackages()}
    # the system's own Python shares its prefix with everything else
    paths |= {str(Path(sys.executable).resolve())} if sys.base_prefix == "/usr" else {sys.base_prefix}
    paths -= {"/usr"}
    shared = {p for p in (*SHARED_LIBRARIES, *HARMLESS_FILES) if not Path(p).is_symlink()}  # else kept as links
    return tuple(sorted(p for p in paths | shared if Path(p).exists()))


def code_paths(search_paths: Iterable[str]) -> list[str]:
    """rayplay itself, and the Python code directly under the search paths; not data, runs or secrets beside it."""
    found = [Path(rayplay.__file__).parent]
    for folder in map(Path, search_paths):
        visible = (p for p in sorted(folder.iterdir()) if not p.name.startswith(".")) if folder.is_dir() else ()
        code = (p for p in visible if p.suffix == ".py" or (p.is_dir() and next(p.glob("*.py"), None)))
        found += islice(code, CODE_MOUNTS_MAX)
    return [str(path.resolve()) for path in found]


def cage() -> tuple[str, ...] | None:
    """A bubblewrap command that shows this machine read-only, with namespaces and temporary folders of its own.

    For programs that must do no harm outside, and may do what they like inside; what runs in it closes the devices
    first, which are this machine's own. None where bubblewrap is missing.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return None
    folders = [part for folder in ("/tmp", "/var/tmp", "/dev/shm", "/run") for part in ("--tmpfs", folder)]
    options = (
        "--unshare-all",
        "--unshare-user",
        "--uid",
        "1000",
        "--gid",
        "1000",
        "--cap-add",
        "CAP_SYS_ADMIN",
        "--die-with-parent",
        "--new-session",
    )
    seen = ("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", *folders)
    return (bwrap, *options, *seen, "--dir", "/tmp/here", "--chdir", "/tmp/here")
