"""Token ids -> log probabilities and samples of any causal model: rayplay.data.teacher's policy on torch."""

from collections.abc import Sequence

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rayplay.models.resolve import resolve_model


class TorchTeacher:
    """One model for proposing calls and for scoring them.

    Args:
        name: Packaged model, hub id or local folder.
        temperature: Of sampled calls.
    """

    def __init__(self, name: str, temperature: float = 1.0) -> None:
        folder = str(resolve_model(name))
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device).eval()
        self.temperature = temperature

    def score(self, token_ids: Sequence[int]) -> list[float]:
        """(T,) log p(token j | before); the first is 0.0."""
        logprobs_TV = self._logprobs(token_ids)
        chosen_T = torch.tensor(token_ids[1:], device=logprobs_TV.device)
        return [0.0, *logprobs_TV[:-1].gather(1, chosen_T[:, None])[:, 0].tolist()]

    def next_logprobs(self, token_ids: Sequence[int], token_id: int) -> list[float]:
        """(T,) log p(`token_id` next | tokens 0..j)."""
        return self._logprobs(token_ids)[:, token_id].tolist()

    def sample(
        self, prompt_ids: Sequence[int], count: int, max_new_tokens: int, stop_id: int, seed: int
    ) -> list[list[int]]:
        """`count` continuations without `stop_id`; those that never reach it are left out."""
        torch.manual_seed(seed)
        ids_1T = torch.tensor([list(prompt_ids)], device=self.model.device)
        with torch.inference_mode():
            whole_CT = self.model.generate(
                ids_1T, attention_mask=torch.ones_like(ids_1T), do_sample=True, temperature=self.temperature,
                top_k=0, num_return_sequences=count, max_new_tokens=max_new_tokens, eos_token_id=stop_id,
                pad_token_id=stop_id,
            )  # fmt: skip
        rows = [row[len(prompt_ids) :] for row in whole_CT.tolist()]
        return [row[: row.index(stop_id)] for row in rows if stop_id in row]

    def _logprobs(self, token_ids: Sequence[int]) -> torch.Tensor:
        with torch.inference_mode():
            logits_TV = self.model(torch.tensor([list(token_ids)], device=self.model.device)).logits[0]
        return torch.log_softmax(logits_TV.float(), dim=-1)
