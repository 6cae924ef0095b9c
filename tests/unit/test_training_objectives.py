"""Every objective trains on exactly the tokens with loss, and prefix sharing changes none of them."""

import random
from typing import get_args

import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer
from transformers.trainer_utils import set_seed
from trl import DPOConfig, DPOTrainer

from rayplay.recipe import LossType
from rayplay.records import Pair, Reason, Row
from rayplay.training.objectives import OBJECTIVES
from rayplay.training.phase import build_trainer, load_policy
from rayplay.training.rows import labelled_rows
from rayplay.training.settings import TrainSettings
from rayplay.training.tree import Sharing
from rayplay.training.trie import fold
from tests.micro import save_micro_model
from tests.unit.test_tree_exact import assert_equal_gradients, padded_log_probs

torch.set_num_threads(1)
MASK = (1, 1, 0, 0, 0, 1, 1)  # a call, the tool's output, an answer


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_micro_model(tmp_path_factory.mktemp("model"))


def make_pairs(count=4, seed=0):
    rng = random.Random(seed)

    def tokens(n):
        return tuple(rng.randrange(2, 300) for _ in range(n))

    prefix = tokens(10)
    return [
        Pair(
            pair_id=f"p{i}",
            task_id="t",
            reason=Reason.OTHER,
            margin=1.0,
            prompt_ids=prefix + tokens(2),
            chosen_ids=tokens(len(MASK)),
            rejected_ids=tokens(len(MASK)),
            chosen_mask=MASK,
            rejected_mask=MASK,
        )
        for i in range(count)
    ]


def rows_for(method):
    if method == "grpo":
        rows = labelled_rows(make_pairs())
        return [row.model_copy(update={"advantage": 1.0 if row.label else -1.0}) for row in rows]
    if method == "kto":
        return labelled_rows(make_pairs())
    if method == "dpo":
        return make_pairs()
    return [
        Row(row_id=p.pair_id, token_ids=p.prompt_ids + p.chosen_ids, mask=(0,) * 12 + p.chosen_mask)
        for p in make_pairs()
    ]


def double_trainer(model_dir, method, tmp_path, rows=None, **changes):
    """A trainer in float64 whose adapter is not zero, with norms that compute in float64 too."""
    rows = rows or rows_for(method)
    settings = TrainSettings(batch_size=len(rows), dtype="float32", **changes)
    trainer = build_trainer(model_dir, rows, method, settings, tmp_path, [list(range(len(rows)))], Sharing())
    set_seed(1)
    for name, parameter in trainer.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, 0, 0.05)
    in_double(trainer)
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def in_double(trainer):
    backbone = trainer.model.double().get_base_model().model
    for layer in (*backbone.layers, backbone):
        for name in [n for n, _ in layer.named_children() if n.endswith("norm")]:
            setattr(layer, name, torch.nn.RMSNorm(32, eps=1e-6, dtype=torch.float64))


def forward_padded(base):
    """Give a model the padded forward, without TRL's fused head."""
    plain = type(base).forward.__get__(base)

    def padded(*args, fused_lm_head=False, labels=None, use_cache=None, **kwargs):
        if not fused_lm_head:
            return plain(*args, **kwargs)
        return padded_log_probs(lambda **inputs: plain(**inputs), {**kwargs, "labels": labels})

    base.forward = padded


def loss_and_gradients(trainer):
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.zero_grad()
    count = trainer._get_num_items_in_batch([batch], trainer.args.device)
    loss = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=count)
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("sft", {}),
        ("dpo", {"loss_type": ("sigmoid",)}),
        ("dpo", {"loss_type": ("sigmoid", "sft"), "loss_weights": (1.0, 0.1)}),
        ("dpo", {"loss_type": ("ipo", "apo_zero")}),
        ("kto", {}),
        ("grpo", {}),
    ],
)
def test_loss_and_gradients_are_those_of_padded_rows(model_dir, tmp_path, method, changes):
    trainer = double_trainer(model_dir, method, tmp_path, **changes)
    loss, found = loss_and_gradients(trainer)
    forward_padded(trainer.model.get_base_model())
    expected_loss, expected = loss_and_gradients(trainer)
    assert loss == pytest.approx(expected_loss, rel=1e-8)
    assert_equal_gradients(found, expected)


