"""A text and a policy -> the tool calls that help to predict it: Toolformer (Schick et al. 2023), section 2.

For a position i of a text x, with weights w_t and a prefix z, the loss of the rest of the text is

    L_i(z) = - sum_{j=i}^{n} w_{j-i} log p(x_j | z, x_{1:j-1})

L+ is the loss with the call and its result as the prefix, L- the lower one of no call and the call without its result.
A call is kept where L- - L+ >= tau_f. As in the paper the call stands *before* the whole text when losses are taken,
because a policy that has not been tuned yet does not expect it in the middle.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rayplay.records import Message, ToolSpec, seed_of


class TeacherPolicy(Protocol):
    """What teacher mode needs of a language model. Log probabilities are natural logarithms."""

    def score(self, token_ids: Sequence[int]) -> list[float]:
        """(T,) log p(token j | tokens before it); the first is 0.0."""

    def next_logprobs(self, token_ids: Sequence[int], token_id: int, least: float) -> list[float]:
        """(T,) log p(`token_id` comes next | tokens 0..j); -inf may stand where p < `least`."""

    def continue_until(
        self, prompt_ids: Sequence[int], count: int, max_new_tokens: int, stop_id: int, seed: int
    ) -> list[list[int]]:
        """`count` continuations, each up to and without `stop_id`; those that never reach it are left out."""


class Teacher(TeacherPolicy, Protocol):
    """A policy with its tokenizer, which can also be talked to, until it is closed."""

    tokenizer: Any

    def say(self, messages: Sequence[Message], tools: Sequence[ToolSpec], seed: int, *, temperature: float) -> Message:
        """One assistant message."""

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True)
class TeacherSettings:
    """Thresholds and sizes; the defaults are the paper's for most tools (k=5, m=5, tau_s=0.05, tau_f=1.0)."""

    tau_s: float = 0.05  # least probability of starting a call at a position
    tau_f: float = 1.0  # least gain in weighted loss
    top_positions: int = 5
    samples_per_position: int = 5
    max_call_tokens: int = 32
    seed: int = 0


@dataclass(frozen=True)
class Candidate:
    """A position where a call may begin, and how likely the policy begins one there."""

    index: int
    probability: float


@dataclass(frozen=True)
class Losses:
    """The three losses of a call at a position."""

    without_call: float
    without_result: float
    with_result: float

    @property
    def gain(self) -> float:
        """L- - L+."""
        return min(self.without_call, self.without_result) - self.with_result


@dataclass(frozen=True)
class KeptCall:
    """A call that helps: where it goes, what was called, what came back."""

    index: int
    call: str
    result: str
    losses: Losses


@dataclass
class Funnel:
    """How many were proposed, executed and kept, and why the others were not."""

    texts: int = 0
    positions: int = 0
    candidates: int = 0
    proposed: int = 0
    executed: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    def summary(self) -> dict[str, object]:
        """For printing; every proposed call is kept or in `dropped`."""
        return {**{k: v for k, v in vars(self).items() if k != "dropped"}, "dropped": dict(self.dropped)}


@dataclass(frozen=True)
class Notation:
    """How calls are written as tokens: `start` call `arrow` result `end`; `start` and `end` are one token each."""

    start_id: int
    end_id: int
    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    arrow: str = " -> "

    def with_result(self, call: str, result: str) -> list[int]:
        """e(c, r)."""
        return [self.start_id, *self.encode(call), *self.encode(self.arrow + result), self.end_id]

    def without_result(self, call: str) -> list[int]:
        """e(c, empty)."""
        return [self.start_id, *self.encode(call), self.end_id]


# A call's text -> (result, "") or ("", why there is none).
Execute = Callable[[str], tuple[str, str]]


def weights(count: int) -> list[float]:
    """w_0 .. w_{count-1}: max(0, 1 - 0.2 t), divided by the sum of all of them (3.0), as in the paper's appendix A."""
    raw = [max(0.0, 1.0 - 0.2 * t) for t in range(max(count, 5))]
    total = sum(raw)
    return [w / total for w in raw[:count]]


def weighted_loss(logprobs: Sequence[float]) -> float:
    """L_i from the log probabilities of x_i, x_{i+1}, ..."""
    return -sum(w * p for w, p in zip(weights(len(logprobs)), logprobs, strict=True))


