"""An OCI bundle for one zygote, and the command that runs it in gVisor: another kernel between a call and the machine.

The zygote's socket is its standard input, since runsc passes no other descriptor. Inside there is no Landlock and no
pidfd: the bundle's mounts stand for the first, and the zygote waits for its children's pipes instead of the second.
"""

import json
import shutil
from collections.abc import Iterable
from os import geteuid
from pathlib import Path
from typing import Any

from rayplay.errors import SandboxError

BUNDLE_FILE = "config.json"


def runsc_path() -> str:
    """Where runsc is.

    Raises:
        SandboxError: It is not installed.
    """
    found = shutil.which("runsc")
    if found is None:
        raise SandboxError("L4 needs gVisor: no runsc on PATH; install it, or use L3, which the canaries can prove")
    return found


def gvisor_command(folder: Path, network: bool) -> tuple[str, ...]:
    """The command that runs the bundle in `folder`; it ends with the process that started it."""
    options = ("--root", str(folder / "state"), "--ignore-cgroups", f"--network={'host' if network else 'none'}")
    rootless = () if geteuid() == 0 else ("--rootless",)
    return (runsc_path(), *options, *rootless, "run", "--bundle", str(folder), f"rayplay-{folder.name}")


def write_bundle(
    folder: Path,
    command: Iterable[str],
    environment: dict[str, str],
    readable: Iterable[str],
    scratch: str,
    scratch_bytes: int,
    capabilities: Iterable[str],
    network: bool,
) -> None:
    """The bundle: a root that holds what may be read, read-only, and a scratch of bounded size."""
    (folder / "rootfs").mkdir()
    mounts: list[dict[str, Any]] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        {
            "destination": "/tmp",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["ro"],
        },  # else gVisor adds a writable one
        {"destination": scratch, "type": "tmpfs", "source": "tmpfs", "options": [f"size={scratch_bytes}", "mode=700"]},
    ]
    bound: list[Path] = []
    for path in sorted({Path(p) for p in readable if Path(p).exists()}):
        if not path.is_relative_to("/dev") and not any(b in bound for b in path.parents):
            source = str(path.resolve())
            mounts.append({"destination": str(path), "type": "bind", "source": source, "options": ["rbind", "ro"]})
            bound.append(path)
    held = sorted({*capabilities, "CAP_SYS_ADMIN"})  # of the sandbox's own kernel: to take /proc away from the calls
    process = {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": [*command, "0"],  # the socket is standard input
        "env": [f"{name}={value}" for name, value in environment.items()],
        "cwd": scratch,
        "noNewPrivileges": True,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted", "inheritable"), held),
    }
    own_network = () if network else ("network",)
    bundle = {
        "ociVersion": "1.0.0",
        "process": process,
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "rayplay",
        "mounts": mounts,
        "linux": {"namespaces": [{"type": name} for name in ("pid", "ipc", "uts", "mount", *own_network)]},
    }
    (folder / BUNDLE_FILE).write_text(json.dumps(bundle))
