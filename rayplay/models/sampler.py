"""What an episode needs of an engine, and a scripted one for tests of everything around it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from rayplay.episode import Completion
from rayplay.records import Adapter


class EngineDied(Exception):
    """The engine cannot sample any more: its worker must be replaced."""


class Sampler(Protocol):
    """Samples completions token by token; all methods are called from one event loop."""

    async def generate(
        self, prompt_ids: list[int], max_new_tokens: int, seed: int, temperature: float, grammar: str = ""
    ) -> Completion:
        """One completion, end-of-turn token included. Cancelling the call frees the engine's slot.

        `grammar` is a structural tag that the completion must keep to; "" leaves it free.

        Raises:
            EngineDied: Now, or at an earlier call.
        """

    async def load(self, adapter: Adapter | None) -> None:
        """Sample from these weights from now on; None = the base model."""

    def close(self) -> None:
        """Free the engine."""


class TeachingSampler(Sampler, Protocol):
    """A Sampler that can also say how likely a text is: what a teacher needs. All log probabilities are natural."""

    async def score(self, token_ids: Sequence[int]) -> list[float]:
        """(T,) log p(token j | tokens before it); the first is 0.0."""

    async def next_logprobs(self, token_ids: Sequence[int], token_id: int, least: float) -> list[float]:
        """(T,) log p(`token_id` comes next | tokens 0..j); -inf may stand where p < `least`."""

    async def continue_until(
        self, prompt_ids: Sequence[int], count: int, max_new_tokens: int, stop_id: int, seed: int
    ) -> list[list[int]]:
        """`count` continuations without `stop_id`; those that never reach it are left out."""


class ScriptedSampler:
    """Answers from a function of (prompt text, seed), after an optional pause: a Sampler without a model."""

    def __init__(self, dialect_tokenizer: object, script: Callable[[str, int], str], pause_s: float = 0.0) -> None:
        self._tokenizer, self._script, self._pause_s = dialect_tokenizer, script, pause_s
        self.loaded: list[str] = []

    async def generate(
        self, prompt_ids: list[int], max_new_tokens: int, seed: int, temperature: float, grammar: str = ""
    ) -> Completion:
        """The script's text as token ids, cut at `max_new_tokens`."""
        await asyncio.sleep(self._pause_s)
        text = self._script(self._tokenizer.decode(prompt_ids), seed)
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return Completion(ids[:max_new_tokens], "length" if len(ids) > max_new_tokens else "stop")

    async def load(self, adapter: Adapter | None) -> None:
        """Remember which version was asked for."""
        self.loaded.append(adapter.version if adapter else "base")

    def stats(self) -> dict[str, float]:
        """No engine, no counters."""
        return {}

    def close(self) -> None:
        """Nothing to free."""
