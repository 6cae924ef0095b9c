"""The teacher's model in an actor of its own: where the rollout workers' resources are, not in the driver."""

from collections.abc import Sequence

import ray
from transformers import AutoTokenizer

from rayplay.models.resolve import resolve_model

CALL_S = 300.0  # one forward pass, or one batch of samples


class RemoteTeacher:
    """A TeacherPolicy whose model an actor holds; ends with it.

    Args:
        name: Packaged model, hub id or local folder.
        gpus: That the actor reserves.
    """

    def __init__(self, name: str, gpus: float = 0) -> None:
        from rayplay.models.teacher_policy import TorchTeacher  # torch is for runs that have a teacher

        self.tokenizer = AutoTokenizer.from_pretrained(str(resolve_model(name)))
        self._actor = ray.remote(TorchTeacher).options(num_cpus=0, num_gpus=gpus).remote(name)

    def score(self, token_ids: Sequence[int]) -> list[float]:
        """(T,) log p(token j | tokens before it); the first is 0.0."""
        return ray.get(self._actor.score.remote(list(token_ids)), timeout=CALL_S)

    def next_logprobs(self, token_ids: Sequence[int], token_id: int) -> list[float]:
        """(T,) log p(`token_id` comes next | tokens 0..j)."""
        return ray.get(self._actor.next_logprobs.remote(list(token_ids), token_id), timeout=CALL_S)

    def sample(
        self, prompt_ids: Sequence[int], count: int, max_new_tokens: int, stop_id: int, seed: int
    ) -> list[list[int]]:
        """`count` continuations without `stop_id`; those that never reach it are left out."""
        asked = self._actor.sample.remote(list(prompt_ids), count, max_new_tokens, stop_id, seed)
        return ray.get(asked, timeout=CALL_S)
