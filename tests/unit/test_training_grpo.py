"""GRPO on sealed trajectories = stock GRPOTrainer whose `rollout_func` hands out the same trajectories."""

import random

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from rayplay.pairs import grpo_rows
from rayplay.records import Message, StopReason, Task, Trajectory, Turn
from rayplay.training.phase import build_trainer, load_policy
from rayplay.training.settings import TrainSettings
from rayplay.training.tree import Sharing
from tests.micro import save_micro_model
from tests.unit.test_training_objectives import in_double, loss_and_gradients

torch.set_num_threads(1)
GROUP = 4


def sealed_groups() -> list[list[Trajectory]]:
    """Two tasks, four episodes each, with a tool's output among the sampled tokens; rewards differ within a group."""
    rng = random.Random(0)
    groups = []
    for task in ("a", "b"):
        prompt = tuple(rng.randrange(2, 300) for _ in range(9))
        group = []
        for k in range(GROUP):
            sampled = tuple(rng.randrange(2, 300) for _ in range(rng.randrange(6, 12)))
            mask = tuple(0 if 2 <= i < 4 else 1 for i in range(len(sampled)))
            group.append(
                Trajectory(
                    sample_id=f"r001/{task}/{k}",
                    group=f"r001/{task}",
                    task=Task(task_id=task, source="test", messages=(Message(role="user", content="q"),)),
                    policy="base",
                    seed=k,
                    token_ids=prompt + sampled,
                    prompt_length=len(prompt),
                    sampled_mask=(0,) * len(prompt) + mask,
                    turns=(
                        Turn(start=len(prompt), end=len(prompt) + 2),
                        Turn(start=len(prompt) + 4, end=len(prompt) + len(sampled)),
                    ),
                    stop_reason=StopReason.ANSWERED,
                    reward=rng.random(),
                )
            )
        groups.append(group)
    return groups


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save_micro_model(tmp_path_factory.mktemp("model"))


def stock_trainer(model_dir, groups, settings, folder):
    """TRL's own, sampling by a `rollout_func`; prompts are the words of the prompt ids."""
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    by_prompt = {tokenizer.decode(g[0].token_ids[: g[0].prompt_length]): g for g in groups}

    def rollouts(prompts, trainer):
        handed_out = {prompt: iter(group) for prompt, group in by_prompt.items()}
        samples = [next(handed_out[prompt]) for prompt in prompts]
        return {
            "prompt_ids": [list(t.token_ids[: t.prompt_length]) for t in samples],
            "completion_ids": [list(t.token_ids[t.prompt_length :]) for t in samples],
            "env_mask": [list(t.sampled_mask[t.prompt_length :]) for t in samples],
            "logprobs": [[0.0] * (len(t.token_ids) - t.prompt_length) for t in samples],  # read with vLLM inside only
            "scored": [t.reward for t in samples],
        }

    config = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=2 * GROUP,
        num_generations=GROUP,
        max_steps=1,
        beta=0.0,
        loss_type="dapo",
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_completion_length=64,
    )
    _, lora = load_policy(model_dir, settings, None)
    return GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32),
        args=config,
        reward_funcs=lambda scored, **_: scored,
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in by_prompt]),
        processing_class=tokenizer,
        peft_config=lora,
        rollout_func=rollouts,
    )


def test_loss_and_gradients_are_those_of_trl_with_a_rollout_func(model_dir, tmp_path):
    groups = sealed_groups()
    settings = TrainSettings(batch_size=2 * GROUP, dtype="float32")
    rows = [row for group in groups for row in grpo_rows(group)]
    ours = build_trainer(model_dir, rows, "grpo", settings, tmp_path / "ours", [list(range(len(rows)))], Sharing())
    stock = stock_trainer(model_dir, groups, settings, tmp_path / "stock")
    weights = {n.replace("_fused_head.", ""): p for n, p in ours.model.named_parameters()}
    for name, parameter in stock.model.named_parameters():
        parameter.data.copy_(weights[name].data)
    for trainer in (ours, stock):
        in_double(trainer)
        trainer.current_gradient_accumulation_steps = 1
    loss, gradients = loss_and_gradients(ours)

    prepared = stock._prepare_inputs(next(iter(stock.get_train_dataloader())))
    expected = stock.compute_loss(stock.model, prepared)
    expected.backward()
    assert loss == pytest.approx(expected.item(), abs=1e-7)  # TRL computes advantages in float32
    compared = 0
    for name, parameter in stock.model.named_parameters():
        if parameter.grad is not None and parameter.grad.abs().max() > 0:
            assert (gradients[name] - parameter.grad).norm() < 1e-5 * parameter.grad.norm(), name
            compared += 1
    assert compared > 0
