import os

import pytest

from rayplay.errors import RunFolderError
from rayplay.records import Adapter, Row
from rayplay.store import RESCORED, RunFolder, Stage, read_lines, stage_order, write_file, write_lines

ROWS = [Row(row_id=f"r{i}", token_ids=(1, 2), mask=(0, 1)) for i in range(4)]


def test_a_sealed_shard_is_read_back_and_an_unsealed_one_is_dropped(tmp_path):
    stage = Stage(tmp_path / "round-001")
    stage.seal(ROWS[:2])
    stage.seal(ROWS[2:])
    (stage.path / "trajectories/shard-000.sha256").unlink()
    assert stage.sealed(Row) == ROWS[2:]
    stage.seal(ROWS[:1])
    assert stage.sealed(Row) == [*ROWS[2:], *ROWS[:1]]


@pytest.mark.parametrize("damage", ["flip", "truncate", "append"])
def test_a_damaged_shard_is_never_loaded(tmp_path, damage):
    stage = Stage(tmp_path / "round-001")
    stage.seal(ROWS)
    path = stage.path / "trajectories/shard-000.jsonl"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[9] ^= 1
    changed = {"flip": content, "truncate": content[:-5], "append": content + b"{}\n"}[damage]
    path.write_bytes(bytes(changed))
    assert stage.sealed(Row) == []


def test_a_commit_knows_every_file_and_notices_what_is_missing_or_changed(tmp_path):
    stage = Stage(tmp_path / "base")
    write_lines(stage.path / "a.jsonl", ROWS)
    write_lines(stage.path / "b.jsonl", ROWS)
    stage.commit(seconds=1.0)
    assert stage.committed and stage.damaged() == [] and stage.facts()["seconds"] == 1.0
    (stage.path / "a.jsonl").unlink()
    (stage.path / "b.jsonl").write_text("x")
    assert sorted(stage.damaged()) == ["a.jsonl", "b.jsonl"]


def test_scoring_anew_never_damages_a_commit(tmp_path):
    stage = Stage(tmp_path / "round-001")
    stage.seal(ROWS)
    write_lines(stage.path / RESCORED, ROWS[:1])
    stage.commit()
    write_lines(stage.path / RESCORED, ROWS[1:])
    assert stage.damaged() == []


def test_a_folder_has_one_writer_who_may_claim_it_twice(tmp_path):
    folder, other = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    folder.claim()
    folder.claim()
    for _ in range(2):
        with pytest.raises(RunFolderError, match="another run is writing there"):
            other.claim()


def test_mending_undoes_the_damaged_stage_and_sets_later_ones_aside(tmp_path):
    folder = RunFolder(tmp_path)
    for name in ("base", "sft", "round-001", "round-002"):
        stage = folder.stage(name)
        write_lines(stage.path / "x.jsonl", ROWS)
        stage.commit()
    (tmp_path / "sft/x.jsonl").write_text("broken")
    assert folder.mend() == ["sft/x.jsonl"]
    assert [s.name for s in folder.stages()] == ["base"]
    assert len(list((tmp_path / "set-aside").iterdir())) == 2
    assert folder.mend() == []


def test_an_adapter_appears_whole(tmp_path):
    stage = Stage(tmp_path / "sft")
    assert stage.read_adapter() is None
    adapter = Adapter(version="sft", files={"adapter_config.json": b"{}", "adapter_model.safetensors": b"\x00\x01"})
    stage.write_adapter(adapter)
    assert stage.read_adapter() == adapter


def test_a_write_that_fails_leaves_the_former_content_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_file(path, b"before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunFolderError, match="No space left"):
        write_file(path, b"after")
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_an_unreadable_line_names_file_and_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(ROWS[0].model_dump_json() + "\n{broken\n")
    with pytest.raises(RunFolderError, match="line 2"):
        read_lines(path, Row)


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="is a file"):
        RunFolder(tmp_path / "file" / "run").check_writable()


def test_stages_are_ordered_as_they_happen():
    assert sorted(["round-002", "sft", "round-001", "base"], key=stage_order) == [
        "base",
        "sft",
        "round-001",
        "round-002",
    ]


def test_damage_takes_what_was_made_from_it_and_keeps_intact_shards(tmp_path):
    stage = RunFolder(tmp_path).stage("round-001")
    stage.seal(ROWS[:2])
    stage.seal(ROWS[2:])
    for name in ("pairs.jsonl", "evaluation/shard-000.jsonl", "metrics.json"):
        write_lines(stage.path / name, ROWS)
    stage.write_adapter(Adapter(version="round-001", files={"adapter_model.safetensors": b"x"}))
    stage.commit()
    (stage.path / "metrics.json").write_text("broken")
    assert RunFolder(tmp_path).mend() == ["round-001/metrics.json"]
    assert stage.read_adapter() is not None and not (stage.path / "evaluation").exists()
    stage.commit()
    (stage.path / "trajectories/shard-000.jsonl").write_text("broken")
    RunFolder(tmp_path).mend()
    assert stage.read_adapter() is None and not (stage.path / "pairs.jsonl").exists()
    assert stage.sealed(Row) == ROWS[2:]
