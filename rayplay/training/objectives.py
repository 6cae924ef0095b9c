"""The table of objectives: TRL's trainers, fed exact rows in a planned order, with shared prefixes forwarded once.

An objective is a row: which columns it reads, TRL's config and trainer. The subclasses below change where batches come
from and, for DPO, which tokens carry loss; every loss is TRL's own. Your own objective is one row more:
`OBJECTIVES["mine"] = Objective(columns, config, trainer)` with a trainer that takes `PlannedSteps` as a base.
"""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from rayplay.errors import RecipeError
from rayplay.training.rows import (
    dpo_columns,
    kto_columns,
    labelled_rows,
    sft_columns,
)
from rayplay.training.settings import TrainSettings
from rayplay.training.tree import Sharing, share_prefixes

EXO_SMOOTHING = 1e-3  # Ji et al. 2024, https://arxiv.org/abs/2402.00856: EXO's pairs need a little


class PlannedSteps:
    """Mixin for a TRL trainer: one batch per optimizer step, as planned; every worker sees the whole batch.

    The forward behind the trainer shares the rows of a batch out among the workers (tree.py), so accelerate must not.
    """

    steps: list[list[int]]

    def __init__(self, *args: Any, steps: list[list[int]], sharing: Sharing, **kwargs: Any):
        self.steps = steps
        super().__init__(*args, **kwargs)
        for model in (self.model, getattr(self, "ref_model", None)):
            if model is not None:
                share_prefixes(model.get_base_model() if hasattr(model, "peft_config") else model, sharing)

    def get_train_dataloader(self) -> DataLoader:
        """The planned batches; not prepared by accelerate, which would give each worker a part of them."""
        self._set_signature_columns_if_needed()
        return DataLoader(self.train_dataset, batch_sampler=self.steps, collate_fn=self.data_collator)

    def get_eval_dataloader(self, eval_dataset: Dataset | None = None) -> DataLoader:
        """The rows that early stopping watches, in steps as large as those of training."""
        data = self.eval_dataset if eval_dataset is None else eval_dataset
        size = max(map(len, self.steps))
        steps = [list(range(start, min(start + size, len(data)))) for start in range(0, len(data), size)]
        return DataLoader(data, batch_sampler=steps, collate_fn=self.data_collator)


class ExactSFT(PlannedSteps, SFTTrainer):
    """SFT on rows that carry their own labels."""


class MaskedPreferences(DataCollatorForPreference):
    """TRL's collator, with loss on sampled tokens alone: TRL would give tool output inside a completion loss too."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Batch of [chosen; rejected] rows, whose completion_mask is 1 exactly where a row's own mask is."""
        batch = super().torch_call(examples)
        for half, side in enumerate(("chosen", "rejected")):
            for i, example in enumerate(examples):
                start, mask = len(example["prompt_ids"]), example[f"{side}_mask"]
                row = batch["completion_mask"][half * len(examples) + i]
                row[start : start + len(mask)] *= torch.tensor(mask)
        return batch


class ExactDPO(PlannedSteps, DPOTrainer):
    """DPO on pairs that are token ids already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


class MaskedLabelled(DataCollatorForUnpairedPreference):
    """TRL's collator for KTO, with loss on sampled tokens alone and KL completions from the same optimizer step."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Batch whose KL rows join each prompt with the completion of the row before it (TRL's rotation by one)."""
        others = [examples[-1], *examples[:-1]]
        rotated = [{**e, "KL_completion_ids": o["completion_ids"]} for e, o in zip(examples, others, strict=True)]
        batch = super().torch_call(rotated)
        for key, sources in (("completion_mask", examples), ("KL_completion_mask", others)):
            for i, (example, source) in enumerate(zip(examples, sources, strict=True)):
                start, mask = len(example["prompt_ids"]), source["completion_mask"]
                batch[key][i][start : start + len(mask)] *= torch.tensor(mask)
        return batch


class ExactKTO(PlannedSteps, KTOTrainer):
    """KTO on labelled rows that are token ids already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset


class Objective(NamedTuple):
    """One row of the table."""

    columns: Callable[..., Dataset]
    config: Callable[[TrainSettings, dict[str, Any]], Any]
    trainer: Callable[..., Any]
    collator: Callable[[int], Any] | None = None
    rows: Callable[[Any], list] = list  # the records that come in -> the rows that a step counts


def _sft_config(settings: TrainSettings, shared: dict[str, Any]) -> SFTConfig:
    # The whole step's tokens are counted by each worker already.
    return SFTConfig(
        **shared, dataset_kwargs={"skip_prepare_dataset": True}, packing=False, average_tokens_across_devices=False
    )


def _dpo_config(settings: TrainSettings, shared: dict[str, Any]) -> DPOConfig:
    weights = list(settings.loss_weights) if settings.loss_weights else None
    smoothing = settings.label_smoothing
    if smoothing is None:
        smoothing = EXO_SMOOTHING if "exo_pair" in settings.loss_type else 0.0
    return DPOConfig(
        **shared,
        beta=settings.beta,
        loss_type=list(settings.loss_type),
        loss_weights=weights,
        label_smoothing=smoothing,
    )


def _kto_config(settings: TrainSettings, shared: dict[str, Any]) -> KTOConfig:
    return KTOConfig(**shared, beta=settings.beta, train_sampling_strategy="sequential")


OBJECTIVES: dict[str, Objective] = {
    "sft": Objective(sft_columns, _sft_config, ExactSFT),
    "dpo": Objective(dpo_columns, _dpo_config, ExactDPO, lambda pad: MaskedPreferences(pad_token_id=pad)),
    "kto": Objective(
        kto_columns, _kto_config, ExactKTO, lambda pad: MaskedLabelled(pad_token_id=pad), rows=labelled_rows
    ),
}
OBJECTIVES["teacher_mode"] = OBJECTIVES["rejection_sft"] = OBJECTIVES["sft"]
# TRL's GRPO trainer imports vLLM where it is installed, which costs ten seconds: looked up only when asked for.
ELSEWHERE = {"grpo": "rayplay.training.grpo:GRPO"}


def find_objective(method: str) -> Objective:
    """The objective of that name.

    Raises:
        RecipeError: There is none.
    """
    if method in ELSEWHERE:
        module, _, name = ELSEWHERE[method].partition(":")
        return getattr(importlib.import_module(module), name)
    if method not in OBJECTIVES:
        known = ", ".join(sorted({*OBJECTIVES, *ELSEWHERE}))
        raise RecipeError(f"training.method {method!r} has no objective; known: {known}")
    return OBJECTIVES[method]
