"""GRPO on trajectories that our rollout workers have sampled already, with TRL's own loss.

TRL's GRPOTrainer samples by itself, or asks a `rollout_func` in mid-step and forgets what it gave; here sampling, tools
and rewards belong to the rollout workers and their sealed shards, so batches are made from rows with advantages, and
its loss is used (clipped importance ratio, token mean over the step). A stock trainer whose `rollout_func` hands out
the same trajectories has the same loss and gradients (tests/unit/test_training_grpo.py).
"""

from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import pad, use_adapter

from rayplay.errors import RecipeError
from rayplay.training.objectives import Objective, PlannedSteps
from rayplay.training.rows import grpo_columns, rows_with_advantage
from rayplay.training.settings import TrainSettings


class AdvantageBatch:
    """Rows -> the inputs that TRL's GRPO loss reads: prompts padded left, completions right, sampled tokens marked."""

    def __init__(self, pad_token_id: int):
        self.pad_token_id = pad_token_id

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Batch of prompt_ids, completion_ids (B, T) and their masks; `num_items_in_batch` counts sampled tokens."""

        def padded(key: str, value: int, side: str, ones: bool = False) -> torch.Tensor:
            tensors = [torch.tensor(example[key]) for example in examples]
            return pad([torch.ones_like(t) if ones else t for t in tensors], padding_value=value, padding_side=side)

        sampled = padded("completion_mask", 0, "right")
        workers = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        return {
            "prompt_ids": padded("prompt_ids", self.pad_token_id, "left"),
            "prompt_mask": padded("prompt_ids", 0, "left", ones=True),
            "completion_ids": padded("completion_ids", self.pad_token_id, "right"),
            "completion_mask": padded("completion_ids", 0, "right", ones=True),
            "tool_mask": sampled,
            "advantages": torch.tensor([example["advantage"] for example in examples]),
            # TRL divides by the workers, taking each one's rows for a part of the batch; here each has all.
            "num_items_in_batch": sampled.sum() * workers,
        }


class ExactGRPO(PlannedSteps, GRPOTrainer):
    """GRPO on what our rollout workers sampled with the policy before this phase; nothing is generated in here.

    The importance ratio is against that policy: the adapter's frozen copy, or the base model where training starts.
    """

    def __init__(self, model: Any, *args: Any, peft_config: Any = None, data_collator: Any = None, **kwargs: Any):
        if peft_config is None and not hasattr(model, "peft_config"):
            raise RecipeError("training.method grpo needs training.use_lora: its old policy is the adapter before it")
        if peft_config is None and "ref" not in model.peft_config:
            model.add_adapter("ref", model.peft_config["default"])
            for name, parameter in model.named_parameters():
                if ".default." in name:
                    model.get_parameter(name.replace(".default.", ".ref.")).data.copy_(parameter.data)
        super().__init__(model, *args, reward_funcs=_rewarded_already, peft_config=peft_config, **kwargs)
        self.data_collator = data_collator

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return super(GRPOTrainer, self)._prepare_inputs(inputs)  # past GRPOTrainer's own, which would generate

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        adapter = "ref" if "ref" in self.model.peft_config else None
        with torch.no_grad(), use_adapter(self.model, adapter_name=adapter):
            ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
            present = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
            old, _, _ = self._get_per_token_logps_and_entropies(
                self.model, ids, present, inputs["completion_ids"].shape[1]
            )
        loss = super()._compute_loss(model, {**inputs, "old_per_token_logps": old})
        lost = ((old - self._logps) * inputs["tool_mask"]).sum() / len(old)
        self._metrics["train" if self.model.training else "eval"]["kl"].append(lost.item())
        return loss

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        self._logps = found[0].detach()  # of the last forward pass: the policy's, behind the loss
        return found


def _rewarded_already(completions: list[Any], **_: Any) -> list[float]:
    """GRPOTrainer insists on a reward function; the advantages come with the rows."""
    return [0.0] * len(completions)


def _grpo_config(settings: TrainSettings, shared: dict[str, Any]) -> GRPOConfig:
    shared = {key: value for key, value in shared.items() if key != "max_length"}
    rows = shared["per_device_train_batch_size"]
    return GRPOConfig(**shared, num_generations=max(2, rows), generation_batch_size=None, beta=0.0, loss_type="dapo")


GRPO = Objective(grpo_columns, _grpo_config, ExactGRPO, AdvantageBatch, rows=rows_with_advantage)
