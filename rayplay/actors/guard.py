"""A command -> the same command, which cannot outlive whoever started it: `python guard.py COMMAND...`.

The owner holds the other end of our stdin. When that closes, however the owner ended, the command's whole process group
is ended: an engine has children that a signal to its main process alone would leave behind. The watching is done by a
child in a session of its own, since Ray kills the direct children of a worker that ends. Standard library only.
"""

import os
import signal
import subprocess
import sys
import threading
import time

GRACE_S = 8.0  # between asking the group to end and ending it


def main(command: list[str]) -> int:
    """Run the command, guarded, in a process that outlives this one; returns its exit code."""
    guardian = os.fork()
    if guardian == 0:
        os.setsid()
        os._exit(guarded(command))
    _, status = os.waitpid(guardian, 0)
    return os.waitstatus_to_exitcode(status)


def guarded(command: list[str]) -> int:
    """Run the command until it ends or stdin does; returns its exit code, 128 + the signal's number after a signal."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def watch() -> None:
        while os.read(0, 4096):
            pass
        end_group(process)

    threading.Thread(target=watch, daemon=True).start()
    code = process.wait()
    end_group(process)
    return code if code >= 0 else 128 - code


def end_group(process: subprocess.Popen) -> None:
    """SIGTERM to every process of the group, then SIGKILL to those that are still there."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + GRACE_S
        while number is signal.SIGTERM and time.monotonic() < deadline and _alive(process.pid):
            time.sleep(0.1)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
