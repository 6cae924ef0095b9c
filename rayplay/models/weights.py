"""A model's folder -> refused unless its weights are safetensors, all named as a loader looks for them.

A loader that finds no `model.safetensors` goes on to `pytorch_model.bin`, a pickle, which runs code when it is read.
Any other file whose name ends in .safetensors does not change that, so the names themselves are checked.
"""

import json
from pathlib import Path
from typing import Any

from rayplay.errors import ModelError

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")
# Of a model's folder, what a loader may read: all of it counts in the model's hash
READ = (".json", ".safetensors", ".jinja", ".model", ".txt", ".tiktoken", ".vocab", ".py")
MOST_INDEX_BYTES = 100 << 20


def check_weights(folder: Path) -> None:
    """Refuse a folder from which a loader would read anything but safetensors.

    Raises:
        ModelError: Naming what is missing or wrong.
    """
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"model {folder}: adapter_config.json is there, so a loader would take another model as its base; name the "
            "base as the model, and keep the adapter in a folder of its own"
        )
    shards = _shards(folder)
    if not shards:
        others = [p.name for p in sorted(folder.glob("*")) if p.suffix in (*PICKLES, ".safetensors")]
        instead = f" (but {', '.join(others[:4])})" if others else ""
        raise ModelError(f"model {folder}: no {WHOLE} and no {INDEX}{instead}; only safetensors are read")
    for name in shards:
        if not (folder / name).is_file():
            raise ModelError(f"model {folder}: {INDEX} names {name}, which is not there; download the model again")


def _shards(folder: Path) -> list[str]:
    """Files of the weights; [] where there are none under the names that loaders look for.

    Raises:
        ModelError: The index names something that is no safetensors file of this folder.
    """
    if (folder / WHOLE).is_file():
        return [WHOLE]
    index = folder / INDEX
    if not index.is_file():
        return []
    try:
        text = index.read_text(encoding="utf-8") if index.stat().st_size <= MOST_INDEX_BYTES else ""
        weights: dict[str, Any] = json.loads(text)["weight_map"]
        names = sorted({str(name) for name in weights.values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"model {folder}: {INDEX} cannot be read; download the model again") from error
    bad = next((name for name in names if Path(name).name != name or not name.endswith(".safetensors")), None)
    if bad is not None:
        raise ModelError(f"model {folder}: {INDEX} names {bad!r}, which is no safetensors file of this folder")
    return names
