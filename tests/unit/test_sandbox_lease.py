"""User ids are leased: one holder at a time, free again when it has gone, a clear error where none is left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rayplay.errors import SandboxError
from rayplay.sandbox import lease
from rayplay.sandbox.lease import lease_uid

FIRST = 2_000_000_000  # of nobody


def test_leases_are_never_shared_and_come_free_when_closed(tmp_path: Path):
    one, two = (lease_uid(FIRST, 5, (tmp_path,)) for _ in range(2))
    assert (one.uid, two.uid) == (FIRST, FIRST + 1)
    os.close(one.held)
    three = lease_uid(FIRST, 5, (tmp_path,))
    assert three.uid == FIRST
    os.close(two.held)
    os.close(three.held)


def test_a_range_that_is_used_up_says_so(tmp_path: Path):
    held = [lease_uid(FIRST, 2, (tmp_path,)).held for _ in range(2)]
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SandboxError, match="all 2 user ids from 2000000000 on are in use"):
        lease_uid(FIRST, 2, (tmp_path,))
    assert len(os.listdir("/proc/self/fd")) == before
    for fd in held:
        os.close(fd)


def test_a_holder_that_is_killed_frees_its_lease(tmp_path: Path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom rayplay.sandbox.lease import lease_uid\n"
        f"print(lease_uid({FIRST}, 3, (Path(sys.argv[1]),)).uid, flush=True)\ntime.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline().strip() == str(FIRST)
        other = lease_uid(FIRST, 3, (tmp_path,))
        assert other.uid == FIRST + 1
        holder.kill()
        holder.wait()
    again = lease_uid(FIRST, 3, (tmp_path,))
    assert again.uid == FIRST
    for fd in (other.held, again.held):
        os.close(fd)


def test_a_user_that_runs_processes_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lease, "users_of_processes", lambda: {FIRST})
    taken = lease_uid(FIRST, 3, (tmp_path,))
    assert taken.uid == FIRST + 1
    os.close(taken.held)


def test_users_of_processes_are_the_real_ones():
    assert os.getuid() in lease.users_of_processes()


def test_a_folder_that_others_may_enter_or_that_is_none_is_refused(tmp_path: Path):
    (tmp_path / "rayplay-uids").mkdir(mode=0o755)
    with pytest.raises(SandboxError, match="mode 0700"):
        lease_uid(FIRST, 3, (tmp_path,))
    (tmp_path / "rayplay-uids").rmdir()
    (tmp_path / "rayplay-uids").symlink_to(tmp_path)
    with pytest.raises(SandboxError):
        lease_uid(FIRST, 3, (tmp_path,))


def test_the_next_place_is_taken_where_the_first_cannot_be_written_to(tmp_path: Path):
    taken = lease_uid(FIRST, 3, (tmp_path / "missing", tmp_path))
    assert (tmp_path / "rayplay-uids" / str(FIRST)).exists()
    os.close(taken.held)
    with pytest.raises(SandboxError, match="no folder"):
        lease_uid(FIRST, 3, (tmp_path / "missing",))