def loss_after(policy: TeacherPolicy, prefix: Sequence[int], text: Sequence[int], index: int) -> float:
    """L_index(prefix) of a text; only the five tokens that carry weight are read."""
    whole = [*prefix, *text[: index + 5]]
    logprobs = policy.score(whole)
    return weighted_loss(logprobs[len(prefix) + index :])


def losses_of(
    policy: TeacherPolicy, notation: Notation, context: Sequence[int], text: Sequence[int], index: int,
    call: str, result: str,
) -> Losses:  # fmt: skip
    """The three losses of one call.

    Args:
        policy: Scores.
        notation: Writes the call.
        context: What stands before all (the question that the text answers; may be empty).
        text: x.
        index: i, counted from 0.
        call: As the policy wrote it.
        result: What its execution gave.
    """
    return Losses(
        loss_after(policy, context, text, index),
        loss_after(policy, [*notation.without_result(call), *context], text, index),
        loss_after(policy, [*notation.with_result(call, result), *context], text, index),
    )


def is_kept(losses: Losses, tau_f: float) -> bool:
    """The filter: L- - L+ >= tau_f."""
    return losses.gain >= tau_f


def candidate_positions(
    policy: TeacherPolicy, prompt: Sequence[int], text: Sequence[int], start_id: int, settings: TeacherSettings
) -> list[Candidate]:
    """Positions of the text where the policy begins a call with probability above tau_s; the top k, in text order.

    Position i stands before x_i: the probability is p(start | prompt, x_{1:i-1}).
    """
    if not text:
        return []
    whole = [*prompt, *text]
    following = policy.next_logprobs(whole, start_id, settings.tau_s)[:-1]
    # where no token stands before x_1, no call can begin there
    found = following[len(prompt) - 1 :] if prompt else [-math.inf, *following]
    able = [Candidate(i, math.exp(p)) for i, p in enumerate(found) if math.exp(p) > settings.tau_s]
    best = sorted(able, key=lambda c: (-c.probability, c.index))[: settings.top_positions]
    return sorted(best, key=lambda c: c.index)


def annotate(
    policy: TeacherPolicy,
    notation: Notation,
    prompt: Sequence[int],
    context: Sequence[int],
    text: Sequence[int],
    execute: Execute,
    settings: TeacherSettings,
    funnel: Funnel,
) -> list[KeptCall]:
    """One text -> the best helpful call of each candidate position.

    Args:
        policy: Proposes and scores.
        notation: How calls are written.
        prompt: P(x) without x: instruction and examples that show calls, and the context.
        context: Stands before the text when losses are taken.
        text: x, as token ids.
        execute: Runs a call.
        settings: Thresholds and sizes.
        funnel: Is added to.
    """
    funnel.texts += 1
    funnel.positions += len(text)
    kept = []
    for candidate in candidate_positions(policy, prompt, text, notation.start_id, settings):
        funnel.candidates += 1
        best: KeptCall | None = None
        for call in _proposals(
            policy, notation, [*prompt, *text[: candidate.index]], candidate.index, settings, funnel
        ):
            result, problem = execute(call)
            if problem:
                funnel.dropped[problem] += 1
                continue
            funnel.executed += 1
            losses = losses_of(policy, notation, context, text, candidate.index, call, result)
            if not is_kept(losses, settings.tau_f):
                funnel.dropped["does_not_help"] += 1
            elif best is None or losses.gain > best.losses.gain:
                funnel.dropped["another_helps_more"] += best is not None
                best = KeptCall(candidate.index, call, result, losses)
            else:
                funnel.dropped["another_helps_more"] += 1
        if best is not None:
            funnel.kept += 1
            kept.append(best)
    return kept


def _proposals(
    policy: TeacherPolicy, notation: Notation, before: list[int], index: int, settings: TeacherSettings, funnel: Funnel
) -> list[str]:
    """Distinct calls that the policy writes after `start`."""
    seed = seed_of(settings.seed, "teacher", index, *map(str, before[-8:]))
    count = settings.samples_per_position
    sampled = policy.continue_until(
        [*before, notation.start_id], count, settings.max_call_tokens, notation.end_id, seed
    )
    funnel.proposed += count
    funnel.dropped["call_does_not_end"] += count - len(sampled)
    # the policy may go on to a result of its own: only the call counts
    texts = [notation.decode(ids).split(notation.arrow.strip())[0].strip() for ids in sampled]
    distinct = list(dict.fromkeys(t for t in texts if t))
    funnel.dropped["empty"] += sum(not t for t in texts)
    funnel.dropped["repeated"] += sum(bool(t) for t in texts) - len(distinct)
    return distinct
