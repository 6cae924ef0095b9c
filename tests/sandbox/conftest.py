"""Which levels this machine has, asked once; a sandbox of the sample tools at each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rayplay.records import ToolCall, ToolResult
from rayplay.sandbox import Level, Limits, Sandbox, isolation_report

HERE = str(Path(__file__).parent)
LEVELS = [Level.L1, Level.L2, Level.L3, Level.L4]


@pytest.fixture(scope="session", params=LEVELS, ids=str)
def level(request: pytest.FixtureRequest) -> Level:
    """Every level; those that do not hold here skip with the reason."""
    report = isolation_report(max(Level.L3, request.param))
    if request.param > report.level:
        pytest.skip(f"{request.param} does not hold here: {report.why_not_higher}")
    return request.param


@pytest.fixture(scope="session")
def sandbox(level: Level) -> Iterator[Sandbox]:
    """The sample tools at a level."""
    limits = Limits(queue_s=120, output_bytes=16 * 1024)
    with Sandbox(("sample_tools",), level=level, limits=limits, search_paths=(HERE,), size=2) as opened:
        yield opened


class Caller:
    """`call("double", x=2)`: one call, by name."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.specs = {spec.name: spec for spec in sandbox.describe()}

    def __call__(self, name: str, *, state: str | None = None, deadline: float | None = None, **given) -> ToolResult:
        return self.sandbox.run(self.specs[name], ToolCall(call_id="1", name=name, arguments=given), state=state,
                                deadline_s=deadline)  # fmt: skip


@pytest.fixture
def call(sandbox: Sandbox) -> Caller:
    """Calls a sample tool."""
    return Caller(sandbox)
