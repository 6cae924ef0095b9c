"""Each optimizer step -> one readable entry: loss, rewards, tokens, speed, memory, and what should alarm the reader."""

import math
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from rayplay.errors import AlarmError
from rayplay.records import Json
from rayplay.training.tree import Sharing

MAX_KL = 100.0  # nats a completion: a tool call has 20 to 60 tokens, so 2 or more on each
MAX_CHOSEN_LOSS = 50.0  # nats by which the chosen completions may become less likely than under the reference
NOT_OURS = ("epoch", "num_tokens", "total_flos")  # transformers' own; tokens are counted once by us


class StepLog(TrainerCallback):
    """Collects the entries. A loss that is not a number ends the run; other alarms stand in the entry as "alarm"."""

    def __init__(self, sharing: Sharing, total: int, beta: float, on_step: Callable[[Json], None] | None):
        self.sharing, self.total, self.beta, self.on_step = sharing, total, beta, on_step
        self.steps: list[Json] = []
        self._last = (0, 0, time.monotonic())

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The first step's seconds start here, after models have been loaded."""
        self._last = (0, 0, time.monotonic())

    def on_log(self, args: Any, state: Any, control: Any, logs: Json | None = None, **_: Any) -> None:
        """One entry per step; transformers' closing summary is not one.

        Raises:
            AlarmError: The loss or the gradient is not a finite number.
        """
        if logs and "eval_loss" in logs and self.steps:
            self.steps[-1]["eval_loss"] = logs["eval_loss"]
        if not logs or "loss" not in logs:
            return
        raw, unique, then = self._last
        now, count = time.monotonic(), self.sharing.count
        seconds = now - then
        entry = {"step": state.global_step, "steps": self.total}
        entry |= {key: value for key, value in logs.items() if key not in NOT_OURS}
        ours = {"raw_tokens": count.raw - raw, "unique_tokens": count.unique - unique, "seconds": seconds}
        ours |= {"tok_s": (count.raw - raw) / max(seconds, 1e-9), "memory_mb": _peak_memory_mb()}
        ours |= self._distance(logs)
        logs |= ours  # in place: trackers, whose callbacks come later, log them too
        entry |= ours
        self._last = (count.raw, count.unique, now)
        self.steps.append(entry)
        if self.on_step:
            self.on_step(entry)
        if not math.isfinite(entry["loss"]) or not math.isfinite(entry.get("grad_norm", 0.0)):
            raise AlarmError(
                f"training step {state.global_step}: loss is {entry['loss']}, gradient norm "
                f"{entry.get('grad_norm')}; lower training.learning_rate (now {args.learning_rate})"
            )

    def _distance(self, logs: Json) -> Json:
        """`kl` to the reference, in nats a completion, and an alarm where the policy runs away.

        Completions were sampled by the reference, so the mean of log(reference / policy) over them estimates
        KL(reference || policy); a reward is beta * log(policy / reference). KTO and GRPO bring a `kl` of their own.
        """
        chosen = rejected = 0.0
        if "rewards/chosen" in logs and "rewards/rejected" in logs:
            chosen, rejected = logs["rewards/chosen"] / self.beta, logs["rewards/rejected"] / self.beta
        elif "kl" not in logs:
            return {}
        kl = logs.get("kl", -(chosen + rejected) / 2)
        if chosen < -MAX_CHOSEN_LOSS:
            return {"kl": kl, "alarm": f"chosen completions lost {-chosen:.0f} nats against the reference"}
        return {"kl": kl, "alarm": f"KL to the reference is {kl:.0f} nats a completion"} if kl > MAX_KL else {"kl": kl}


def _peak_memory_mb() -> float:
    """Highest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
