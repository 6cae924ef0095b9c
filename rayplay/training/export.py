"""A committed stage -> a folder that others can use: merged weights or the adapter, tokenizer and a model card."""

import contextlib
import json
import shutil
from collections import Counter
from pathlib import Path

import torch
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from transformers import AutoTokenizer
from trl import add_response_schema

from rayplay.errors import ModelError, RunFolderError
from rayplay.models.adapters import load_merged, write_adapter
from rayplay.models.resolve import resolve_model
from rayplay.output_paths import check_output_folder
from rayplay.records import Adapter, Demonstration, Json, Task
from rayplay.sinks import as_code, as_yaml, for_markdown
from rayplay.store import RunFolder, Stage, read_lines, write_file

SHOWN = ("success_rate", "tool_accuracy", "argument_accuracy", "format_correctness", "execution_success")


def export_stage(folder: RunFolder, to: Path, *, stage: str | None = None, merge: bool = True) -> Json:
    """Write the policy of a stage to `to`; the folder appears whole.

    Args:
        folder: A run.
        to: Where to; must not exist, or be empty.
        stage: Name of a committed stage; None = the last one that trained.
        merge: Whole weights that load without PEFT; False = the adapter alone.

    Raises:
        RunFolderError: No such stage, nothing trained, or the target is in use.
        ModelError: The base model cannot be found, or the adapter is already whole weights and `merge` is False.
    """
    check_output_folder(to.parent, "--to")
    check_output_folder(to, "--to")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise RunFolderError(f"--to {to}: is there already and not empty; choose another folder")
    manifest = folder.manifest()
    model = manifest["recipe"]["model"]
    chosen, adapter = _policy(folder, stage)
    whole = "adapter_config.json" not in adapter.files
    if whole and not merge:
        raise ModelError(f"stage {chosen.name}: all weights were trained, there is no adapter; leave --adapter away")
    model_dir = resolve_model(model["name"], model["revision"])
    staging = to.with_name(f".{to.name}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    if merge:
        load_merged(str(model_dir), adapter, torch.float32).save_pretrained(staging)
    else:
        write_adapter(_named_base(adapter, model["name"]), staging)
    _save_tokenizer(model_dir, staging)
    card = write_card(folder, chosen, manifest, merged=merge)
    write_file(staging / "README.md", card.encode(), mode=0o644)  # an export is for others
    if to.exists():
        to.rmdir()
    staging.rename(to)
    return {"stage": chosen.name, "to": str(to), "merged": merge, "files": sorted(p.name for p in to.iterdir())}


def push(folder: Path, repo: str) -> str:
    """Upload an exported folder to the hub; returns its address.

    Raises:
        ModelError: The hub refused, or is out of reach.
    """
    try:
        api = HfApi()
        api.create_repo(repo, exist_ok=True, private=True)
        return str(api.upload_folder(repo_id=repo, folder_path=str(folder)))
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ModelError(
            f"--push {repo}: the hub did not take it ({reason}); the folder {folder} is complete, "
            f"log in with `hf auth login` and use `hf upload {repo} {folder}`"
        ) from error


def write_card(folder: RunFolder, stage: Stage, manifest: Json, *, merged: bool) -> str:
    """The model card: what it is, what it learned from, how good it is beside its base, and what it ran under."""
    recipe = manifest["recipe"]
    base = recipe["model"]["name"]
    tags = ["tool-calling", "rayplay", as_yaml(recipe["training"]["method"])]
    front = ["---", f"base_model: {as_yaml(base)}", f"library_name: {'transformers' if merged else 'peft'}", "tags:"]
    front += [f"- {tag}" for tag in tags] + ["---", ""]
    level = manifest.get("isolation", {}).get("level", "unknown")
    parts = [
        f"# {for_markdown(base)}, taught to call tools",
        for_markdown(recipe["about"] or "Trained with rayplay."),
        f"Stage {for_markdown(stage.name)} of run {for_markdown(folder.path.name)}, "
        f"rayplay {for_markdown(manifest.get('rayplay', ''))}. "
        f"{'Merged weights.' if merged else 'A LoRA adapter; the base model is needed too.'}",
        "## Held-out results",
        _metrics_table(folder, stage),
        "## Data",
        _data_table(folder),
        f"Tool calls were executed at isolation level {for_markdown(level)}; the report is below. Other licences than "
        f"those above apply to the base model: see {for_markdown(base)}.",
        "## Recipe",
        as_code(json.dumps(recipe, indent=2, ensure_ascii=False), "json"),
        "## Isolation",
        as_code(json.dumps(manifest.get("isolation", {}), indent=2), "json"),
        "## Packages",
        as_code(json.dumps(manifest.get("packages", {}), indent=2), "json"),
    ]
    return "\n".join(front) + "\n\n".join(parts) + "\n"


def _policy(folder: RunFolder, name: str | None) -> tuple[Stage, Adapter]:
    stages = [s for s in folder.stages() if (s.path / "adapter").is_dir()]
    if not stages:
        raise RunFolderError(f"{folder.path}: no committed stage has trained weights; finish the run first")
    found = stages[-1] if name is None else next((s for s in stages if s.name == name), None)
    adapter = found.read_adapter() if found else None
    if found is None or adapter is None:
        raise RunFolderError(f"--stage {name}: not a trained stage; there are: {', '.join(s.name for s in stages)}")
    return found, adapter


def _named_base(adapter: Adapter, name: str) -> Adapter:
    """The adapter with the base model's name in place of a path of this machine."""
    config = json.loads(adapter.files["adapter_config.json"]) | {"base_model_name_or_path": name}
    files = adapter.files | {"adapter_config.json": (json.dumps(config, indent=2) + "\n").encode()}
    return Adapter(version=adapter.version, files=files)


def _save_tokenizer(model_dir: Path, folder: Path) -> None:
    """Tokenizer with its chat template, and the response template that reads calls back, where TRL knows one."""
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    if tokenizer.chat_template:
        with contextlib.suppress(ValueError):  # a template that TRL has no schema for is read by the dialect
            tokenizer = add_response_schema(tokenizer)
    tokenizer.save_pretrained(folder)


def _metrics_table(folder: RunFolder, stage: Stage) -> str:
    columns = {}
    for other in folder.stages():
        path = other.path / "metrics.json"
        if path.is_file():
            columns[other.name] = json.loads(path.read_text(encoding="utf-8"))["metrics"]
        if other.name == stage.name:
            break
    names = list(columns)
    lines = ["| | " + " | ".join(map(for_markdown, names)) + " |", "|---|" + "---|" * len(names)]
    for metric in SHOWN:
        lines.append(
            f"| {metric.replace('_', ' ')} | " + " | ".join(_cell(columns[n].get(metric)) for n in names) + " |"
        )
    return "\n".join(lines)


def _cell(entry: Json | None) -> str:
    if not entry:
        return ""
    return for_markdown(f"{entry['mean']:.2f} ({entry['low']:.2f} to {entry['high']:.2f}, n={entry['n']})")


def _data_table(folder: RunFolder) -> str:
    counts: Counter[tuple[str, str, str]] = Counter()
    for name, kind in (("train", Task), ("demonstrations", Demonstration)):
        path = folder.path / "tasks" / f"{name}.jsonl"
        if path.is_file():
            counts.update((name, row.source, row.licence or "none stated") for row in read_lines(path, kind))
    lines = ["| part | source | licence | rows |", "|---|---|---|---|"]
    for *told, n in ((*map(for_markdown, key), n) for key, n in counts.items()):
        lines.append(f"| {' | '.join(told)} | {n} |")
    return "\n".join(lines)
