"""Prefix sharing is exact: losses and every gradient equal the padded ones in float64, and stock TRL's in float32."""

import random

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MptConfig,
    MptForCausalLM,
    StableLmConfig,
    StableLmForCausalLM,
)
from trl.trainer.utils import FusedCausalLMOutput, add_fused_lm_head

from rayplay.errors import RecipeError
from rayplay.training import attention
from rayplay.training.exactness import settle_attention, why_not_exact
from rayplay.training.tree import IGNORED, Sharing, share_prefixes

torch.set_num_threads(1)  # micro tensors: more threads only wait for each other
OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1")


def make_model(seed=0, lora=True, tie=False):
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=300, num_key_value_heads=2, tie_word_embeddings=tie, **sizes)
    model = LlamaForCausalLM(config).double()
    # Llama's own norm computes in float32 whatever the model's type: 1e-8 could not be seen through it.
    for layer in (*model.model.layers, model.model):
        for name in [n for n, _ in layer.named_children() if n.endswith("norm")]:
            setattr(layer, name, torch.nn.RMSNorm(32, eps=1e-6, dtype=torch.float64))
    if lora:
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, 0, 0.05)
    return model.double()


def padded_log_probs(model, batch):
    """What TRL's fused head promises, written out over every padded position in the model's own precision.

    TRL's head keeps its running sums in float32 whatever the model's type, so it cannot serve at 1e-8.
    """
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    labels, mask = batch["labels"][:, 1:], batch["labels"][:, 1:] != IGNORED
    log_p = torch.log_softmax(logits, -1)
    fields = {
        "log_probs": log_p.gather(-1, labels.clamp(min=0)[..., None])[..., 0],
        "entropy": -(log_p.exp() * log_p).sum(-1),
        "mean_logits": logits.mean(-1),
        "is_top1": logits.argmax(-1) == labels,
    }
    return FusedCausalLMOutput(**{k: v.masked_fill(~mask, 0) for k, v in fields.items()}, label_mask=mask)


def make_batch(rows, masks):
    width = max(map(len, rows))
    ids = torch.tensor([list(r) + [0] * (width - len(r)) for r in rows])
    keep = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows])
    loss = torch.tensor([list(m) + [0] * (width - len(m)) for m in masks])
    return {"input_ids": ids, "attention_mask": keep, "labels": ids.masked_fill(loss == 0, IGNORED)}


def random_rows(kind, seed, count=8):
    rng = random.Random(seed)

    def tokens(n):
        return [rng.randrange(1, 300) for _ in range(n)]

    prefix = tokens(12)
    rows = {
        "nothing shared": lambda: [tokens(rng.randrange(6, 20)) for _ in range(count)],
        "all the same": lambda: [[*prefix, 7, 8, 9]] * count,
        "prefixes of another": lambda: [(prefix + tokens(10))[:n] for n in range(8, 8 + count)],
        "three levels": lambda: [
            [*prefix, *[branch] * 4, leaf, *tokens(5)] for branch in (3, 4) for leaf in (5, 5, 6, 7)
        ],
        "parallel branches": lambda: [prefix + [1 + i % 2] * 6 + tokens(rng.randrange(1, 6)) for i in range(count)],
    }[kind]()
    masks = [[0] * 3 + [int(rng.random() < 0.6) for _ in row[4:]] + [1] for row in rows]
    return [tuple(row) for row in rows], masks


KINDS = ("nothing shared", "all the same", "prefixes of another", "three levels", "parallel branches")


