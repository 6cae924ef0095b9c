"""A phase sees the planned rows, reports what it leaves out, and ends with weights that the next phase starts from."""

import importlib.util
import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from trl import SFTTrainer

from rayplay.errors import AlarmError, DataError, RecipeError, ResourceError
from rayplay.recipe import EarlyStopping, Lora
from rayplay.training.objectives import OBJECTIVES, Objective, PlannedSteps
from rayplay.training.phase import run_phase
from rayplay.training.rows import sft_columns, usable_rows
from rayplay.training.schedule import plan_steps
from rayplay.training.settings import TrainSettings
from rayplay.training.trie import families
from tests.micro import save_micro_model
from tests.unit.test_training_objectives import make_pairs, rows_for

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_micro_model(tmp_path_factory.mktemp("model"))


def run(model_dir, folder, method="dpo", rows=None, start=None, **changes):
    defaults = {"batch_size": 4, "max_steps": 2, "learning_rate": 1e-2, "warmup_ratio": 0.0, "dtype": "float32"}
    return run_phase(
        model_dir=model_dir,
        rows=rows or rows_for(method),
        method=method,
        settings=TrainSettings(**{**defaults, **changes}),
        work_dir=folder,
        start_dir=start,
    )


def singles(count):
    return [[r] for r in range(count)]


def test_rows_that_share_a_prefix_can_be_dealt_together():
    alike = families([[1, 2, 3, 4, n] for n in range(4)] + [[5, 6, 7, 8, n] for n in range(4)] + [[9]])
    assert alike == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    steps = plan_steps(alike, 5, 1.0, None, seed=0)
    assert sorted(r for step in steps for r in step) == list(range(9))
    assert any({0, 1, 2, 3} <= set(step) or {4, 5, 6, 7} <= set(step) for step in steps)


def test_steps_end_with_a_family_where_that_is_near():
    alike = [list(range(8 * k, 8 * k + 8 - (k % 7 == 3))) for k in range(40)]
    steps = plan_steps(alike, 16, 1.0, None, seed=0)
    assert len(steps) == 20
    assert sorted(r for step in steps for r in step) == sorted(r for rows in alike for r in rows)
    assert all(12 <= len(step) <= 16 for step in steps)
    assert sum(any(set(rows) & set(step) and set(rows) - set(step) for rows in alike) for step in steps) == 0
    assert [len(step) for step in plan_steps([list(range(50))], 16, 1.0, None, seed=0)] == [12, 13, 13, 12]


def test_steps_cover_every_row_once_an_epoch_in_even_sizes():
    steps = plan_steps(singles(28), 8, 2.0, None, seed=0)
    assert [len(step) for step in steps] == [7] * 8
    assert (
        sorted(r for step in steps[:4] for r in step)
        == sorted(r for step in steps[4:] for r in step)
        == list(range(28))
    )
    assert steps[:4] != steps[4:]
    assert plan_steps(singles(28), 8, 2.0, None, seed=0, num_workers=2) == steps


def test_max_steps_wins_over_epochs_and_may_pass_over_the_data_again():
    assert len(plan_steps(singles(5), 4, 1.0, 7, seed=0)) == 7


def test_fewer_rows_in_a_step_than_workers_are_refused():
    with pytest.raises(ResourceError, match=r"training\.num_workers is 3"):
        plan_steps(singles(2), 2, 1.0, None, seed=0, num_workers=3)


def test_rows_that_are_too_long_or_carry_no_loss_are_named_not_cut():
    pairs = make_pairs(3)
    silent = pairs[1].model_copy(update={"chosen_mask": (0,) * 7})
    longer = pairs[2].model_copy(update={"rejected_ids": tuple(range(2, 30)), "rejected_mask": (1,) * 28})
    usable = usable_rows([pairs[0], silent, longer], max_length=30)
    assert [p.pair_id for p in usable.kept] == ["p0"]
    assert usable.left_out == {
        "p1": "has no token with loss on the chosen side",
        "p2": "has 40 tokens on the rejected side, model.max_length is 30",
    }
    with pytest.raises(DataError, match="no rows left"):
        usable_rows([silent], max_length=30)


