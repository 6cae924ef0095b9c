"""Prefix-sharing training against TRL's stock trainers: the same rows, the same optimizer step, the same threads.

Both sides start from equal LoRA weights (B filled with noise, so that the DPO loss is not log 2 by construction) and
take turns; the time is that of one optimizer step (collated batch -> forward, reference, backward, clip, AdamW), the
median of the repeats after one unmeasured step. Stock TRL runs with gradient checkpointing off, its faster setting.
Run as a process of its own (`python -m rayplay.training.bench`), so that both sides have the same allocator.
"""

import argparse
import json
import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from matplotlib.figure import Figure
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from rayplay.models.resolve import resolve_model
from rayplay.records import Json, Pair, Reason, Row
from rayplay.training.phase import build_trainer, load_policy
from rayplay.training.rows import sft_columns
from rayplay.training.settings import TrainSettings
from rayplay.training.tree import Sharing

QUESTION = 4  # tokens in which two tasks over the same tools differ, before the completion


def make_rows(method: str, rows: int, shared: int, completion: int, question: int = QUESTION) -> list[Row] | list[Pair]:
    """Random tokens in the shape of tool-use data: a shared prefix, a short question, one or two completions each."""
    rng = random.Random(0)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(rng.randrange(1000, 40_000) for _ in range(n))

    prefix, result = tokens(shared), []
    for i in range(rows):
        prompt = prefix + tokens(question)
        if method == "sft":
            mask = (0,) * len(prompt) + (1,) * completion
            result.append(Row(row_id=str(i), token_ids=prompt + tokens(completion), mask=mask))
        else:
            sides = {"chosen_ids": tokens(completion), "rejected_ids": tokens(completion)}
            masks = {"chosen_mask": (1,) * completion, "rejected_mask": (1,) * completion}
            about = {"pair_id": str(i), "task_id": str(i), "reason": Reason.OTHER, "margin": 1.0}
            result.append(Pair(**about, prompt_ids=prompt, **sides, **masks))
    return result


def compare(model_dir: str, method: str, rows: list[Any], repeats: int) -> Json:
    """Median seconds of one step on both sides, and how far losses and LoRA gradients are apart."""
    sharing = Sharing(tree=True, max_unique_tokens=8192)
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            "tree": _tree_trainer(model_dir, method, rows, sharing, Path(folder)),
            "trl": _stock_trainer(model_dir, method, rows, Path(folder)),
        }
        runs = {name: Stepper(trainer) for name, trainer in sides.items()}
        _equal_adapters(sides["tree"].model, sides["trl"].model)
        first = {name: run.step() for name, run in runs.items()}
        gradients = {name: run.first_gradients for name, run in runs.items()}
        per_step = (sharing.count.raw, sharing.count.unique)
        for _ in range(repeats):
            for run in runs.values():
                run.step()
    median = {name: statistics.median(run.seconds[1:]) for name, run in runs.items()}
    return {
        "tree_s": round(median["tree"], 3),
        "trl_s": round(median["trl"], 3),
        "speedup": round(median["trl"] / median["tree"], 3),
        "loss_diff": abs(first["tree"] - first["trl"]),
        "loss": first["trl"],
        "gradient_diff": _worst_difference(gradients["tree"], gradients["trl"]),
        "rows": len(rows),
        "raw_tokens": per_step[0],
        "unique_tokens": per_step[1],
        "packing_ratio": round(per_step[0] / per_step[1], 3),
        "tree_steps_s": [round(s, 3) for s in runs["tree"].seconds[1:]],
        "trl_steps_s": [round(s, 3) for s in runs["trl"].seconds[1:]],
        "peak_memory_mb": {name: round(run.peak_mb) for name, run in runs.items()},
    }


class Stepper:
    """Optimizer steps of a trainer on its first batch, timed, and the highest resident memory of the first one."""

    def __init__(self, trainer: Any):
        self.trainer = trainer
        self.parameters = [p for p in trainer.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-5)
        self.batch = next(iter(trainer.get_train_dataloader()))
        self.first_gradients: dict[str, torch.Tensor] = {}
        self.seconds: list[float] = []
        self.peak_mb = 0.0  # of the first step: allocators keep what later steps could give back

    def step(self) -> float:
        """One step; returns its loss."""
        trainer = self.trainer
        if not self.seconds:
            _reset_peak()
        started = time.perf_counter()
        trainer.current_gradient_accumulation_steps = 1
        count = trainer._get_num_items_in_batch([self.batch], trainer.args.device)
        loss = trainer.training_step(trainer.model, dict(self.batch), count)
        if not self.first_gradients:
            named = trainer.model.named_parameters()
            self.first_gradients = {name: p.grad.clone() for name, p in named if p.grad is not None}
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.seconds.append(time.perf_counter() - started)
        self.peak_mb = self.peak_mb or _peak_mb()
        return float(loss)


