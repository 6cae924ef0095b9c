"""What stands behind --model-path: one policy, a base and its adapter, or every stage of a run."""

import json

import pytest

from rayplay.errors import EvaluationError, ModelError
from rayplay.evaluation.subjects import first_and_last, read_subjects


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def adapter(folder, base):
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base), "r": 8}))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")


def run_folder(path, model, stages):
    path.mkdir()
    (path / "manifest.json").write_text(json.dumps({"recipe": {"model": {"name": str(model)}}}))
    for name, trained in stages.items():
        if trained:
            adapter(path / name / "adapter", model)
        (path / name).mkdir(exist_ok=True)
        (path / name / "COMMIT.json").write_text("{}")


def test_a_model_is_one_policy(model):
    (base,) = read_subjects(str(model))
    assert (base.label, base.adapter_dir, base.adapter()) == ("base", "", None)


def test_an_adapter_is_compared_with_the_base_it_names(model, tmp_path):
    adapter(tmp_path / "tuned", model)
    base, tuned = read_subjects(str(tmp_path / "tuned"))
    assert (base.label, tuned.label) == ("base", "tuned")
    assert base.model_dir == tuned.model_dir
    assert tuned.adapter().files["adapter_model.safetensors"] == b"weights"


def test_a_run_is_its_base_and_every_committed_stage_that_trained(model, tmp_path):
    run_folder(tmp_path / "run", model, {"base": False, "sft": True, "round-001": True, "round-002": True})
    adapter(tmp_path / "run" / "round-003" / "adapter", model)  # not committed
    subjects = read_subjects(str(tmp_path / "run"))
    assert [s.label for s in subjects] == ["base", "sft", "round-001", "round-002"]
    assert [(s.label, s.stage) for s in first_and_last(subjects)] == [("base", "base"), ("tuned", "round-002")]


def test_a_run_with_full_weights_says_what_to_give_instead(model, tmp_path):
    run_folder(tmp_path / "run", model, {"base": False, "sft": False})
    (tmp_path / "run" / "sft" / "adapter").mkdir()
    with pytest.raises(EvaluationError, match="full weights"):
        read_subjects(str(tmp_path / "run"))


def test_a_path_that_is_nothing_is_a_user_error(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        read_subjects(str(tmp_path / "nothing"))
