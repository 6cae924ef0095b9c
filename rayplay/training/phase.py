"""Rows + model folder + settings -> trained weights: what one worker does in one training phase. No Ray here.

Under torch.distributed every worker calls `run_phase` with the same arguments; gradients meet in DDP.
"""

import math
import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import LoraConfig, PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    EarlyStoppingCallback,
    PrinterCallback,
    TrainerCallback,
)

from rayplay.errors import DataError
from rayplay.models.device import choose_dtype
from rayplay.records import Json, Pair, Row, seed_of
from rayplay.training.checks import check_training, lora_config
from rayplay.training.objectives import find_objective
from rayplay.training.rows import prompt_of, usable_rows
from rayplay.training.schedule import plan_steps
from rayplay.training.settings import TrainSettings
from rayplay.training.steplog import StepLog
from rayplay.training.tree import Sharing
from rayplay.training.trie import families


class PhaseResult(NamedTuple):
    """What a phase ends with; the weights lie in its work folder under `trained/`."""

    steps: list[Json]  # metrics of each optimizer step
    seconds: float
    raw_tokens: int
    unique_tokens: int
    left_out: dict[str, str]  # row or pair id -> why it was not trained on
    folder: Path


def run_phase(
    *,
    model_dir: str,
    rows: Sequence[Row | Pair],
    method: str,
    settings: TrainSettings,
    work_dir: Path,
    start_dir: Path | None = None,
    resume_from: Path | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    on_step: Callable[[Json], None] | None = None,
) -> PhaseResult:
    """Train once over `rows`.

    Args:
        model_dir: Folder of the base model.
        rows: Rows for sft, Pairs for dpo, either for kto; what cannot be trained on is reported in the result.
        method: A row of the table in objectives.py.
        settings: The phase's settings.
        work_dir: Where checkpoints and the trained weights go.
        start_dir: Adapter (or full weights) of the policy before this phase; DPO's reference is that policy.
        resume_from: A checkpoint folder of this same phase.
        callbacks: Further transformers callbacks.
        on_step: Called on every worker with each step's metrics.

    Raises:
        RecipeError: Unknown method, or prefix sharing would not be exact.
        AlarmError: Training can no longer teach anything (loss is not a number).
    """
    started = time.monotonic()
    usable = usable_rows(find_objective(method).rows(rows), settings.max_length)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rows, apart = keep_apart(usable.kept, settings)
    alike = families([prompt_of(r) for r in rows]) if settings.deal == "prefixes" else None
    steps = plan_steps(
        alike or [[r] for r in range(len(rows))],
        settings.batch_size,
        settings.num_epochs,
        settings.max_steps,
        settings.seed,
        world,
    )
    sharing = Sharing(tree=settings.tree_packing, max_unique_tokens=settings.max_unique_tokens)
    log = StepLog(sharing, len(steps), settings.beta, on_step)
    trainer = build_trainer(
        model_dir, rows, method, settings, work_dir, steps, sharing, start_dir, [log, *callbacks], apart
    )
    trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
    folder = work_dir / "trained"
    if settings.fsdp is not None or settings.deepspeed is not None:
        trainer.save_model(str(folder))  # every worker holds a part of the weights
    elif trainer.is_world_process_zero():
        _save(trainer.model, folder)
    return PhaseResult(
        steps=log.steps,
        seconds=time.monotonic() - started,
        raw_tokens=sharing.count.raw,
        unique_tokens=sharing.count.unique,
        left_out=usable.left_out,
        folder=folder,
    )


def build_trainer(
    model_dir: str,
    rows: Sequence[Row | Pair],
    method: str,
    settings: TrainSettings,
    work_dir: Path,
    steps: list[list[int]],
    sharing: Sharing,
    start_dir: Path | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    apart: Sequence[Row | Pair] = (),
) -> Any:
    """The TRL trainer of one phase, ready to `train()`; `apart` is what early stopping watches."""
    objective = find_objective(method)
    check_training(model_dir, settings)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model, lora = load_policy(model_dir, settings, start_dir)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    trainer = objective.trainer(
        model=model,
        args=objective.config(settings, _shared_arguments(settings, work_dir, len(steps), model)),
        train_dataset=objective.columns(rows),
        eval_dataset=objective.columns(apart) if apart else None,
        processing_class=tokenizer,
        peft_config=lora,
        data_collator=objective.collator(pad) if objective.collator else None,
        callbacks=[*callbacks, *_stoppers(settings)],
        steps=steps,
        sharing=sharing,
    )
    trainer.remove_callback(PrinterCallback)  # steps go to StepLog
    trainer.callback_handler.callbacks.sort(key=lambda callback: not isinstance(callback, StepLog))  # before trackers
    return trainer


