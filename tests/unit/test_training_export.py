"""Export: merged weights and adapter give the same logits, and the card says where they come from."""

import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from rayplay.cli.export import export_app
from rayplay.errors import RunFolderError
from rayplay.models.adapters import read_adapter
from rayplay.records import Message, Task
from rayplay.store import RunFolder, write_json, write_lines
from rayplay.training.export import export_stage
from tests.micro import save_micro_model
from tests.unit.test_training_phase import run as run_training


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run folder as a finished run leaves it, with an adapter that was really trained."""
    root = tmp_path_factory.mktemp("finished")
    model_dir = save_micro_model(root / "model")
    trained = run_training(model_dir, root / "work", max_steps=3)
    folder = RunFolder(root / "run")
    recipe = {"about": "A trial.", "model": {"name": model_dir, "revision": None}, "training": {"method": "dpo"}}
    write_json(
        folder.manifest_path, {"recipe": recipe, "rayplay": "0.1.0", "isolation": {"level": "L3"}, "packages": {}}
    )
    task = Task.build("templates", (Message(role="user", content="hi"),), (), licence="MIT")
    write_lines(folder.path / "tasks" / "train.jsonl", [task])
    metrics = {"metrics": {"success_rate": {"mean": 0.25, "low": 0.1, "high": 0.4, "n": 60}}}
    for name in ("base", "round-001"):
        write_json(folder.path / name / "metrics.json", metrics)
    folder.stage("round-001").write_adapter(read_adapter(trained.folder, "round-001"))
    for name in ("base", "round-001"):
        folder.stage(name).commit(seconds=1.0)
    return folder, model_dir


def test_merged_and_adapter_exports_give_the_same_logits_and_not_the_bases(finished, tmp_path):
    folder, model_dir = finished
    export_stage(folder, tmp_path / "merged")
    export_stage(folder, tmp_path / "adapter", merge=False)
    ids = torch.arange(2, 40)[None]
    base = AutoModelForCausalLM.from_pretrained(model_dir)
    untouched = base(ids).logits
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")(ids).logits
    adapted = PeftModel.from_pretrained(base, tmp_path / "adapter")(ids).logits
    torch.testing.assert_close(merged, adapted, atol=1e-4, rtol=0)
    assert (merged - untouched).abs().max() > 1e-3
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").eos_token == "<eos>"
    assert not list((tmp_path / "merged").glob("adapter*"))


def test_the_card_states_metrics_data_licences_recipe_and_isolation(finished, tmp_path):
    export_stage(finished[0], tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    for stated in ("0.25 (0.10 to 0.40, n=60)", "| train | templates | MIT | 1 |", '"method": "dpo"', "level L3"):
        assert stated in card


def test_the_command_prints_one_json_line(finished, tmp_path):
    result = CliRunner().invoke(export_app, [str(finished[0].path), "--adapter", "--to", str(tmp_path / "a"), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout.splitlines()[-1])["stage"] == "round-001"


def test_a_folder_in_use_an_unknown_stage_and_an_untrained_run_are_refused(finished, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(RunFolderError, match="not empty"):
        export_stage(finished[0], tmp_path / "full")
    with pytest.raises(RunFolderError, match="there are: round-001"):
        export_stage(finished[0], tmp_path / "new", stage="round-009")
    write_json(tmp_path / "empty" / "manifest.json", {"recipe": {"model": {"name": "x", "revision": None}}})
    with pytest.raises(RunFolderError, match="finish the run first"):
        export_stage(RunFolder(tmp_path / "empty"), tmp_path / "new")
