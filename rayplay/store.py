"""The run folder: the only durable state of a run.

    manifest.json                       what the run depends on
    tasks/{train,held_out,demonstrations}.jsonl
    STAGE/                              base, sft, round-001, ...
      plan.jsonl                        groups, ids, seeds: written before the first sample
      trajectories/shard-000.jsonl      sealed: its hash stands beside it
      pairs.jsonl  adapter/  metrics.json  ...
      COMMIT.json                       files + hashes; its existence means: the stage is done
    report.json  report.html

One writer. Every file appears whole: staging name, fsync, rename. A file whose hash does not fit is never loaded.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, TypeVar

from pydantic import BaseModel, ValidationError

from rayplay.credentials import redact_bytes, without_secrets
from rayplay.errors import RunFolderError
from rayplay.folder_check import check_inside, check_names, left_behind
from rayplay.output_paths import check_output_folder
from rayplay.records import Adapter

R = TypeVar("R", bound=BaseModel)

COMMIT = "COMMIT.json"
WORKERS = "workers"  # how many rollout workers a running run is asked for, by another process
# Of a stage, written after the fact and never committed: its trajectories under other rewards, and other pairs of them
RESCORED, PAIRED_AGAIN = "rescored.jsonl", "paired_again.jsonl"
MEASURED = ("evaluation", "metrics.json")  # of a stage: what depends on its weights and nothing depends on
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700  # tasks, transcripts and settings are the owner's alone
READ = (".safetensors", ".json")  # of an adapter
BINARY = (".safetensors",)  # holds no text to redact
FAULT = "RAYPLAY_FAULT"  # name of a crash point; the process kills itself there (tests of resumption)


def fault_point(name: str) -> None:
    """Die by SIGKILL where the environment names this point; nothing otherwise."""
    if os.environ.get(FAULT) == name:
        os.kill(os.getpid(), signal.SIGKILL)


def write_file(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> str:
    """Write a file so that it is seen whole or not at all; returns its SHA-256.

    What the environment's secrets hold is never written: their names stand in its place. Other accounts cannot read the
    file, unless `mode` lets them.

    Raises:
        RunFolderError: The disk is full or the folder not writable; the former content is intact.
    """
    staging = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if path.suffix not in BINARY:
        content = redact_bytes(content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fault_point(f"{path.name}:staged")
        staging.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except OSError as error:
        staging.unlink(missing_ok=True)
        raise RunFolderError(
            f"cannot write {path}: {error.strerror}; free some space or choose --output-dir"
        ) from error
    return hashlib.sha256(content).hexdigest()


def write_json(path: Path, value: Any) -> str:
    """Write a JSON value, readable by people; returns its SHA-256."""
    return write_file(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def write_lines(path: Path, records: Iterable[BaseModel]) -> str:
    """Write records as JSON lines; returns the SHA-256."""
    return write_file(path, "".join(record.model_dump_json() + "\n" for record in records).encode())


def read_lines(path: Path, kind: type[R]) -> list[R]:
    """Records of a JSON lines file.

    Raises:
        RunFolderError: A line is no such record; names the file and the line.
    """
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            records.append(kind.model_validate_json(line))
        except ValidationError as error:
            raise RunFolderError(f"{path}: line {number} is no {kind.__name__}; the file is damaged") from error
    return records


def write_marked(path: Path, records: Iterable[BaseModel]) -> None:
    """Write records as JSON lines with their hash beside them, written last: `read_marked` trusts nothing else."""
    sha = write_lines(path, records)
    fault_point(f"{path.parent.name}:{path.stem}_without_hash")
    _write_mark(path, sha)


def read_marked(path: Path, kind: type[R]) -> list[R] | None:
    """Records of a marked file; None where there is none, or where its hash does not fit."""
    return read_lines(path, kind) if _fits_mark(path, file_hash(path)) else None


def file_hash(path: Path) -> str:
    """SHA-256 of a file; "" where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _mark(path: Path) -> Path:
    return path.with_name(f"{path.stem}.sha256")


def _write_mark(path: Path, sha: str) -> None:
    write_file(_mark(path), f"{sha}\n".encode())


def _fits_mark(path: Path, sha: str) -> bool:
    return path.exists() and _mark(path).is_file() and _mark(path).read_text(errors="replace").strip() == sha


def _folder_hash(folder: Path) -> str:
    """SHA-256 over the names and hashes of a folder's files."""
    names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    return hashlib.sha256(json.dumps([(name, file_hash(folder / name)) for name in names]).encode()).hexdigest()


