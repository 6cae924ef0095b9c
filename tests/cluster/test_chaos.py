"""Thirty faults at random times, in a real run over a local Ray: nothing lost, nothing doubled, the same pairs."""

import pytest

from rayplay.chaos.lane import run_lane

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def test_thirty_faults_lose_and_double_nothing(tmp_path):
    found = run_lane(tmp_path, kills=30, seed=1, tasks=16, rounds=1, mean_pause_s=0.4, tell=print)
    assert found["kills"] >= 30 and len(found["by_kind"]) >= 5
    assert {name: found[name] for name in ("lost", "doubled", "quarantined", "left_running")} == {
        "lost": 0, "doubled": 0, "quarantined": 0, "left_running": 0,
    }  # fmt: skip
    assert found["pairs_equal"]