def shared_forward(model, batch, budget=4096):
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    if not hasattr(base, "shared"):
        add_fused_lm_head(base, outputs=OUTPUTS)
        base.shared = Sharing(max_unique_tokens=budget)
        share_prefixes(base, base.shared)
    base.shared.max_unique_tokens = budget
    return model(**batch, fused_lm_head=True)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_equal_gradients(ours, theirs, tolerance=1e-8):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert (ours[name] - value).abs().max() <= tolerance * value.abs().max().clamp(min=1e-12), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [4096, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_log_probs_and_gradients_equal_the_padded_ones(kind, budget, seed):
    model = make_model(seed)
    batch = make_batch(*random_rows(kind, seed))
    weights = torch.randn(batch["labels"][:, 1:].shape, dtype=torch.float64)
    theirs = padded_log_probs(model, batch)
    expected = gradients(model, (theirs.log_probs * weights).sum())
    ours = shared_forward(model, batch, budget)
    for field in OUTPUTS:
        torch.testing.assert_close(
            getattr(ours, field).double(), getattr(theirs, field).double(), rtol=1e-8, atol=1e-10
        )
    assert_equal_gradients(gradients(model, (ours.log_probs * weights).sum()), expected)


@pytest.mark.parametrize("tie", [False, True])
def test_full_fine_tuning_gives_the_head_its_gradient_too(tie):
    model = make_model(lora=False, tie=tie)
    batch = make_batch(*random_rows("three levels", 3))
    expected = gradients(model, padded_log_probs(model, batch).log_probs.sum())
    assert_equal_gradients(gradients(model, shared_forward(model, batch).log_probs.sum()), expected)


def test_left_padding_changes_nothing():
    model = make_model()
    rows, masks = random_rows("parallel branches", 5)
    right = make_batch(rows, masks)
    width = right["input_ids"].shape[1]
    shift = [width - len(row) for row in rows]
    left = {k: torch.stack([v.roll(s) for v, s in zip(t, shift, strict=True)]) for k, t in right.items()}
    ours = shared_forward(model, left).log_probs.sum(1)
    torch.testing.assert_close(ours, padded_log_probs(model, right).log_probs.sum(1), rtol=1e-8, atol=1e-10)


def test_equal_to_trls_own_fused_head_in_float32():
    model = make_model().float()
    batch = make_batch(*random_rows("three levels", 2))
    add_fused_lm_head(model.get_base_model(), outputs=OUTPUTS)
    theirs = model(**batch, fused_lm_head=True)
    expected = gradients(model, theirs.log_probs.sum())
    model.get_base_model().shared = Sharing()
    share_prefixes(model.get_base_model(), model.get_base_model().shared)
    ours = shared_forward(model, batch)
    torch.testing.assert_close(ours.log_probs, theirs.log_probs, rtol=1e-5, atol=1e-5)
    assert_equal_gradients(gradients(model, ours.log_probs.sum()), expected, tolerance=1e-4)


def test_shared_tokens_are_forwarded_once():
    model = make_model()
    shared_forward(model, make_batch([(1, 2, 3, 4, 5), (1, 2, 3, 6, 7)], [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]))
    count = model.get_base_model().shared.count
    assert (count.raw, count.unique) == (10, 5)  # 1 2 3 4 6: the last token of a row is only predicted


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"attention_dropout": 0.1}, "attention_dropout"),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding_attention"),
        ({"sliding_window": 128}, "sliding window"),
        ({"output_router_logits": False}, "mixture of experts"),
        ({"resid_pdrop": 0.1}, "resid_pdrop is 0.1"),
        ({"attention_layers": ["global", "local"]}, "local"),
    ],
)
def test_models_for_which_sharing_is_not_exact_are_named(change, reason):
    config = LlamaConfig(num_hidden_layers=2)
    assert why_not_exact(config) == ""
    for key, value in change.items():
        setattr(config, key, value)
    assert reason in why_not_exact(config)


def test_dropout_is_refused_with_the_reason():
    assert "lora.dropout is 0.1" in why_not_exact(LlamaConfig(), lora_dropout=0.1)


SMALL = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def test_a_model_that_drops_the_blocks_is_given_a_dense_mask_and_one_that_ignores_positions_is_refused():
    drops = StableLmForCausalLM(StableLmConfig(**SMALL, intermediate_size=48, num_key_value_heads=2))
    settle_attention(drops)
    assert drops.config._attn_implementation == "sdpa"
    with pytest.raises(RecipeError, match=r"MptForCausalLM does not take masks and positions.*tree_packing=false"):
        settle_attention(MptForCausalLM(MptConfig(vocab_size=300, d_model=32, n_layers=2, n_heads=4)))


@pytest.mark.parametrize(("moved", "chosen"), [(slice(20, 21), attention.NAME), (slice(8, None), "sdpa")])
def test_rounding_at_one_token_costs_no_model_its_blocks_and_an_error_behind_the_trunk_does(monkeypatch, moved, chosen):
    exact = attention.hidden_states

    def disturbed(model, trie, device):
        hidden_UH = exact(model, trie, device).clone()
        if model.config._attn_implementation == attention.NAME:
            hidden_UH[moved] *= 1.01
        return hidden_UH

    monkeypatch.setattr(attention, "hidden_states", disturbed)
    model = make_model(lora=False)
    settle_attention(model)
    assert model.config._attn_implementation == chosen
