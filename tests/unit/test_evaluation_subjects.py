"""What stands behind --model-path: one policy, a base and its adapter, or every stage of a run."""

import json

import pytest

from rayplay.errors import EvaluationError, ModelError, RunFolderError
from rayplay.evaluation.plan import keep_plan
from rayplay.evaluation.subjects import base_subject, describe, first_and_last, read_subjects


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
        (path / name / "COMMIT.json").write_text('{"files": {}}')


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


def test_a_run_that_trained_all_weights_is_served_from_them_with_the_tokenizer_of_its_base(model, tmp_path):
    run_folder(tmp_path / "run", model, {"base": False, "sft": False})
    weights = tmp_path / "run" / "sft" / "adapter"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"")
    base, sft = read_subjects(str(tmp_path / "run"))
    assert (base.weights_dir, base.lora_dir) == (base.model_dir, "")
    assert (sft.weights_dir, sft.lora_dir, sft.model_dir) == (str(weights), "", base.model_dir)


def test_a_run_whose_base_was_not_evaluated_to_the_end_does_not_pass_its_part_for_the_whole(model, tmp_path):
    run_folder(tmp_path / "run", model, {})
    (tmp_path / "run" / "base" / "evaluation").mkdir(parents=True)
    assert [(s.label, s.stage) for s in read_subjects(str(tmp_path / "run"))] == [("base", "")]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "names no base model"),
        ("{}", "names no base model"),
        ('{"base_model_name_or_path": null}', "names no base model"),
        ('{"base_model_name_or_path": "/gone"}', "names a base that is not here"),
    ],
)
def test_a_damaged_adapter_or_a_missing_base_is_named(tmp_path, config, message):
    (tmp_path / "adapter_config.json").write_text(config)
    with pytest.raises(ModelError, match=message):
        read_subjects(str(tmp_path))


def test_an_adapter_without_weights_and_a_manifest_without_a_model_are_user_errors(model, tmp_path):
    adapter(tmp_path / "tuned", model)
    (tmp_path / "tuned" / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="no safetensors"):
        read_subjects(str(tmp_path / "tuned"))
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(RunFolderError, match="names no model"):
        read_subjects(str(tmp_path))


def test_a_folder_keeps_the_answers_of_one_set_of_weights_and_settings(model, tmp_path):
    policies = {label: p["hashes"] for label, p in describe([base_subject(str(model))]).items()}
    for plan in ({"policies": policies}, {"policies": policies, "bfcl": {"temperature": 0.0}}):
        keep_plan(tmp_path, plan)
    (model / "model.safetensors").write_bytes(b"trained on")
    other = {label: p["hashes"] for label, p in describe([base_subject(str(model))]).items()}
    for plan in ({"policies": other}, {"bfcl": {"temperature": 0.7}}):
        with pytest.raises(EvaluationError, match="another evaluation"):
            keep_plan(tmp_path, plan)


def test_a_path_that_is_nothing_is_a_user_error(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        read_subjects(str(tmp_path / "nothing"))