class Stage:
    """One stage's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    @property
    def committed(self) -> bool:
        """Whether the stage is done."""
        return (self.path / COMMIT).is_file()

    def commit(self, **facts: Any) -> None:
        """Declare the stage done: every file with its hash, and `facts` (seconds, counts)."""
        fault_point(f"{self.name}:before_commit")
        files = {str(p.relative_to(self.path)): file_hash(p) for p in self._files()}
        write_json(self.path / COMMIT, {"stage": self.name, **facts, "files": files})
        fault_point(f"{self.name}:after_commit")

    def facts(self) -> dict[str, Any]:
        """What was committed."""
        return json.loads((self.path / COMMIT).read_text())

    def damaged(self) -> list[str]:
        """Committed files that are missing or whose hash does not fit, and the commit itself where it is unreadable.

        Raises:
            RunFolderError: The commit names a file outside of the stage.
        """
        try:
            files = self.facts()["files"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return [COMMIT]
        if not isinstance(files, dict):
            return [COMMIT]
        check_names(files, self.path / COMMIT)
        return [name for name, sha in files.items() if file_hash(self.path / name) != sha]

    def seal(self, records: Iterable[BaseModel], folder: str = "trajectories") -> None:
        """Write records as the next shard of a folder. The shard counts only with its hash, which is written last."""
        number = len(list((self.path / folder).glob("shard-*.jsonl")))
        path = self.path / folder / f"shard-{number:03d}.jsonl"
        fault_point(f"{self.name}:before_shard_{number}")
        sha = write_lines(path, records)
        fault_point(f"{self.name}:shard_{number}_without_hash")
        _write_mark(path, sha)
        fault_point(f"{self.name}:after_shard_{number}")

    def shards(self, folder: str = "trajectories") -> list[Path]:
        """Files of sealed shards, in order."""
        found = sorted((self.path / folder).glob("shard-*.jsonl"))
        return [path for path in found if _fits_mark(path, file_hash(path))]

    def sealed(self, kind: type[R], folder: str = "trajectories") -> list[R]:
        """Records of all intact shards, in order. A shard without a fitting hash is deleted: it was never sealed."""
        records: list[R] = []
        for path in sorted((self.path / folder).glob("shard-*.jsonl")):
            found = read_marked(path, kind)
            if found is None:
                path.unlink()
                _mark(path).unlink(missing_ok=True)
                continue
            records += found
        self._renumber(folder)
        return records

    def write_adapter(self, adapter: Adapter) -> None:
        """Keep an adapter's files under adapter/; the folder appears whole."""
        staging = self.path / ".adapter.tmp"
        shutil.rmtree(staging, ignore_errors=True)
        for name, content in adapter.files.items():
            write_file(staging / name, content)
        fault_point(f"{self.name}:adapter_staged")
        folder = self.path / "adapter"
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
        fault_point(f"{self.name}:adapter_without_hash")
        _write_mark(folder, _folder_hash(folder))

    def read_adapter(self) -> Adapter | None:
        """The adapter of this stage; None where it trained nothing, or where the files are not those that were kept."""
        folder = self.path / "adapter"
        if not folder.is_dir() or not _fits_mark(folder, _folder_hash(folder)):
            return None
        files = {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.suffix in READ}  # never a pickle
        return Adapter(version=self.name, files=files)

    def drop_derived(self, damaged: list[str]) -> None:
        """Remove what was made from damaged files: all but the plan and the shards, or the evaluation alone."""
        if any(name != COMMIT and not name.startswith(MEASURED) for name in damaged):
            for name in ("pairs.jsonl", "rows.jsonl", "training.json", "adapter", "adapter.sha256", "training"):
                _remove(self.path / name)
        for name in MEASURED:
            _remove(self.path / name)

    def _files(self) -> list[Path]:
        found = sorted(p for p in self.path.rglob("*") if p.is_file())
        own = [p for p in found if p.name not in (COMMIT, RESCORED, PAIRED_AGAIN)]
        return [p for p in own if not any(part.endswith(".tmp") for part in p.parts)]

    def _renumber(self, folder: str) -> None:
        """Close gaps that a dropped shard left, so that the next one does not overwrite an intact one."""
        for number, path in enumerate(sorted((self.path / folder).glob("shard-*.jsonl"))):
            target = path.with_name(f"shard-{number:03d}.jsonl")
            if path != target:
                _mark(path).rename(_mark(target))
                path.rename(target)


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock: IO[str] | None = None  # held until the process ends

    @property
    def manifest_path(self) -> Path:
        """Where the manifest stands; its existence means that the run was started."""
        return self.path / "manifest.json"

    def manifest(self) -> dict[str, Any]:
        """What the run depends on; a secret that an older version wrote there is left out.

        Raises:
            RunFolderError: There is none, it is damaged, or the folder reaches outside of itself.
        """
        check_inside(self.path)
        try:
            found = without_secrets(json.loads(self.manifest_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise RunFolderError(f"{self.path}: no readable manifest.json; is this a run folder?") from error
        if not isinstance(found, dict) or not isinstance(found.get("recipe", {}), dict):
            raise RunFolderError(f"{self.path}: its manifest.json names no model and no recipe; is this a run folder?")
        return found

    @property
    def started(self) -> bool:
        """Whether there is a manifest that is what was written."""
        return _fits_mark(self.manifest_path, file_hash(self.manifest_path))

    def claim(self) -> None:
        """Be the one writer of this folder until this process ends, and sweep what a killed one left half written.

        Raises:
            RunFolderError: Another process writes into it, or it reaches outside of itself.
        """
        if self._lock:
            return
        check_inside(self.path)
        self.path.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        self._lock = open(os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, PRIVATE_FILE), "w")  # noqa: SIM115
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock = None
            raise RunFolderError(
                f"{self.path}: another run is writing there; wait for it, or choose another --output-dir"
            ) from None
        for rubbish in (*left_behind(self.path), self.path / WORKERS):
            _remove(rubbish)

    @property
    def busy(self) -> bool:
        """Whether a process is writing into this folder now."""
        try:
            with (self.path / ".lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # no such file
            return False
        return False

    def ask_for_workers(self, number: int) -> None:
        """Ask the process that writes into this folder for so many rollout workers.

        Raises:
            RunFolderError: There is no such process.
        """
        if not self.busy:
            raise RunFolderError(
                f"{self.path}: no run is going there; start it with --set rollout.num_workers={number}"
            )
        write_file(self.path / WORKERS, f"{number}\n".encode())

    def workers_asked_for(self) -> int | None:
        """What `ask_for_workers` asked for last; None where nobody did since the folder was claimed."""
        try:
            return int((self.path / WORKERS).read_text())
        except (OSError, ValueError):
            return None

    def begin(self, manifest: dict[str, Any]) -> None:
        """Write the manifest: from now on the folder belongs to this recipe."""
        fault_point("manifest:before")
        self.path.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        sha = write_json(self.manifest_path, manifest)
        fault_point("manifest:without_hash")
        _write_mark(self.manifest_path, sha)

    def stage(self, name: str) -> Stage:
        """A stage by name."""
        return Stage(self.path / name)

    def stages(self) -> list[Stage]:
        """Committed stages, first to last."""
        found = [Stage(p.parent) for p in self.path.glob(f"*/{COMMIT}")]
        return sorted(found, key=lambda s: stage_order(s.name))

    def check_writable(self) -> None:
        """Refuse a folder that cannot be written or reaches outside of itself, before anything is started.

        Raises:
            RunFolderError: Naming the folder and the reason.
        """
        check_output_folder(self.path)
        check_inside(self.path)

    def mend(self) -> list[str]:
        """Undo every stage from the first damaged one on; returns what was found, for the log.

        The damaged stage loses its commit and its damaged files, so that its intact shards are used again. Later
        stages rest on weights that may come out differently now, so they are set aside, not deleted.
        """
        check_inside(self.path)
        stages = self.stages()
        damages = [stage.damaged() for stage in stages]  # all are read before anything is removed
        for index, (stage, damaged) in enumerate(zip(stages, damages, strict=True)):
            if not damaged:
                continue
            for name in damaged:
                _remove(stage.path / name)
            stage.drop_derived(damaged)
            (stage.path / COMMIT).unlink(missing_ok=True)
            later = [s for s in self._all_stages() if stage_order(s.name) > stage_order(stage.name)]
            for other in later:
                target = self.path / "set-aside" / f"{int(time.time())}-{other.name}"
                target.parent.mkdir(exist_ok=True)
                shutil.move(other.path, target)
            return [f"{stages[index].name}/{name}" for name in damaged]
        return []

    def _all_stages(self) -> list[Stage]:
        found = [Stage(p) for p in self.path.iterdir() if p.is_dir()]
        return [s for s in found if s.name in ("base", "sft") or s.name.startswith("round-")]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def stage_order(name: str) -> tuple[int, str]:
    """Sort key: base, sft, then rounds by number."""
    return ({"base": 0, "sft": 1}.get(name, 2), name)


def round_name(number: int) -> str:
    """Folder name of a round, counted from 1."""
    return f"round-{number:03d}"
