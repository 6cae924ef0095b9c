"""The comparison: a forked child with rlimits and nothing else, as common code evaluators do it.

    python -m rayplay.sandbox.plain_fork FIRST

tries the hostile programs from number FIRST on and writes one line per verdict. To be run in a cage only.
"""

import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress

from rayplay.sandbox.confine import HARMLESS_DEVICES, set_capabilities
from rayplay.sandbox.hostile import Ground, programs
from rayplay.sandbox.mounts import make_read_only, own_namespace
from rayplay.sandbox.trial import GOOD_CODE, GOOD_TEXT, HOSTILE_DEADLINE_S, LIMITS, try_program

RLIMITS = {
    resource.RLIMIT_AS: 512 * 1024 * 1024,
    resource.RLIMIT_CPU: 2,
    resource.RLIMIT_FSIZE: LIMITS.file_bytes,
    resource.RLIMIT_NOFILE: LIMITS.open_files,
    resource.RLIMIT_CORE: 0,
}


def run_plain(code: str) -> tuple[str, str]:
    """Run code in a forked child until it ends or the deadline passes -> (status, text)."""
    read_end, write_end = os.pipe()
    folder = tempfile.mkdtemp()
    pid = os.fork()
    if pid == 0:
        os.chdir(folder)
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        os.close(read_end)
        _execute(code)
    os.close(write_end)
    text, deadline = b"", time.monotonic() + HOSTILE_DEADLINE_S
    while (left := deadline - time.monotonic()) > 0 and select.select([read_end], [], [], left)[0]:
        part = os.read(read_end, 65536)
        if not part:
            break
        text += part
    os.close(read_end)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with suppress(RecursionError):  # of a deep tree
        shutil.rmtree(folder, ignore_errors=True)
    return "ended", text[: LIMITS.output_bytes].decode(errors="replace").rstrip("\n")


def _execute(code: str) -> None:
    for what, value in RLIMITS.items():
        resource.setrlimit(what, (value, value))
    try:
        variables = {"__name__": "__main__"}
        exec(compile(code, "<code>", "exec"), variables)
        if "result" in variables:
            print(variables["result"])
    except BaseException:
        traceback.print_exc(limit=0)
    finally:
        try:
            sys.stdout.flush()
        finally:
            os._exit(0)


def check_after() -> str:
    """What is wrong after a program: a wrong good call, or processes left; "" = nothing."""
    text = run_plain(GOOD_CODE)[1]
    wrong = "" if text == GOOD_TEXT else f"the next good call: {text[:200]!r}"
    left = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]
    for pid in left:
        with suppress(OSError):  # ended meanwhile
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return wrong or (f"{len(left)} processes left" if left else "")


def close_cage() -> None:
    """Make the devices read-only, which are this machine's own, and give up what that takes.

    Raises:
        OSError: The kernel refused.
    """
    own_namespace()
    for name in (*HARMLESS_DEVICES, "tty"):
        make_read_only(f"/dev/{name}")
    set_capabilities()
    for fd in (0, 2):  # those that came along were opened outside, where nothing is read-only
        os.dup2(os.open(os.devnull, os.O_RDWR), fd)


def main() -> None:
    """Try the programs from the given number on."""
    close_cage()
    own_output = os.fdopen(os.dup(1), "w")
    with Ground() as ground:
        for program in programs()[int(sys.argv[1]) :]:
            verdict = try_program(program, ground, run_plain, check_after)
            own_output.write(f"\x1e{json.dumps(verdict)}\n")
            own_output.flush()


if __name__ == "__main__":
    main()
