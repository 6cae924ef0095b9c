"""What canaries found at a level -> in words: why it does not count, what to do about it, and what a call can fill."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rayplay.sandbox.levels import Level, Limits

MAPPINGS = Path("/proc/sys/vm/max_map_count")
RETRY = "; set TMPDIR to a short path of a writable folder with free space, and try on a less busy machine"
STEPS = {
    Level.L4: "",
    Level.L3: "; let this user make namespaces (user.max_user_namespaces, AppArmor's restriction of user namespaces, "
    "the container's seccomp profile)",
    Level.L2: "; use a kernel from 5.13 on with landlock among its lsm=, and a container that permits Landlock",
    Level.L1: "; use a kernel, and a container, that permits seccomp filters",
}


class Untested(str):
    """Why an attempt could not be made: that proves nothing, neither way."""


def refusal(level: Level, found: Mapping[str, str]) -> str:
    """Why a level does not count, by what came of each of its promises ("" = held); "" where all hold."""
    broken = [f"{name} {text}" for name, text in found.items() if text and not isinstance(text, Untested)]
    untested = [f"{name} ({text})" for name, text in found.items() if isinstance(text, Untested)]
    if broken:
        return f"{level.value} does not hold: {'; '.join(broken)}{next_step(level, ' '.join(broken))}"
    if untested:
        return f"{level.value} could not be tested: {'; '.join(untested)}{RETRY}"
    return ""


def next_step(level: Level, problem: str) -> str:
    """What to do where a level does not hold, or, without a problem, could not be tested."""
    if not problem:
        return RETRY
    return "" if "install" in problem else STEPS[level]  # that says it already


def scratch_bound(introduction: Mapping[str, Any], level: Level, limits: Limits, nameless: bool = True) -> str:
    """What one call can fill at most, and who sees to it, by how the zygote lives.

    Without a file system of its own what a call wrote is weighed by name; a file that has none any more, and is held by
    a descriptor or by one mapped page, weighs nothing. The kernel counts what goes to disks, and no tmpfs is one.

    Args:
        introduction: What the zygote said of itself.
        level: Where it ran.
        limits: Of a call.
        nameless: Whether a canary that filled the disk through such files was stopped.
    """
    size = f"{limits.scratch_bytes >> 20} MiB"
    if introduction.get("isolated"):
        return f"{size} and {limits.scratch_files} names, by the size of a file system of its own"
    if level is Level.L4:
        return f"{size}, by the size of a file system of its own"
    if introduction.get("counted") and nameless:
        return f"{size} and what a disk takes within 20 ms, as the kernel counts it"
    if level is Level.L0:
        return "nothing bounds it"
    files = limits.open_files + int(MAPPINGS.read_text()) + limits.scratch_files
    return (
        f"{size} by name, weighed now and then; in all what the disk takes until the deadline, at most "
        f"{files * limits.file_bytes >> 30} GiB: {limits.file_bytes >> 20} MiB for each file named, open or mapped"
    )