def measure(model_dir: str, repeats: int) -> Json:
    """The whole report: both objectives with a 300-token shared prefix, and with nothing shared."""
    report: Json = {"threads": torch.get_num_threads(), "repeats": repeats}
    for method in ("dpo", "sft"):  # dpo first: its peaks are then those of a fresh process
        report[method] = compare(model_dir, method, make_rows(method, 8, 300, 40), repeats)
        _progress(method, report[method])
    report["nothing_shared"] = compare(model_dir, "sft", make_rows("sft", 4, 0, 40, question=120), repeats)
    _progress("nothing shared", report["nothing_shared"])
    peaks = report["dpo"]["peak_memory_mb"]
    del report["sft"]["peak_memory_mb"], report["nothing_shared"]["peak_memory_mb"]  # the allocator keeps DPO's peak
    report["packing_ratio"] = report["dpo"]["packing_ratio"]
    report["peak_memory_ratio"] = round(peaks["trl"] / peaks["tree"], 3)
    return report


def measure_grid(model_dir: str) -> list[Json]:
    """One SFT step at several shared lengths, completion lengths and group sizes, one of them changed at a time."""
    middle = {"rows": 8, "shared": 300, "completion": 40}
    points = [middle]
    for key, values in (("shared", (0, 100, 600)), ("completion", (10, 120)), ("rows", (2, 4, 16))):
        points += [{**middle, key: value} for value in values]
    results = []
    for point in points:
        result = compare(model_dir, "sft", make_rows("sft", point["rows"], point["shared"], point["completion"]), 1)
        results.append({**point, **{k: result[k] for k in ("tree_s", "trl_s", "speedup", "packing_ratio")}})
        _progress(str(point), result)
    return results


def plot_grid(points: list[Json], path: Path) -> None:
    """Speed-up and its limit by shared length, completion length and group size, as an SVG."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    names = {"shared": "shared tokens", "completion": "completion tokens", "rows": "rows in a step"}
    middle = points[0]
    for axes, (key, name) in zip(panels, names.items(), strict=True):
        others = [other for other in names if other != key]
        line = sorted((p for p in points if all(p[o] == middle[o] for o in others)), key=lambda p: p[key])
        at = [p[key] for p in line]
        axes.plot(at, [p["packing_ratio"] for p in line], "--", color="#888", label="limit: raw / unique tokens")
        axes.plot(at, [p["speedup"] for p in line], "o-", color="#1f6fb2", label="speed-up over TRL")
        axes.set_xlabel(name)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("times")
    panels[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, format="svg")


def _tree_trainer(model_dir: str, method: str, rows: list[Any], sharing: Sharing, folder: Path) -> Any:
    settings = TrainSettings(batch_size=len(rows), dtype="float32")
    return build_trainer(model_dir, rows, method, settings, folder, [list(range(len(rows)))], sharing)


def _stock_trainer(model_dir: str, method: str, rows: list[Any], folder: Path) -> Any:
    """TRL as its own documentation uses it, on the same token ids."""
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    base, lora = load_policy(model_dir, TrainSettings(dtype="float32"), None)
    shared = {
        "output_dir": str(folder),
        "per_device_train_batch_size": len(rows),
        "gradient_checkpointing": False,
        "max_length": None,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": False,
        "report_to": [],
        "disable_tqdm": True,
    }
    if method == "sft":
        config = SFTConfig(**shared, dataset_kwargs={"skip_prepare_dataset": True})
        return SFTTrainer(base, config, train_dataset=sft_columns(rows), processing_class=tokenizer, peft_config=lora)
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    data = Dataset.from_dict({c: [list(getattr(row, c)) for row in rows] for c in columns})
    stock = type("StockDPO", (DPOTrainer,), {"_prepare_dataset": lambda self, dataset, *_: dataset})
    return stock(base, None, DPOConfig(**shared), train_dataset=data, processing_class=tokenizer, peft_config=lora)


def _equal_adapters(source: Any, target: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    others = dict(target.named_parameters())
    for name, parameter in source.named_parameters():
        if parameter.requires_grad:
            if "lora_B" in name:
                parameter.data.normal_(0, 0.01, generator=generator)
            others[name].data.copy_(parameter.data)


def _worst_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Largest |a - b| of any LoRA matrix, relative to that matrix's largest gradient."""
    return max(float((a[name] - b[name]).abs().max() / b[name].abs().max().clamp(min=1e-12)) for name in b)


def _reset_peak() -> None:
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(x.split()[1]) / 1024 for x in status.read_text().splitlines() if x.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _progress(what: str, result: Json) -> None:
    print(f"{what}: {result['tree_s']} s against {result['trl_s']} s, {result['speedup']} times", file=sys.stderr)


def main() -> None:
    """Print the report as one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--grid", action="store_true")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model_dir = str(resolve_model(options.model))
    result = measure_grid(model_dir) if options.grid else measure(model_dir, options.repeats)
    if options.plot:
        plot_grid(result, options.plot)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