def keep_apart(rows: list, settings: TrainSettings) -> tuple[list, list]:
    """(rows to train on, rows that early stopping watches), by the seed alone.

    Raises:
        DataError: There are too few rows for both.
    """
    if settings.early_stopping is None:
        return rows, []
    order = list(range(len(rows)))
    random.Random(seed_of(settings.seed, "apart")).shuffle(order)
    count = max(1, round(len(rows) * settings.early_stopping.share))
    if count >= len(rows):
        raise DataError(f"training.early_stopping: {len(rows)} rows are too few to keep some out of training")
    return [rows[i] for i in sorted(order[count:])], [rows[i] for i in sorted(order[:count])]


def _stoppers(settings: TrainSettings) -> list[TrainerCallback]:
    stopping = settings.early_stopping
    return [EarlyStoppingCallback(early_stopping_patience=stopping.patience)] if stopping else []


def load_policy(model_dir: str, settings: TrainSettings, start_dir: Path | None) -> tuple[Any, LoraConfig | None]:
    """(model, None) where weights to continue from are given or all weights are trained, else (base, LoRA settings)."""
    dtype = choose_dtype(settings.dtype, gpu=torch.cuda.is_available())
    full_start = start_dir if start_dir and not settings.use_lora else None
    model = AutoModelForCausalLM.from_pretrained(
        full_start or model_dir,
        dtype=getattr(torch, dtype),
        trust_remote_code=settings.trust_remote_code,
        use_safetensors=True,
        quantization_config=_four_bits(dtype) if settings.load_in_4bit else None,
    )
    model.config.use_cache = False
    if not settings.use_lora:
        return model, None
    if start_dir:
        return PeftModel.from_pretrained(model, start_dir, is_trainable=True, use_safetensors=True), None
    return model, lora_config(settings)


def _four_bits(dtype: str) -> BitsAndBytesConfig:
    """QLoRA's quantisation (Dettmers et al. 2023): NF4 with double quantisation."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def _shared_arguments(settings: TrainSettings, work_dir: Path, num_steps: int, model: Any) -> dict[str, Any]:
    on_cpu = not torch.cuda.is_available()
    stopping = settings.early_stopping
    saved_every = stopping.every if stopping else settings.checkpoint_every  # the best weights are a checkpoint's
    watched = {
        "eval_strategy": "steps",
        "eval_steps": saved_every,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
    }
    spread = {"fsdp": True, "fsdp_config": settings.fsdp} if settings.fsdp is not None else {}
    return {
        "output_dir": str(work_dir),
        "max_steps": num_steps,
        "per_device_train_batch_size": settings.batch_size,
        "gradient_accumulation_steps": 1,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.scheduler,
        "warmup_steps": math.ceil(settings.warmup_ratio * num_steps),
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "max_length": None,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps" if saved_every else "no",
        "save_steps": saved_every or num_steps,
        "save_total_limit": 2,
        "report_to": list(settings.trackers),
        "disable_tqdm": True,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "ddp_find_unused_parameters": False,
        "remove_unused_columns": False,
        "use_cpu": on_cpu,
        "bf16": not on_cpu and model.dtype == torch.bfloat16,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "deepspeed": settings.deepspeed,
        **(watched if stopping else {}),
        **spread,
    }


def _save(model: Any, folder: Path) -> None:
    """The policy's own weights: the "default" adapter without its frozen reference copy, or the whole model."""
    if isinstance(model, PeftModel):
        model.save_pretrained(folder, selected_adapters=["default"])
    else:
        model.save_pretrained(folder)
