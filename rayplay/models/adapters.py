"""Adapters between memory and disk, and base + adapter -> merged weights."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from rayplay.errors import ModelError
from rayplay.models.weights import PICKLES, check_weights
from rayplay.records import Adapter


def check_adapter(folder: Path) -> None:
    """Refuse a folder of trained weights from which a loader would read anything but safetensors.

    Raises:
        ModelError: Naming what it lacks, or the pickle that it holds.
    """
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    pickles = [name for name in names if Path(name).suffix in PICKLES and name != "training_args.bin"]
    if pickles:
        raise ModelError(f"adapter {folder}: {pickles[0]} is a pickle, which can run code; only safetensors are read")
    if "adapter_config.json" in names and "adapter_model.safetensors" not in names:
        raise ModelError(f"adapter {folder}: no safetensors here; it should hold adapter_model.safetensors")
    if "adapter_config.json" not in names:
        check_weights(folder)


def read_adapter(folder: str | Path, version: str) -> Adapter:
    """The files of a PEFT folder (or a folder of full weights) as a record.

    Raises:
        ModelError: The folder holds neither adapter nor weights.
    """
    folder = Path(folder)
    files = {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.suffix in (".safetensors", ".json")}
    if not any(name.endswith(".safetensors") for name in files):
        raise ModelError(f"{folder}: no safetensors here; an adapter folder holds adapter_model.safetensors")
    return Adapter(version=version, files=files)


def write_adapter(adapter: Adapter, folder: str | Path) -> None:
    """Write an adapter's files into a folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, content in adapter.files.items():
        (Path(folder) / name).write_bytes(content)


def load_merged(model_dir: str, adapter: Adapter | None, dtype: torch.dtype | None = None) -> torch.nn.Module:
    """The base model with the adapter merged into its weights; full weights replace the base."""
    with tempfile.TemporaryDirectory(prefix="rayplay-adapter-") as folder:
        if adapter is None:
            check_weights(Path(model_dir))
            return AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype or "auto", use_safetensors=True)
        write_adapter(adapter, folder)
        if "adapter_config.json" not in adapter.files:
            return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or "auto", use_safetensors=True)
        check_weights(Path(model_dir))
        base = AutoModelForCausalLM.from_pretrained(model_dir, dtype=dtype or "auto", use_safetensors=True)
        return PeftModel.from_pretrained(base, folder, use_safetensors=True).merge_and_unload()


def merged_weights(model_dir: str, adapter: Adapter | None) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) of base + adapter, named as in the checkpoint; tied weights appear once."""
    model = load_merged(model_dir, adapter)
    tied = set(model.all_tied_weights_keys) if model.config.tie_word_embeddings else set()
    for name, tensor in model.state_dict().items():
        if name not in tied:
            yield name, tensor