def test_a_mask_of_the_wrong_length_is_an_error():
    with pytest.raises(DataError, match="mask of 2"):
        usable_rows([make_pairs(1)[0].model_copy(update={"chosen_mask": (1, 1)})], max_length=99)


@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "grpo"])
def test_an_objective_trains_and_reports_each_step(model_dir, tmp_path, method):
    result = run(model_dir, tmp_path, method, max_steps=3)
    assert [entry["step"] for entry in result.steps] == [1, 2, 3]
    assert all(entry["unique_tokens"] < entry["raw_tokens"] for entry in result.steps)
    if method != "sft":
        assert result.steps[0]["kl"] == pytest.approx(0.0, abs=1e-5) and result.steps[2]["kl"] != 0.0
    assert {"loss", "grad_norm", "entropy", "tok_s", "memory_mb"} <= result.steps[0].keys()
    assert (result.folder / "adapter_model.safetensors").is_file()


def test_trackers_log_what_stands_in_the_step_log(model_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    run(model_dir, tmp_path, "dpo", max_steps=2, trackers=("tensorboard",))
    events = b"".join(path.read_bytes() for path in (tmp_path / "events").rglob("events*"))
    assert all(key in events for key in (b"unique_tokens", b"train/kl", b"tok_s"))


def test_grpo_raises_what_was_better_than_its_group_and_starts_from_the_adapter(model_dir, tmp_path):
    first = run(model_dir, tmp_path / "one", "grpo", batch_size=8, max_steps=3)
    second = run(model_dir, tmp_path / "two", "grpo", start=first.folder, batch_size=8, max_steps=3)
    for result in (first, second):
        assert result.steps[-1]["loss"] < result.steps[0]["loss"] < 1e-4
    assert not any("ref" in name for name in load_file(second.folder / "adapter_model.safetensors"))


def test_the_second_rounds_reference_is_the_policy_that_it_starts_from(model_dir, tmp_path):
    first = run(model_dir, tmp_path / "one")
    second = run(model_dir, tmp_path / "two", start=first.folder)
    assert second.steps[0]["rewards/chosen"] == pytest.approx(0.0, abs=1e-4)
    assert second.steps[0]["kl"] == pytest.approx(0.0, abs=1e-3)
    assert second.steps[1]["rewards/margins"] > 0
    weights = load_file(second.folder / "adapter_model.safetensors")
    assert weights
    assert not any("ref" in name for name in weights)
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model_dir), second.folder)
    assert model.peft_config["default"].r == 16


def test_tree_packing_off_gives_the_same_steps(model_dir, tmp_path):
    on = run(model_dir, tmp_path / "on", max_steps=3)
    off = run(model_dir, tmp_path / "off", max_steps=3, tree_packing=False)
    assert [e["loss"] for e in off.steps] == pytest.approx([e["loss"] for e in on.steps], abs=1e-5)


def test_a_small_token_budget_gives_the_same_steps(model_dir, tmp_path):
    large = run(model_dir, tmp_path / "large", max_steps=3, loss_type=("sigmoid", "sft"))
    small = run(model_dir, tmp_path / "small", max_steps=3, loss_type=("sigmoid", "sft"), max_unique_tokens=30)
    assert [e["loss"] for e in small.steps] == pytest.approx([e["loss"] for e in large.steps], abs=1e-5)


@pytest.mark.parametrize("lora", [Lora(r=4, use_dora=True), Lora(r=4, use_rslora=True), Lora(r=4, targets=("q_proj",))])
def test_kinds_of_lora(model_dir, tmp_path, lora):
    result = run(model_dir, tmp_path, lora=lora, gradient_checkpointing=True)
    config = json.loads((result.folder / "adapter_config.json").read_text())
    assert (config["r"], config["use_dora"], config["use_rslora"]) == (4, lora.use_dora, lora.use_rslora)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_full_fine_tuning_saves_the_whole_model(model_dir, tmp_path, method):
    result = run(model_dir, tmp_path, method, use_lora=False, learning_rate=1e-3)
    again = run(model_dir, tmp_path / "again", method, use_lora=False, learning_rate=1e-3, start=result.folder)
    before = AutoModelForCausalLM.from_pretrained(model_dir).model.layers[0].mlp.up_proj.weight
    after = AutoModelForCausalLM.from_pretrained(again.folder).model.layers[0].mlp.up_proj.weight
    assert not torch.equal(before, after)


