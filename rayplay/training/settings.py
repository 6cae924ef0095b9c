"""Recipe -> the settings of one training phase, as a frozen record that travels to the workers."""

from typing import Literal

from rayplay.recipe import EarlyStopping, Lora, Model, Optimisation, Training
from rayplay.records import Json, Record


class TrainSettings(Record):
    """One phase: which objective, how long, how fast, on what kind of weights."""

    learning_rate: float = 1e-3
    num_epochs: float = 1.0
    max_steps: int | None = None
    batch_size: int = 16  # rows (pairs for dpo) of one optimizer step, over all workers
    deal: Literal["rows", "prefixes"] = "rows"  # prefixes: rows that share their tools come in the same step
    warmup_ratio: float = 0.1
    scheduler: str = "linear"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    beta: float = 0.1
    loss_type: tuple[str, ...] = ("sigmoid",)
    loss_weights: tuple[float, ...] | None = None
    label_smoothing: float | None = None
    use_lora: bool = True
    lora: Lora = Lora()
    tree_packing: bool = True
    max_unique_tokens: int = 4096
    gradient_checkpointing: bool = False
    early_stopping: EarlyStopping | None = None
    load_in_4bit: bool = False
    fsdp: Json | None = None
    deepspeed: Json | None = None
    max_length: int = 2048  # longer rows are left out and reported by id
    checkpoint_every: int | None = None
    trackers: tuple[str, ...] = ()
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    trust_remote_code: bool = False
    seed: int = 0


def settings_for(training: Training, model: Model, seed: int, phase: Optimisation | None = None) -> TrainSettings:
    """Settings of one phase of a recipe; `phase` (the warm start) replaces the optimisation part."""
    steps = phase or training
    return TrainSettings(
        **{key: getattr(steps, key) for key in Optimisation.model_fields},
        **{
            key: getattr(training, key)
            for key in (
                *("beta", "loss_type", "loss_weights", "label_smoothing", "use_lora", "lora"),
                *("tree_packing", "max_unique_tokens", "gradient_checkpointing", "checkpoint_every", "trackers"),
                *("early_stopping", "load_in_4bit", "fsdp", "deepspeed"),
            )
        },
        max_length=model.max_length,
        dtype=model.torch_dtype,
        trust_remote_code=model.trust_remote_code,
        seed=seed,
    )
