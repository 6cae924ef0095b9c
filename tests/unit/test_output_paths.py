"""Paths that cannot be written to are refused in one line, before any work, by every command that takes one."""

import sys
from pathlib import Path

import pytest

from rayplay import cli
from rayplay.errors import RunFolderError
from rayplay.output_paths import check_output_file, check_output_folder
from rayplay.store import RunFolder
from rayplay.training.export import export_stage

LONG = "n" * 300


@pytest.fixture
def refused(tmp_path: Path) -> list[tuple[Path, str]]:
    (tmp_path / "file").write_text("")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    return [
        (Path("/proc/out"), "not writable"),
        (Path("/proc/out/deep/er"), "not writable"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "run", "is a file"),
        (tmp_path / "nowhere" / "run", "link to nowhere"),
        (tmp_path / LONG, "too long"),
        (tmp_path / "missing" / LONG / "run", "too long"),
        (tmp_path / "/".join(["part"] * 1000), "too long"),
        (tmp_path / "a\0b", "NUL"),
    ]


def test_folders_that_cannot_be_made_are_named_with_the_reason(refused: list, tmp_path: Path) -> None:
    for path, reason in refused:
        with pytest.raises(RunFolderError, match=reason) as caught:
            check_output_folder(path)
        assert "\n" not in str(caught.value) and "choose another --output-dir" in str(caught.value)
        with pytest.raises(RunFolderError, match=reason):
            check_output_file(path / "rows.jsonl", "OUT")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "nowhere"]


def test_every_writer_of_a_folder_refuses_it(refused: list) -> None:
    for path, reason in refused:
        with pytest.raises(RunFolderError, match=reason):
            RunFolder(path).check_writable()
        with pytest.raises(RunFolderError, match=reason):
            export_stage(RunFolder("no-run"), path / "to")


def test_folders_that_can_be_made_leave_no_trace(tmp_path: Path) -> None:
    check_output_folder(tmp_path)
    check_output_folder(tmp_path / "new" / "deeper")
    check_output_file(tmp_path / "new" / "rows.jsonl", "OUT")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RunFolderError, match="it is a folder"):
        check_output_file(tmp_path, "OUT")


COMMANDS = [
    ["data", "convert", "configs/test_cases.json", "{}/rows.jsonl"],
    ["generate-data", "configs/quickstart.json", "--output-dir", "{}"],
    ["export", "no-run", "--to", "{}/to"],
    ["bench", "train", "--grid", "--plot", "{}/plot.svg"],
    ["bench", "chaos", "--folder", "{}"],
    ["bfcl", "--root", "{}", "--", "test-categories"],
    ["tools", "new", "parcel", "--folder", "{}"],
    ["evaluate", "--bfcl", "simple_python", "--gold", "--output-dir", "{}"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: " ".join(c[:2]))
@pytest.mark.parametrize("bad", ["/proc/out", "{tmp}/file/run", "{tmp}/" + LONG])
def test_commands_end_with_one_line_and_code_two(
    command: list[str], bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    path = bad.replace("{tmp}", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["rayplay", *(part.replace("{}", path) for part in command)])
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr()
    assert ended.value.code == 2, told.err
    assert told.err.count("\n") == 1 and told.err.startswith("rayplay: output") and told.out == ""
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_refused_path_that_nobody_foresaw_is_one_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(cli, "app", lambda: (tmp_path / LONG).read_bytes())
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert ended.value.code == 2 and told.count("\n") == 1 and "too long" in told