def stock_dpo(model_dir, folder, pairs, **arguments):
    """TRL's own trainer and collator on the same ids, with an adapter that is not zero, in float64."""
    base, lora = load_policy(model_dir, TrainSettings(dtype="float32"), None)
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    columns = {name: [list(getattr(p, name)) for p in pairs] for name in names}
    quiet = {"use_cpu": True, "bf16": False, "report_to": [], "gradient_checkpointing": False}
    stock = type("Stock", (DPOTrainer,), {"_prepare_dataset": lambda self, dataset, *_: dataset})(
        base,
        args=DPOConfig(output_dir=str(folder), per_device_train_batch_size=len(pairs), **quiet, **arguments),
        train_dataset=Dataset.from_dict(columns),
        processing_class=AutoTokenizer.from_pretrained(model_dir),
        peft_config=lora,
    )
    stock.current_gradient_accumulation_steps = 1
    return stock


def test_every_loss_type_of_trl_gives_trls_own_loss_and_gradients(model_dir, tmp_path):
    whole = [p.model_copy(update={"chosen_mask": (1,) * 7, "rejected_mask": (1,) * 7}) for p in make_pairs()]
    ours = double_trainer(model_dir, "dpo", tmp_path, rows=whole, label_smoothing=0.1)
    stock = stock_dpo(model_dir, tmp_path, whole, label_smoothing=0.1)
    in_double(stock)
    stock.model.load_state_dict(ours.model.state_dict())
    forward_padded(stock.model.get_base_model())
    for name in get_args(LossType):
        ours.loss_types = stock.loss_types = [name]
        (loss, found), (expected_loss, expected) = loss_and_gradients(ours), loss_and_gradients(stock)
        assert loss == pytest.approx(expected_loss, rel=1e-8), name
        assert_equal_gradients(found, expected)


def test_exo_pair_has_the_smoothing_that_it_needs(model_dir, tmp_path):
    assert double_trainer(model_dir, "dpo", tmp_path, loss_type=("exo_pair",)).label_smoothing == 1e-3


def gradient_of_hidden_states(trainer):
    """d loss / d (last hidden states): what reaches position t comes from the loss on the token after it alone."""
    seen = []

    def keep(module, args, output):
        if output.last_hidden_state.requires_grad:
            output.last_hidden_state.retain_grad()
            seen.append(output.last_hidden_state)

    trainer.model.get_base_model().model.register_forward_hook(keep)
    loss_and_gradients(trainer)
    return seen[0].grad.abs().sum(-1)


def test_tool_output_gets_exactly_no_gradient_from_dpo_but_does_from_stock_trl(model_dir, tmp_path):
    before = range(12 - 1, 12 + len(MASK) - 1)  # positions that predict the completion's tokens
    ours = double_trainer(model_dir, "dpo", tmp_path)
    gradient_U = gradient_of_hidden_states(ours)[0]
    pairs = make_pairs()
    rows = [p.prompt_ids + p.chosen_ids for p in pairs] + [p.prompt_ids + p.rejected_ids for p in pairs]
    for path in fold([row[:-1] for row in rows]).paths:
        assert [bool(gradient_U[path[t]] != 0) for t in before] == [bool(m) for m in MASK]

    stock = stock_dpo(model_dir, tmp_path, pairs)
    assert (gradient_of_hidden_states(stock)[:, list(before)] != 0).all()


def test_kto_pairs_each_prompt_with_the_completion_before_it(model_dir, tmp_path):
    rows = rows_for("kto")
    data = OBJECTIVES["kto"].columns(rows)
    batch = OBJECTIVES["kto"].collator(0)(list(data))
    assert batch["label"].tolist() == [row.label for row in rows]
    assert batch["KL_input_ids"][1].tolist() == [*rows[1].token_ids[:12], *rows[0].token_ids[12:]]
    assert batch["completion_mask"][0].tolist() == list(rows[0].mask)
    assert batch["KL_completion_mask"][0].tolist() == [0] * 12 + list(MASK)


def test_kto_takes_each_distinct_side_of_pairs_once():
    pairs = make_pairs(2)
    again = pairs[0].model_copy(update={"pair_id": "again"})
    assert [row.label for row in labelled_rows([*pairs, again])] == [True, False, True, False]