def test_an_interrupted_phase_goes_on_at_its_checkpoint_with_the_same_losses(model_dir, tmp_path):
    whole = run(model_dir, tmp_path / "whole", max_steps=4, checkpoint_every=2)
    settings = TrainSettings(batch_size=4, max_steps=4, learning_rate=1e-2, warmup_ratio=0.0, dtype="float32")
    resumed = run_phase(
        model_dir=model_dir,
        rows=rows_for("dpo"),
        method="dpo",
        settings=settings,
        work_dir=tmp_path / "resumed",
        resume_from=tmp_path / "whole" / "checkpoint-2",
    )
    assert [e["step"] for e in resumed.steps] == [3, 4]
    assert [e["loss"] for e in resumed.steps] == pytest.approx([e["loss"] for e in whole.steps[2:]], abs=1e-6)


def test_a_loss_that_is_not_a_number_stops_the_run(model_dir, tmp_path):
    with pytest.raises(AlarmError, match=r"lower training\.learning_rate"):
        run(model_dir, tmp_path, "sft", learning_rate=1e30, max_steps=4, max_grad_norm=1e30)


def test_dropout_with_tree_packing_is_refused_with_the_way_out(model_dir, tmp_path):
    with pytest.raises(RecipeError, match=r"lora\.dropout is 0\.1.*tree_packing=false"):
        run(model_dir, tmp_path, lora=Lora(dropout=0.1))


def test_an_objective_of_ones_own_is_a_loss_and_a_row_of_the_table(model_dir, tmp_path, monkeypatch):
    class Mine(PlannedSteps, SFTTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            log_probs = model(**inputs, fused_lm_head=True).log_probs
            return -torch.expm1(0.5 * log_probs)[inputs["labels"][:, 1:] != -100].mean()

    monkeypatch.setitem(OBJECTIVES, "mine", Objective(sft_columns, OBJECTIVES["sft"].config, Mine))
    result = run(model_dir, tmp_path, "mine", rows=rows_for("sft"), max_steps=3)
    assert 0 < result.steps[-1]["loss"] < result.steps[0]["loss"] < 1


def test_a_tracker_that_is_not_installed_is_named_with_its_extra(model_dir, tmp_path):
    if importlib.util.find_spec("wandb"):
        pytest.skip("wandb is installed here")
    with pytest.raises(RecipeError, match=r"rayplay\[wandb\]"):
        run(model_dir, tmp_path, trackers=("wandb",))


def test_an_unknown_method_names_the_known_ones(model_dir, tmp_path):
    with pytest.raises(RecipeError, match="known: dpo, grpo, kto, rejection_sft, sft, teacher_mode"):
        run(model_dir, tmp_path, "ppo", rows=make_pairs())


@pytest.mark.parametrize("method", ["sft", "dpo", "kto"])
def test_training_stops_when_the_loss_of_rows_kept_apart_no_longer_falls(model_dir, tmp_path, method):
    stopping = EarlyStopping(share=0.25, every=1, patience=1)
    result = run(model_dir, tmp_path, method, max_steps=30, learning_rate=0.3, early_stopping=stopping)
    watched = [step["eval_loss"] for step in result.steps if "eval_loss" in step]
    assert len(result.steps) < 30 and watched[-1] >= min(watched)
    states = [json.loads(p.read_text()) for p in tmp_path.glob("checkpoint-*/trainer_state.json")]
    assert min(state["best_metric"] for state in states) == pytest.approx(min(watched))
    assert (result.folder / "adapter_model.safetensors").is_file()


def test_four_bits_without_the_library_say_what_to_install(model_dir, tmp_path):
    if importlib.util.find_spec("bitsandbytes"):
        pytest.skip("bitsandbytes is installed here")
    with pytest.raises(RecipeError, match="pip install bitsandbytes"):
        run(model_dir, tmp_path, load_in_4bit=True)
