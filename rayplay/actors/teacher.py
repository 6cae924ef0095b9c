"""A teacher in a rollout worker: the policy itself, or another model in the place of one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from transformers import AutoTokenizer

from rayplay.actors.pool import PoolSettings, last_line, start_rollout_actor
from rayplay.actors.rollout import EngineSettings
from rayplay.episode import EpisodeLimits
from rayplay.errors import DataError
from rayplay.models.device import usable_cores
from rayplay.models.resolve import resolve_model
from rayplay.records import Message, ToolSpec

CALL_S = 300.0  # one look at a text, or one batch of samples
MESSAGE_TOKENS = 512


class RemoteTeacher:
    """A TeacherPolicy and a chat teacher, whose engine a rollout worker of its own holds until `close`.

    Args:
        pool: What the worker reserves.
        engine: The policy's engine.
        limits: Of these, how long a conversation may become.
        name: Packaged model, hub id or local folder, with a chat template; none: the policy's.

    Raises:
        DataError: The worker did not start.
    """

    def __init__(
        self, pool: PoolSettings, engine: EngineSettings, limits: EpisodeLimits, name: str | None = None
    ) -> None:
        if name:
            engine = replace(engine, model_dir=str(resolve_model(name)))
        self._name = name or engine.model_dir
        self.tokenizer = AutoTokenizer.from_pretrained(engine.model_dir, trust_remote_code=engine.trust_remote_code)
        self._actor = start_rollout_actor(pool, engine, limits, [], usable_cores())
        try:
            self._ask(pool.start_deadline_s, "ready")
        except DataError:
            self.close()
            raise

    def close(self) -> None:
        """End the worker."""
        ray.kill(self._actor)

    def score(self, token_ids: Sequence[int]) -> list[float]:
        """(T,) log p(token j | tokens before it); the first is 0.0."""
        return self._ask(CALL_S, "score", list(token_ids))

    def next_logprobs(self, token_ids: Sequence[int], token_id: int, least: float) -> list[float]:
        """(T,) log p(`token_id` comes next | tokens 0..j); -inf may stand where p < `least`."""
        return self._ask(CALL_S, "next_logprobs", list(token_ids), token_id, least)

    def continue_until(
        self, prompt_ids: Sequence[int], count: int, max_new_tokens: int, stop_id: int, seed: int
    ) -> list[list[int]]:
        """`count` continuations without `stop_id`; those that never reach it are left out."""
        return self._ask(CALL_S, "continue_until", list(prompt_ids), count, max_new_tokens, stop_id, seed)

    def say(self, messages: Sequence[Message], tools: Sequence[ToolSpec], seed: int, *, temperature: float) -> Message:
        """One assistant message."""
        return self._ask(CALL_S, "say", list(messages), list(tools), MESSAGE_TOKENS, seed, temperature)

    def _ask(self, deadline_s: float, method: str, *args: Any) -> Any:
        try:
            return ray.get(getattr(self._actor, method).remote(*args), timeout=deadline_s)
        except (RayActorError, RayTaskError, GetTimeoutError) as error:
            raise DataError(f"the teacher {self._name} failed at {method!r}: {last_line(error)}") from error
