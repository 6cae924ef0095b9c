"""What happens when the sandbox's own processes are killed, stopped, worn out or abandoned."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rayplay.errors import SandboxError
from rayplay.records import Status, ToolCall, ToolSpec
from rayplay.sandbox import Level, Limits, Sandbox, isolation_report
from rayplay.sandbox.lease import lease_uid
from rayplay.sandbox.trial import processes_of
from tests.sandbox.conftest import HERE, Caller

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]


def opened(level: Level, **options) -> Sandbox:
    return Sandbox(("sample_tools",), level=level, search_paths=(HERE,), **{"size": 1, **options})


def during(action, delay_s: float = 0.6) -> threading.Thread:
    """Do something a little later."""
    thread = threading.Timer(delay_s, action)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_call_is_issued_again_where_that_does_no_harm(level: Level, number: int):
    with opened(level) as sandbox:
        victim = sandbox.idle()[0].process.pid
        acting = during(lambda: os.kill(victim, number))
        result = Caller(sandbox)("wait", seconds=1.5)
        acting.join()
        assert result.status is Status.OK
        assert result.text == "waited"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_call_that_must_not_happen_twice_is_unavailable(level: Level, number: int):
    with opened(level) as sandbox:
        victim = sandbox.idle()[0].process.pid
        acting = during(lambda: os.kill(victim, number))
        result = Caller(sandbox)("pay", seconds=1.5)
        acting.join()
        # from L3 on the process is bubblewrap or runsc outside the namespace: stopping it stops nothing inside
        unharmed = level >= Level.L3 and number == signal.SIGSTOP
        assert result.status is (Status.OK if unharmed else Status.UNAVAILABLE)
        assert Caller(sandbox)("double", x=1).text == "2"


def test_zygotes_are_replaced_after_so_many_calls(level: Level):
    with opened(level, recycle_after=10) as sandbox:
        seen = set()
        for _ in range(35):
            assert Caller(sandbox)("double", x=4).text == "8"
            seen |= {zygote.process.pid for zygote in sandbox.idle() if zygote.process}
        assert len(seen) >= 3


ORDINARY_ENDS = (
    "import os; os._exit(1)",
    "import ctypes; ctypes.string_at(0)",
    "raise ValueError",
    "while True: print('x' * 999)",
    "while True: pass",
    "a = [0] * 10**10",
    "a = []\nwhile True: a.append(bytes(10**6))",
    "for n in range(301): open(str(n), 'w').close()",
    "for n in range(3000): open(f'{n:0200}', 'w').close()",
    "import os\nfor n in range(40): os.mkdir('d'); os.chdir('d'); os.chmod('.', 0o100)",
    "import os; os.chmod('.', 0)",
)


def test_no_ordinary_end_of_a_call_costs_its_zygote(level: Level):
    with opened(level) as sandbox:
        before = sandbox.idle()
        for code in ORDINARY_ENDS:
            Caller(sandbox)("python", code=code, deadline=0.5)
            good = Caller(sandbox)("python", code="import os\nresult = os.listdir('.')")
            assert (good.status, good.text) == (Status.OK, "[]"), code
            assert sandbox.idle() == before, code


SHORT_OF_FILES = """
import resource, sys
sys.path[:0] = [{root!r}]
from concurrent.futures import ThreadPoolExecutor
from rayplay.errors import SandboxError
from rayplay.records import ToolCall
from rayplay.sandbox import Level, Sandbox
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
modules = ("tools.calculator", "tools.dates", "tools.text_statistics", "tools.python", "sample_tools")
given = {{"calculator": {{"expression": "6*7"}}, "python": {{"code": "result = 42"}}, "double": {{"x": 21}}}}
given |= {{"count_text": {{"text": "a b"}}, "weekday": {{"date": "2024-02-29"}}}}
try:
    with Sandbox(modules, level=Level({level!r}), search_paths=({here!r}, {root!r}), size=4) as sandbox:
        specs = {{s.name: s for s in sandbox.describe()}}
        calls = [name for name in given if name in specs] * 12
        def run(name):
            result = sandbox.run(specs[name], ToolCall(call_id="1", name=name, arguments=given[name]))
            return result.status + " " + result.text
        with ThreadPoolExecutor(4) as threads:
            print(sorted(set(threads.map(run, calls))))
