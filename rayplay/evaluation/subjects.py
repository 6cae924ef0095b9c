"""What stands behind --model-path -> the policies to evaluate: a label, a model folder, and perhaps an adapter.

A name or a folder with a model is one policy, "base". A PEFT folder is two: its base and "tuned". A run folder is its
base and every committed stage that trained something; the last of them is the one that "tuned" means.
"""

import json
from pathlib import Path
from typing import NamedTuple

from rayplay.errors import ModelError, RunFolderError
from rayplay.models.adapters import check_adapter, read_adapter
from rayplay.models.resolve import model_hash, resolve_model
from rayplay.records import Adapter, Json
from rayplay.store import RunFolder

ADAPTER_CONFIG = "adapter_config.json"


class Subject(NamedTuple):
    """One policy. `stage` is the run folder's committed stage that it was the policy of, if any."""

    label: str
    model_dir: str
    adapter_dir: str = ""  # PEFT, or full weights without a tokenizer
    stage: str = ""

    def adapter(self) -> Adapter | None:
        """The adapter's files; None for a model as it is."""
        return read_adapter(self.adapter_dir, self.label) if self.adapter_dir else None

    @property
    def weights_dir(self) -> str:
        """The folder whose weights an engine loads: the model's, or the full weights that a stage trained."""
        return self.model_dir if self.lora_dir or not self.adapter_dir else self.adapter_dir

    @property
    def lora_dir(self) -> str:
        """The PEFT folder on top of these weights, or ""."""
        return self.adapter_dir if (Path(self.adapter_dir or "/nowhere") / ADAPTER_CONFIG).is_file() else ""


def is_run_folder(path: str) -> bool:
    """Whether a run left its manifest here."""
    return bool(path) and (Path(path) / "manifest.json").is_file()


def read_subjects(path: str) -> list[Subject]:
    """All policies behind a path, the untrained one first.

    Raises:
        RunFolderError: A run folder whose manifest cannot be read.
        ModelError: No such model, or an adapter that is damaged or whose base is not here.
    """
    if is_run_folder(path):
        return _of_run(Path(path))
    if (Path(path) / ADAPTER_CONFIG).is_file():
        return _of_adapter(Path(path))
    return [base_subject(path)]


def base_subject(name: str) -> Subject:
    """A model as it is."""
    return Subject("base", str(resolve_model(name)))


def first_and_last(subjects: list[Subject]) -> list[Subject]:
    """Base and tuned alone: what an expensive benchmark is run on."""
    if len(subjects) < 2:
        return subjects
    return [subjects[0], subjects[-1]._replace(label="tuned")]


def describe(subjects: list[Subject]) -> Json:
    """{label: {"model", "adapter", "hashes"}}: which weights an evaluation is about."""
    folders = {s.label: [folder for folder in (s.model_dir, s.adapter_dir) if folder] for s in subjects}
    hashes = {folder: model_hash(folder) for found in folders.values() for folder in found}
    return {
        s.label: {"model": s.model_dir, "adapter": s.adapter_dir, "hashes": [hashes[f] for f in folders[s.label]]}
        for s in subjects
    }


def _of_adapter(path: Path) -> list[Subject]:
    described = path / ADAPTER_CONFIG
    try:
        name = json.loads(described.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError):
        name = None
    if not isinstance(name, str):
        raise ModelError(f"{described} names no base model; write its folder as base_model_name_or_path")
    try:
        base = base_subject(name)
    except ModelError as error:
        raise ModelError(f"{described} names a base that is not here: {error}") from error
    check_adapter(path)
    return [base, base._replace(label="tuned", adapter_dir=str(path.absolute()))]


def _of_run(path: Path) -> list[Subject]:
    folder = RunFolder(path)
    try:
        model = folder.manifest()["recipe"]["model"]
        name, revision = model["name"], model.get("revision")
    except (KeyError, TypeError) as error:
        raise RunFolderError(f"{folder.manifest_path} names no model; is this a run folder?") from error
    base = Subject("base", str(resolve_model(name, revision)))
    stages = folder.stages()
    if any(stage.name == base.label for stage in stages):
        base = base._replace(stage=base.label)
    trained = [
        Subject(stage.name, base.model_dir, str((stage.path / "adapter").absolute()), stage.name)
        for stage in stages
        if (stage.path / "adapter").is_dir()
    ]
    for subject in trained:
        check_adapter(Path(subject.adapter_dir))
    return [base, *trained]
