"""The isolation report in words: what does not hold, what could not be tested, what a call can fill."""

from rayplay.sandbox.levels import Level, Limits
from rayplay.sandbox.report import RETRY, STEPS, Untested, next_step, refusal, scratch_bound

LIMITS = Limits(scratch_bytes=8 << 20, scratch_files=30, file_bytes=1 << 20, open_files=10)


def test_a_level_holds_where_every_promise_does():
    assert refusal(Level.L2, {"network": "", "memory": ""}) == ""


def test_what_got_through_is_told_with_what_to_do_and_before_what_could_not_be_tried():
    why = refusal(Level.L2, {"network": "got 'x'", "memory": Untested("too slow"), "time": ""})
    assert why.startswith("L2 does not hold: network got 'x'") and why.endswith(STEPS[Level.L2])
    assert "memory" not in why


def test_what_could_not_be_tried_is_no_breach():
    why = refusal(Level.L1, {"network": "", "memory": Untested("too slow")})
    assert why == f"L1 could not be tested: memory (too slow){RETRY}"


def test_advice_is_not_given_twice():
    assert next_step(Level.L3, "bubblewrap is not installed; install it") == ""
    assert next_step(Level.L3, "no permission") == STEPS[Level.L3]


def test_the_bound_of_a_scratch_is_that_of_whoever_keeps_it(monkeypatch, tmp_path):
    mappings = tmp_path / "max_map_count"
    mappings.write_text("2008\n")
    monkeypatch.setattr("rayplay.sandbox.report.MAPPINGS", mappings)
    assert scratch_bound({"isolated": True}, Level.L1, LIMITS).startswith("8 MiB and 30 names")
    assert "20 ms" in scratch_bound({"isolated": False, "counted": True}, Level.L2, LIMITS)
    counted_in_vain = scratch_bound({"isolated": False, "counted": True}, Level.L2, LIMITS, nameless=False)
    assert "20 ms" not in counted_in_vain and "at most" in counted_in_vain
    assert "at most 2 GiB: 1 MiB for each file" in scratch_bound({"isolated": False}, Level.L2, LIMITS)
    assert scratch_bound({}, Level.L0, LIMITS) == "nothing bounds it"
