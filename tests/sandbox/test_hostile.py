"""Hostile programs of every family at every level, with a good call after each."""

from pathlib import Path

import pytest

from rayplay.sandbox import Level
from rayplay.sandbox.hostile import programs
from rayplay.sandbox.trial import run_trial

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(240)]
FAMILIES = sorted({program.family for program in programs()})
ROOT = str(Path(__file__).parents[2])


def test_there_are_at_least_five_programs_of_each_of_eleven_families():
    for family in FAMILIES:
        assert len([p for p in programs() if p.family == family]) >= 5, family
    assert len(FAMILIES) == 11
    assert len(programs()) >= 100
    assert len({(p.family, p.name) for p in programs()}) == len(programs())


@pytest.mark.parametrize("family", FAMILIES)
def test_hostile_programs_are_held(level: Level, family: str):
    chosen = [p for p in programs() if p.family == family and p.held_from <= level]
    not_held = [v for v in run_trial(level, chosen, (ROOT,)) if v.outcome != "held"]
    assert not not_held
