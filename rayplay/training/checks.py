"""Model folder + settings -> what would stop a training phase, found before any weight is loaded or file written."""

import importlib.util
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoConfig, AutoModelForCausalLM

from rayplay.errors import ModelError, RecipeError
from rayplay.training.exactness import why_not_exact
from rayplay.training.settings import TrainSettings


def check_packages(settings: TrainSettings) -> None:
    """Raises RecipeError where the settings name something that is not installed."""
    for name in settings.trackers:
        if not _installed(name):
            raise RecipeError(f"training.trackers names {name!r}, not installed; pip install 'rayplay[{name}]'")
    for key, package, wanted in (
        ("load_in_4bit", "bitsandbytes", settings.load_in_4bit),
        ("deepspeed", "deepspeed", settings.deepspeed is not None),
    ):
        if wanted and not _installed(package):
            raise RecipeError(f"training.{key} needs {package}, which is not installed; pip install {package}")


def check_training(model_dir: str | Path, settings: TrainSettings) -> None:
    """Nothing to say where a phase can begin.

    Raises:
        RecipeError: A package is missing, prefix sharing would not be exact, or the adapter does not fit the model.
        ModelError: The model is of no kind that transformers knows.
    """
    check_packages(settings)
    try:
        config = AutoConfig.from_pretrained(model_dir, trust_remote_code=settings.trust_remote_code)
    except ValueError as error:
        raise ModelError(f"model {model_dir}: {str(error).splitlines()[0]}") from error
    reason = why_not_exact(config, settings.lora.dropout if settings.use_lora else 0.0) if settings.tree_packing else ""
    if reason:
        raise RecipeError(f"training.tree_packing is on, but {reason}; --set training.tree_packing=false")
    if settings.use_lora and settings.lora.targets != "all-linear":
        _check_targets(config, settings)


def lora_config(settings: TrainSettings) -> LoraConfig:
    """The recipe's adapter in PEFT's words."""
    lora = settings.lora
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        task_type="CAUSAL_LM",
    )


def _check_targets(config, settings: TrainSettings) -> None:
    """On a model without weights (the meta device)."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=settings.trust_remote_code)
        try:
            adapted = get_peft_model(model, lora_config(settings))
        except ValueError as error:
            raise RecipeError(f"training.lora.targets: {str(error).splitlines()[0]}") from error
    if isinstance(adapted.get_output_embeddings(), BaseTunerLayer):
        raise RecipeError("training.lora.targets names the output head, which losses read directly; leave it out")


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