except SandboxError as error:
    print("refused:", error)
"""


def short_of_files(level: Level, files: int) -> str:
    code = SHORT_OF_FILES.format(root=str(Path(HERE).parents[1]), level=level.value, here=HERE)
    done = subprocess.run([sys.executable, "-c", code, str(files)], capture_output=True, text=True, timeout=150)
    return done.stdout + done.stderr


def test_a_process_that_may_open_few_files_has_its_calls_answered(level: Level):
    if level is Level.L4:
        pytest.skip("gVisor itself opens more than 64 files")
    said = short_of_files(level, 64)
    assert "ok 42" in said and "crashed" not in said and "unavailable" not in said


def test_a_process_that_may_open_too_few_files_is_told_what_to_raise(level: Level):
    said = short_of_files(level, 12)
    assert "this process may have 12 files open (ulimit -n)" in said


def test_a_sandbox_without_modules_has_no_tools_and_starts_nothing(level: Level):
    with Sandbox((), level=level, size=1) as sandbox:
        call = ToolCall(call_id="1", name="double", arguments={})
        assert sandbox.describe() == () and sandbox.idle() == []
        assert sandbox.run(ToolSpec(name="double"), call).status is Status.UNKNOWN_TOOL


def test_closing_ends_everything_and_leaves_no_folder(level: Level):
    sandbox = opened(level)
    zygote = sandbox.idle()[0]
    folder, pid, uid = zygote.launch.folder, zygote.process.pid, zygote.uid
    during(sandbox.close, 0.5)
    result = Caller(sandbox)("wait", seconds=60)
    assert result.status in (Status.UNAVAILABLE, Status.TIMEOUT)
    assert not Path(f"/proc/{pid}").exists()
    assert folder is None or not folder.exists()
    assert uid == os.getuid() or eventually(lambda: not processes_of({uid}))


OWNER = """
import sys, threading
sys.path.insert(0, {root!r})
from rayplay.sandbox import Level, Sandbox
from rayplay.records import ToolCall
sandbox = Sandbox(("sample_tools",), level=Level({level!r}), search_paths=({here!r},), size=2)
spec = next(s for s in sandbox.describe() if s.name == "python")
zygote = sandbox.idle()[0]
code = "open('left', 'w').write('x')" + chr(10) + "while True: pass"
call = ToolCall(call_id="1", name="python", arguments=dict(code=code))
threading.Thread(target=sandbox.run, args=(spec, call)).start()
import time; time.sleep(0.5)
print(zygote.process.pid, zygote.uid, zygote.launch.folder, flush=True)
"""


def test_killing_the_owner_in_mid_call_leaves_nothing(level: Level):
    code = OWNER.format(root=str(Path(HERE).parents[1]), level=level.value, here=HERE)
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid, uid, folder = owner.stdout.readline().split()
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert eventually(lambda: not alive(int(pid)))
    assert int(uid) == os.getuid() or eventually(lambda: not processes_of({int(uid)}))
    if level is Level.L4:
        opened(level).close()  # the next start removes the bundles of owners that have gone
    assert folder == "None" or eventually(lambda: not Path(folder).exists())


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user leases no users")
def test_a_killed_owner_frees_the_user_of_its_calls(level: Level):
    code = OWNER.format(root=str(Path(HERE).parents[1]), level=level.value, here=HERE)
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    uid = int(owner.stdout.readline().split()[1])
    assert not can_lease(uid)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert eventually(lambda: can_lease(uid))


BATCH_OWNER = """
import sys
sys.path.insert(0, {root!r})
from rayplay.sandbox import Level, Sandbox
from rayplay.records import ToolCall
sandbox = Sandbox(("sample_tools",), level=Level({level!r}), search_paths=({here!r},), size=1)
specs = {{s.name: s for s in sandbox.describe()}}
zygote = sandbox.idle()[0]
print(zygote.process.pid, zygote.uid, flush=True)
calls = [("double", dict(x=1))] * 9 + [("misbehave", dict(how="hang"))] * 9
sandbox.run_many([(specs[n], ToolCall(call_id="1", name=n, arguments=a)) for n, a in calls])
"""


def test_killing_the_owner_in_the_middle_of_a_batch_leaves_nothing(level: Level):
    code = BATCH_OWNER.format(root=str(Path(HERE).parents[1]), level=level.value, here=HERE)
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid, uid = map(int, owner.stdout.readline().split())
    time.sleep(1)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert eventually(lambda: not alive(pid))
    assert uid == os.getuid() or eventually(lambda: not processes_of({uid}))


def can_lease(uid: int) -> bool:
    """Whether the lease of one user is free."""
    try:
        os.close(lease_uid(uid, 1).held)
    except SandboxError:
        return False
    return True


def test_a_hundred_hostile_calls_among_a_thousand_good_ones_harm_none_of_them(level: Level):
    count = 1100 if level is isolation_report().level else 264  # all of them where tools really run
    hostile = ["while True: pass", "import os; os._exit(1)", "while True: print('x' * 999)", "a = [0] * 10**10",
               "import ctypes; ctypes.string_at(0)", "import os; os.kill(os.getppid(), 9)"]  # fmt: skip
    limits = Limits(deadline_s=10, queue_s=120, output_bytes=4096)
    with opened(level, size=2, limits=limits) as sandbox:
        specs = {spec.name: spec for spec in sandbox.describe()}
        calls = [("python", {"code": f"result = {n} * 2"}) for n in range(count)]
        spots = set(random.Random(0).sample(range(count), count // 11))
        for n in spots:
            calls[n] = ("python", {"code": hostile[n % len(hostile)]})

        def run(numbers: range) -> None:
            for n in numbers:
                name, arguments = calls[n]
                call = ToolCall(call_id=str(n), name=name, arguments=arguments)
                results[n] = sandbox.run(specs[name], call, deadline_s=0.5 if n in spots else None)

        results: dict = {}
        threads = [threading.Thread(target=run, args=(range(k, count, 3),)) for k in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for n, result in results.items():
        assert result.call_id == str(n)
        assert n in spots or (result.status is Status.OK and result.text == str(n * 2)), result
        assert n not in spots or result.status is not Status.OK
    assert len(results) == count


def test_memory_and_descriptors_stay_flat(level: Level):
    with opened(level, recycle_after=100_000) as sandbox:
        call = Caller(sandbox)

        def mixed(rounds: int) -> None:
            for n in range(rounds):
                assert call("double", x=n).text == str(2 * n)
                assert call("refuse", reason="no").status is Status.TOOL_ERROR
                assert call("double", x="no").status is Status.BAD_ARGUMENTS
                if n % 4 == 0:  # takes a zygote with it, whose successor must start
                    assert call("python", code="import os; os._exit(0)").status is Status.CRASHED

        mixed(20)
        descriptors, memory = open_files(), resident(os.getpid())
        mixed(60)
        assert resident(os.getpid()) <= memory + 8 * 1024
        assert eventually(lambda: open_files() <= descriptors + 4)  # successors may be starting


def open_files() -> int:
    """How many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def resident(pid: int) -> int:
    """Resident memory of a process, KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def eventually(holds) -> bool:
    """Whether something comes true within 20 s."""
    for _ in range(200):
        if holds():
            return True
        time.sleep(0.1)
    return False
