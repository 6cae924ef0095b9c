"""A guarded command ends with its owner, children included, and otherwise runs as it would alone."""

import os
import subprocess
import sys
import time

import pytest

from rayplay.actors import guard

# A child that starts a grandchild, says both pids, ignores SIGTERM in the grandchild, and waits.
FAMILY = """
import os, signal, subprocess, sys, time
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", deaf])
time.sleep(0.5)
print(os.getpid(), child.pid, flush=True)
time.sleep(60)
"""


def start(*command):
    return subprocess.Popen(
        [sys.executable, guard.__file__, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before the file is opened, or before it is read
        return False


def test_a_guarded_command_keeps_its_exit_code():
    process = start(sys.executable, "-c", "raise SystemExit(7)")
    assert process.wait(timeout=30) == 7
    process.stdin.close()
    process.stdout.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at processes through /proc")
@pytest.mark.timeout(90)
@pytest.mark.parametrize("killed_first", [False, True])
def test_closing_stdin_ends_the_command_and_its_children(killed_first):
    """Also where the process that was started is itself killed before, as Ray does with a worker's children."""
    process = start(sys.executable, "-c", FAMILY)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert all(map(is_running, pids))
    if killed_first:
        process.kill()
    process.stdin.close()
    process.wait(timeout=30)
    process.stdout.close()
    for _ in range(150):
        if not any(map(is_running, pids)):
            break
        time.sleep(0.1)
    assert not any(map(is_running, pids))
