"""The level is what canaries prove: with something missing it drops, and `require` refuses. For real, in processes that
really lack it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rayplay.errors import SandboxError
from rayplay.sandbox import Level, isolation_report, probe, require_level

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]
ROOT = str(Path(__file__).parents[2])

REPORT = """
import json
from rayplay.errors import SandboxError
from rayplay.sandbox import isolation_report, require_level
report = isolation_report()
refusals = {}
for level in ("L1", "L2", "L3"):
    try:
        require_level(level)
    except SandboxError as error:
        refusals[level] = str(error)
print(json.dumps({"report": report.model_dump(mode="json"), "refusals": refusals}))
"""

DENY = """
import errno, pyseccomp
from pyseccomp import Arg, MASKED_EQ
f = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
"""
NO_LANDLOCK = (
    DENY
    + """
for name in ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"):
    f.add_rule(pyseccomp.ERRNO(errno.ENOSYS), name)
f.load()
"""
)
NO_NAMESPACES = (
    DENY
    + """
for name in ("unshare", "setns"):
    f.add_rule(pyseccomp.ERRNO(errno.EPERM), name)
f.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000):
    f.add_rule(pyseccomp.ERRNO(errno.EPERM), "clone", Arg(0, MASKED_EQ, flag, flag))
f.load()
"""
)
NO_SECCOMP = (
    DENY
    + """
f.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "seccomp", )
f.load()
"""
)
ORDINARY_USER = """
import os, sys
if os.geteuid() == 0:
    from rayplay.sandbox.passage import open_passage
    assert open_passage([sys.prefix, sys.base_prefix, ROOT])
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
"""


def run_in_own_process(preparation: str, body: str = REPORT, **environment: str) -> dict:
    """Run code in a process that `preparation` has crippled first; its last line is JSON."""
    code = f"ROOT = {ROOT!r}\n{preparation}\n{body}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False,
        cwd="/", env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def level_of(found: dict) -> Level:
    return Level(found["report"]["level"])


def test_the_report_says_what_holds_here():
    report = isolation_report()
    promised = probe.promised(report.level)
    assert set(promised) <= set(report.held)
    assert report.why_not_higher
    assert report.uid != 0
    assert require_level(report.level) == report


def test_without_landlock_the_level_drops_and_require_refuses():
    found = run_in_own_process(NO_LANDLOCK)
    assert level_of(found) is Level.L1
    assert found["report"]["landlock_abi"] == 0
    assert set(found["refusals"]) == {"L2", "L3"}
    assert "read_outside" in found["refusals"]["L2"]
    assert "sandbox.require is L2 but only L1 holds" in found["refusals"]["L2"]


@pytest.mark.skipif(isolation_report().level < Level.L2, reason="L2 does not hold here")
def test_without_namespaces_the_level_drops_and_require_refuses():
    found = run_in_own_process(NO_NAMESPACES)
    assert level_of(found) is Level.L2
    assert set(found["refusals"]) == {"L3"}
    assert "namespaces" in found["refusals"]["L3"]


@pytest.mark.skipif(isolation_report().level < Level.L2, reason="L2 does not hold here")
def test_without_bubblewrap_the_level_drops_and_says_why(tmp_path: Path):
    found = run_in_own_process("", PATH=str(tmp_path))
    assert level_of(found) is Level.L2
    assert "bubblewrap is not installed" in found["report"]["why_not_higher"]


def test_a_bubblewrap_that_isolates_nothing_is_seen_through(tmp_path: Path):
    """A program of that name that just runs what it is given: only the canaries can tell."""
    fake = tmp_path / "bwrap"
    fake.write_text(
        '#!/bin/sh\nwhile [ "$1" != "--" ]; do shift; done\nshift\nmkdir -p /scratch 2>/dev/null\nexec "$@"\n'
    )
    fake.chmod(0o755)
    found = run_in_own_process("", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert level_of(found) < Level.L3
    Path("/scratch").rmdir() if Path("/scratch").is_dir() and not any(Path("/scratch").iterdir()) else None


def test_without_seccomp_nothing_is_promised():
    found = run_in_own_process(NO_SECCOMP)
    assert level_of(found) is Level.L0
    assert set(found["refusals"]) == {"L1", "L2", "L3"}


@pytest.mark.skipif(isolation_report().level < Level.L2, reason="L2 does not hold here")
def test_an_ordinary_user_gets_the_levels_too():
    body = REPORT.replace(
        "print(",
        """
from rayplay.sandbox.trial import run_trial
from rayplay.sandbox.hostile import programs
chosen = [p for p in programs() if p.family in ("files", "processes", "secrets") or p.name == "small_thread_stacks"]
not_held = [v for v in run_trial(report.level, chosen, (ROOT,)) if v.outcome != "held"]
print(""",
    ).replace('"refusals": refusals', '"refusals": refusals, "not_held": not_held')
    found = run_in_own_process(ORDINARY_USER, body)
    assert level_of(found) >= Level.L2
    assert found["not_held"] == []


def test_an_unknown_level_is_an_error():
    with pytest.raises((SandboxError, ValueError)):
        require_level("L9")
