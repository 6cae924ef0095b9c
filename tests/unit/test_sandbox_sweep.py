"""A scratch is weighed and emptied by open folders alone: whatever takes the place of one meanwhile leads nowhere."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayplay.sandbox import folders, scratch


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder outside, with a file in it and a mode of its own."""
    folder = tmp_path / "outside"
    folder.mkdir(mode=0o755)
    (folder / "kept").write_text("kept")
    return folder


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A scratch folder."""
    folder = tmp_path / "box"
    folder.mkdir()
    scratch.give(folder, -1)
    return folder


def unharmed(victim: Path) -> bool:
    return (victim / "kept").read_text() == "kept" and victim.stat().st_mode & 0o777 == 0o755


def once(action: Callable[[], None]) -> Callable[[], None]:
    waiting = [action]
    return lambda: waiting.pop()() if waiting else None


def before(monkeypatch: pytest.MonkeyPatch, name: str, action: Callable[[], None]) -> None:
    """Do something right before a function of `os` is next called."""
    original, acting = getattr(os, name), once(action)

    def wrapped(*args, **kwargs):
        acting()
        return original(*args, **kwargs)

    monkeypatch.setattr(os, name, wrapped)


def test_a_tree_with_links_closed_folders_and_depth_is_emptied(box: Path, victim: Path):
    here = os.getcwd()
    os.chdir(box)
    try:
        for _ in range(1200):  # deeper than a path may be long, and than Python recurses
            os.mkdir("deep")
            os.chdir("deep")
    finally:
        os.chdir(here)
    (box / "link").symlink_to(victim)
    closed = box / "closed"
    closed.mkdir()
    (closed / "file").write_text("x")
    (closed / "link").symlink_to(victim)
    closed.chmod(0)
    box.chmod(0)
    assert scratch.sweep(box, scratch.identity(box))
    assert os.listdir(box) == [] and box.stat().st_mode & 0o777 == scratch.MODE
    assert unharmed(victim)


def test_a_scratch_that_became_a_link_is_not_swept(box: Path, victim: Path):
    expected = scratch.identity(box)
    box.rmdir()
    box.symlink_to(victim)
    assert not scratch.sweep(box, expected)
    assert not scratch.is_empty(box, expected)
    assert unharmed(victim)


@pytest.mark.parametrize("name", ["lstat", "open", "fchmod", "listdir", "unlink", "rmdir"])
def test_a_link_that_takes_a_folders_place_during_the_sweep_leads_nowhere(
    box: Path, victim: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    (box / "folder" / "below").mkdir(parents=True)
    (box / "folder" / "file").write_text("x")
    expected = scratch.identity(box)

    def swap() -> None:
        (box / "folder").rename(box / "aside")
        (box / "folder").symlink_to(victim)

    before(monkeypatch, name, swap)
    scratch.sweep(box, expected)
    monkeypatch.undo()
    assert unharmed(victim)
    assert scratch.sweep(box, expected) and os.listdir(box) == []


def test_a_folder_moved_out_during_the_sweep_takes_the_sweep_nowhere(
    box: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
):
    """On the way up, ".." would be the folder that it was moved to, with a namesake of what is still to be removed."""
    (box / "first" / "inner").mkdir(parents=True)
    (box / "first" / "other").mkdir()
    for name in ("inner", "other"):
        (victim / name).mkdir()
        (victim / name / "kept").write_text("kept")
    expected = scratch.identity(box)

    original, seen = os.listdir, []

    def listdir(folder):
        seen.append(folder)
        if len(seen) == 3:  # inside one of the two
            for name in ("inner", "other"):
                (box / "first" / name).rename(victim / f"moved-{name}")
        return original(folder)

    monkeypatch.setattr(os, "listdir", listdir)
    assert not scratch.sweep(box, expected)
    monkeypatch.undo()
    assert all((victim / name / "kept").read_text() == "kept" for name in ("inner", "other"))


def test_weighing_counts_what_is_inside_and_nothing_behind_links(box: Path, victim: Path):
    (victim / "large").write_bytes(b"x" * 400_000)
    (box / "link").symlink_to(victim)
    (box / "folder").mkdir()
    (box / "folder" / "file").write_bytes(b"x" * 8192)
    files, size = scratch.weigh(box, 100)
    assert files == 3 and 8192 <= size < 100_000
    assert scratch.weigh(box, 2)[0] == 3  # stops at the first too many


def test_a_link_that_takes_a_folders_place_is_not_weighed(box: Path, victim: Path, monkeypatch: pytest.MonkeyPatch):
    (victim / "large").write_bytes(b"x" * 400_000)
    (box / "folder").mkdir()

    def swap() -> None:
        (box / "folder").rename(box / "aside")
        (box / "folder").symlink_to(victim)

    original = os.open
    acting = once(swap)

    def opened(path, *args, **kwargs):
        if path == "folder":
            acting()
        return original(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", opened)
    assert scratch.weigh(box, 100)[1] < 100_000


def test_an_abandoned_folder_is_emptied_through_the_descriptor_that_holds_it(tmp_path, monkeypatch, victim):
    monkeypatch.setattr(folders.tempfile, "tempdir", str(tmp_path))
    left, held = folders.make_folder("q-")
    (left / "scratch").mkdir()
    os.close(held)
    original = scratch.empty

    def swap(top: int) -> bool:
        left.rename(tmp_path / "aside")
        left.symlink_to(victim)
        return original(top)

    monkeypatch.setattr(scratch, "empty", swap)
    new, held = folders.make_folder("q-")
    os.close(held)
    assert unharmed(victim) and new.exists()


NAMES = st.sampled_from(["a", "b", "c", "d" * 200, "\u202e", "-rf", "a\nb"])
TREES = st.recursive(
    st.sampled_from(["file", "link", "loop", "fifo", "nowhere"]),
    lambda inside: st.tuples(st.sampled_from([0, 0o111, 0o500, 0o700]), st.dictionaries(NAMES, inside, max_size=4)),
    max_leaves=12,
)


def plant(place: Path, tree: object, victim: Path) -> int:
    """Make a tree; the number of its names."""
    if isinstance(tree, tuple):
        mode, inside = tree
        place.mkdir()
        made = sum(plant(place / name, part, victim) for name, part in inside.items())
        place.chmod(mode)
        return 1 + made
    if tree == "file":
        place.write_bytes(b"x" * 5000)
    elif tree == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to({"link": victim, "loop": place, "nowhere": "/nowhere"}[tree])
    return 1


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, TREES, max_size=5))
def test_any_tree_is_emptied_and_nothing_outside_it_changes(inside: dict):
    with tempfile.TemporaryDirectory() as made:
        victim, box = Path(made, "outside"), Path(made, "box")
        for folder in (victim, box):
            folder.mkdir(mode=0o755)
        (victim / "kept").write_text("kept")
        scratch.give(box, -1)
        names = sum(plant(box / name, tree, victim) for name, tree in inside.items())
        files, _ = scratch.weigh(box, 1000)
        assert files in (names, 1001)  # folders that are closed to the one who weighs count as too many
        assert scratch.sweep(box, scratch.identity(box))
        assert scratch.is_empty(box, scratch.identity(box))
        assert unharmed(victim)
