"""The nouns of isolation: Level, Limits, IsolationReport."""

from enum import StrEnum

from rayplay.records import Record


class Level(StrEnum):
    """What stands between a tool and the machine; each level has all that the lower ones have."""

    L0 = "L0"  # nothing: own process and a deadline only
    L1 = "L1"  # process: empty environment, rlimits, no_new_privs, seccomp allow-list
    L2 = "L2"  # + Landlock: reads only the interpreter, writes only its scratch
    L3 = "L3"  # + namespaces through bubblewrap: own pid, net, ipc, mounts; size-capped scratch
    L4 = "L4"  # + gVisor: another kernel


class Limits(Record):
    """Bounds of one call. A tool may ask for less, never for more."""

    deadline_s: float = 30.0  # wall time
    cpu_s: float = 30.0
    memory_mb: int = 1024  # MiB that a call may map on top of what the interpreter holds already
    output_bytes: int = 64 * 1024  # printed text and returned text, each
    state_bytes: int = 1024 * 1024  # JSON state of a toolset
    file_bytes: int = 16 * 1024 * 1024  # one file
    scratch_bytes: int = 64 * 1024 * 1024  # all files of a call together
    scratch_files: int = 2000
    open_files: int = 64
    threads: int = 64
    queue_s: float = 60.0  # longest wait for a free process before the call is `unavailable`


class IsolationReport(Record):
    """What the canaries proved: a guarantee is `held` only where the attempt to break it failed."""

    level: Level
    held: tuple[str, ...] = ()
    not_held: tuple[str, ...] = ()
    not_tested: tuple[str, ...] = ()  # could not be tried, which proves nothing, neither way
    why_not_higher: str = ""  # the reason, and what to do
    scratch_bound: str = ""  # what one call can fill at most, and who sees to it
    uid: int = -1  # user id that tools run as
    landlock_abi: int = 0  # 0 = the kernel has none
