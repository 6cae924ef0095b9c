"""What stands behind --model-path -> the policies to evaluate: a label, a model folder, and perhaps an adapter.

A name or a folder with a model is one policy, "base". A PEFT folder is two: its base and "tuned". A run folder is its
base and every committed stage that trained something; the last of them is the one that "tuned" means.
"""

import json
from pathlib import Path
from typing import NamedTuple

from rayplay.errors import EvaluationError
from rayplay.models.adapters import read_adapter
from rayplay.models.resolve import resolve_model
from rayplay.records import Adapter
from rayplay.store import RunFolder


class Subject(NamedTuple):
    """One policy. `stage` is the run folder's stage that made it, if any."""

    label: str
    model_dir: str
    adapter_dir: str = ""
    stage: str = ""

    def adapter(self) -> Adapter | None:
        """The adapter's files; None for a model as it is."""
        return read_adapter(self.adapter_dir, self.label) if self.adapter_dir else None


def is_run_folder(path: str) -> bool:
    """Whether a run left its manifest here."""
    return (Path(path) / "manifest.json").is_file()


def read_subjects(path: str) -> list[Subject]:
    """All policies behind a path, the untrained one first.

    Raises:
        EvaluationError: A run folder without a trained stage and without a base.
        ModelError: No such model.
    """
    if is_run_folder(path):
        return _of_run(Path(path))
    described = Path(path) / "adapter_config.json"
    if described.is_file():
        base = json.loads(described.read_text(encoding="utf-8"))["base_model_name_or_path"]
        return [base_subject(base), Subject("tuned", str(resolve_model(base)), str(Path(path).absolute()))]
    return [base_subject(path)]


def base_subject(name: str) -> Subject:
    """A model as it is."""
    return Subject("base", str(resolve_model(name)))


def first_and_last(subjects: list[Subject]) -> list[Subject]:
    """Base and tuned alone: what an expensive benchmark is run on."""
    if len(subjects) < 2:
        return subjects
    return [subjects[0], subjects[-1]._replace(label="tuned")]


def _of_run(path: Path) -> list[Subject]:
    folder = RunFolder(path)
    name = folder.manifest()["recipe"]["model"]["name"]
    base = base_subject(name)._replace(stage="base")
    trained = []
    for stage in folder.stages():
        weights = stage.path / "adapter"
        if (weights / "adapter_config.json").is_file():
            trained.append(Subject(stage.name, base.model_dir, str(weights.absolute()), stage.name))
        elif weights.is_dir():
            raise EvaluationError(f"{weights} holds full weights; give that folder itself as --model-path")
    return [base, *trained]
