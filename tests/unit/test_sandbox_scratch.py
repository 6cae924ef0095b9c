"""Folders of owners that have gone are removed by the next owner; those in use are left alone."""

import os
import tempfile
from pathlib import Path

import pytest

from rayplay.sandbox.folders import make_folder


def test_abandoned_folders_are_removed_and_used_ones_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    abandoned, released = make_folder("p-")
    (abandoned / "left").mkdir()
    (abandoned / "link").symlink_to("/etc")
    used, held = make_folder("p-")
    assert abandoned.exists()
    os.close(released)
    new, held_too = make_folder("p-")
    assert set(tmp_path.iterdir()) == {used, new}
    os.close(held)
    os.close(held_too)
