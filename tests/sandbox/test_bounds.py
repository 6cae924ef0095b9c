"""What a call can fill, and what it can leave outside its scratch: bounds that hold whatever the files look like."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayplay.errors import SandboxError
from rayplay.records import Status, ToolResult
from rayplay.sandbox import Level, Limits, Sandbox, isolation_report, require_level
from tests.sandbox.conftest import HERE, Caller
from tests.sandbox.test_levels import NO_NAMESPACES, ORDINARY_USER, run_in_own_process
from tests.sandbox.test_lifecycle import OWNER, eventually

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]
LIMITS = Limits(deadline_s=20, queue_s=120, scratch_bytes=6 * 2**20, scratch_files=150, file_bytes=2**20)
NAMED = """
import os
for n in range(90):
    os.mkdir(f'{n:0200}')
written = 0
for n in range(55):
    with open(f'part-{n}', 'wb', buffering=0) as file:
        written += file.write(b'x' * 2**20)
    os.write(1, b' %d' % (written >> 20))
"""
NAMELESS = """
import ctypes, errno, os
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p  # Python's own mapping would keep a descriptor, whose number is bounded
for n in range(200):
    with open('nameless', 'w+b', buffering=0) as file:
        os.unlink('nameless')
        if file.write(b'x' * 2**20) < 2**20 or libc.mmap(None, 4096, 1, 1, file.fileno(), 0) == 2**64 - 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.write(1, b' %d' % (n + 1))
"""
NAMES = """
import os
for n in range(5000):
    os.symlink('x', f'{n:0240}')
    if n % 10 == 9: os.write(1, b' %d' % (n + 1))
"""


@pytest.fixture(scope="module")
def small(level: Level) -> Iterator[Sandbox]:
    """A sandbox with small bounds, at a level where this machine gives calls a file system of their own."""
    with Sandbox(("sample_tools",), level=level, limits=LIMITS, search_paths=(HERE,), size=1) as opened:
        if not opened.idle()[0].introduction.get("isolated"):
            pytest.skip("no mount namespace of its own for a zygote here")
        yield opened


def reached(result: ToolResult) -> int:
    """The last number that a program printed before it was stopped."""
    return int(result.text.splitlines()[0].split()[-1])


@pytest.mark.parametrize(("code", "most"), [(NAMED, 6), (NAMELESS, 6), (NAMES, 150)])
def test_no_way_to_fill_the_scratch_goes_over_its_bound(small: Sandbox, code: str, most: int):
    result = Caller(small)("python", code=code)
    assert reached(result) <= most
    assert "No space left" in result.text and result.status is not Status.OK
    assert Caller(small)("python", code="import os\nresult = os.listdir('.')").text == "[]"


def test_what_a_call_filled_is_free_again_for_the_next(small: Sandbox):
    for _ in range(3):
        result = Caller(small)(
            "python", code="for n in range(5): open(str(n), 'wb').write(b'x' * 2**20)\nresult = 'ok'"
        )
        assert result.text == "ok"


TRACES = """
import os
for path in {paths!r}:
    for leave in (os.utime, lambda p: os.utime(p, (1, 1)), lambda p: os.chmod(p, 0o600), lambda p: os.chown(p, -1, -1),
                  lambda p: open(p, 'r+').close(), lambda p: os.setxattr(p, 'user.mark', b'x'),
                  lambda p: os.mkdir(os.path.join(p, 'mark')), lambda p: open(p, 'rb').read(1)):
        try: leave(path)
        except OSError: pass
"""


def test_no_mark_is_left_on_devices_or_on_what_others_may_write(small: Sandbox):
    with tempfile.TemporaryDirectory() as made:
        folder, file = Path(made), Path(made, "file")
        folder.chmod(0o777)
        file.write_text("x")
        file.chmod(0o666)
        os.utime(file, (0, 10**9))  # so old that a read would move its access time
        paths = [os.devnull, "/dev/zero", str(file), str(folder), "/tmp", "/dev/shm", os.__file__]
        seen = {path: os.stat(path) for path in paths if os.path.exists(path)}
        before = {p: (s.st_mode, s.st_uid, s.st_mtime_ns, s.st_atime_ns, s.st_ctime_ns) for p, s in seen.items()}
        Caller(small)("python", code=TRACES.format(paths=paths))
        for path in (os.devnull, "/dev/zero", str(file), str(folder), os.__file__):
            s = os.stat(path)
            assert (s.st_mode, s.st_uid, s.st_mtime_ns, s.st_atime_ns, s.st_ctime_ns) == before[path], path
        assert {p.name for p in folder.iterdir()} == {"file"}


WITHOUT_NAMESPACES = """
import json
from rayplay.records import ToolCall
from rayplay.sandbox import Level, Limits, Sandbox, isolation_report
limits = Limits(deadline_s=20, scratch_bytes=6 * 2**20, file_bytes=2**20)
found = {}
with Sandbox(("tools.python",), level=Level.L2, limits=limits, search_paths=(ROOT,), size=1) as sandbox:
    spec = sandbox.describe()[0]
    found["introduction"] = sandbox.idle()[0].introduction
    for name, code in json.loads(CODES).items():
        result = sandbox.run(spec, ToolCall(call_id=name, name="python", arguments={"code": code}))
        found[name] = (result.status.value, result.text)
found["bound"] = isolation_report().scratch_bound
print(json.dumps(found))
"""
SLOW = NAMELESS.replace("os.write(1", "__import__('time').sleep(0.01); os.write(1")


@pytest.mark.skipif(isolation_report().level < Level.L2, reason="L2 does not hold here")
def test_without_namespaces_the_kernel_counts_what_an_ordinary_user_writes():
    codes = json.dumps({"nameless": SLOW, "touch": "import os\nos.utime(os.devnull)", "good": "result = 7"})
    found = run_in_own_process(ORDINARY_USER + NO_NAMESPACES, f"CODES = {codes!r}\n{WITHOUT_NAMESPACES}")
    if os.geteuid() == 0:
        assert not found["introduction"]["isolated"] and found["introduction"]["counted"]
    assert "as the kernel counts it" in found["bound"]
    status, text = found["nameless"]
    on_disk = Path("/proc/mounts").read_text()
    if f" {tempfile.gettempdir()} tmpfs" not in on_disk:
        assert status == "output_limit"
        assert int(text.splitlines()[0].split()[-1]) < 150  # of 200: the bound and what fits into some looks
    assert found["touch"][0] != "ok" and found["good"] == ["ok", "7"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a capability to lose")
def test_where_nothing_bounds_files_without_a_name_the_report_says_so_and_how_much_they_can_hold():
    no_mounts = "import ctypes\nctypes.CDLL(None).prctl(24, 21, 0, 0, 0)"  # CAP_SYS_ADMIN leaves the bounding set
    found = run_in_own_process(no_mounts)["report"]
    limits = Limits()
    assert found["level"] == "L2" and "disk_without_names" in found["not_held"]
    files = int(Path("/proc/sys/vm/max_map_count").read_text()) + limits.open_files + limits.scratch_files
    assert f"at most {files * limits.file_bytes >> 30} GiB" in found["scratch_bound"]


def test_a_long_temporary_folder_changes_no_level():
    with tempfile.TemporaryDirectory() as made:
        long = Path(made, *["d" * 40] * 3)
        long.mkdir(parents=True)
        for folder in (long, *long.parents[:3]):
            folder.chmod(0o755)
        found = run_in_own_process("", TMPDIR=str(long))
    assert found["report"]["level"] == isolation_report().level.value
    assert found["report"]["not_tested"] == []


def test_what_could_not_be_tested_is_told_from_what_does_not_hold():
    body = """
import json
from rayplay.errors import SandboxError
from rayplay.sandbox import isolation_report, probe, require_level
def no_room(): raise OSError("no room for the canaries")
probe.room_for_sockets = no_room
report = isolation_report()
try:
    require_level("L2")
except SandboxError as error:
    print(json.dumps({"report": report.model_dump(mode="json"), "refusal": str(error)}))
"""
    found = run_in_own_process("", body)
    assert found["report"]["level"] == "L0" and found["report"]["not_held"] == []
    assert "read_outside" in found["report"]["not_tested"]
    why = found["report"]["why_not_higher"]
    assert "L1 could not be tested: no room for the canaries" in why and "set TMPDIR" in why
    assert "not tested: " in found["refusal"] and "not held" not in found["refusal"]


def test_there_is_no_sandbox_below_the_required_level(monkeypatch: pytest.MonkeyPatch):
    lower = isolation_report().model_copy(update={"level": Level.L1, "held": ("processes",)})
    monkeypatch.setattr("rayplay.sandbox.probe.isolation_report", lambda _highest=Level.L3: lower)
    with pytest.raises(SandboxError, match=r"sandbox\.require is L2 but only L1 holds here"):
        Sandbox(("sample_tools",), search_paths=(HERE,))
    with pytest.raises(SandboxError, match=r"sandbox\.require is L3"):
        Sandbox(("sample_tools",), require="L3", search_paths=(HERE,))
    with pytest.raises(SandboxError):
        require_level("L2")
    with Sandbox(("sample_tools",), require="L1", search_paths=(HERE,), size=1) as sandbox:
        assert sandbox.level is Level.L1 and Caller(sandbox)("double", x=2).text == "4"


def test_the_folder_of_an_owner_goes_with_the_zygote_and_its_bytes_with_the_namespace(small: Sandbox):
    zygote = small.idle()[0]
    folder = zygote.launch.folder
    if folder is None:
        pytest.skip("at L3 nothing is made on this side")
    assert list((folder / "scratch").iterdir()) == []
    assert str(folder) not in Path("/proc/self/mounts").read_text()


def mounted(folder: str) -> bool:
    """Whether any process here sees a file system mounted in the folder."""
    for mounts in Path("/proc").glob("[0-9]*/mounts"):
        try:
            if folder in mounts.read_text():
                return True
        except OSError:  # ended meanwhile
            continue
    return False


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts of others are seen by root alone")
@pytest.mark.parametrize("own", [Level.L1, Level.L2])
def test_when_owner_and_zygote_are_killed_at_once_the_mount_goes_too_and_the_next_owner_removes_the_folder(own: Level):
    if isolation_report().level < own:
        pytest.skip(f"{own} does not hold here")
    code = OWNER.format(root=str(Path(HERE).parents[1]), level=own.value, here=HERE)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        pid, _, folder = owner.stdout.readline().split()
        assert mounted(folder)
        for victim in (int(pid), owner.pid):
            os.kill(victim, signal.SIGKILL)
    assert eventually(lambda: not mounted(folder))
    Sandbox(("sample_tools",), level=own, search_paths=(HERE,), size=1).close()
    assert eventually(lambda: not Path(folder).exists())
