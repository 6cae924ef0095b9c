"""Token ids -> sampled token ids: one vLLM engine in this process, requests joining its running batch.

The engine is touched by one thread alone. The event loop hands it new requests between two steps and goes on serving
tools while it computes, so no episode waits for another one's tool.
"""

import asyncio
import itertools
import math
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from vllm import EngineArgs, LLMEngine, SamplingParams
from vllm.lora.request import LoRARequest
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from rayplay.dialects import Dialect
from rayplay.episode import Completion
from rayplay.models.adapters import merged_weights, write_adapter
from rayplay.models.sampler import EngineDied
from rayplay.records import Adapter


class VllmSampler:
    """A Sampler over vLLM. On CPU new weights are merged and reloaded; on GPU an adapter is a LoRA request."""

    def __init__(
        self,
        model_dir: str,
        *,
        dtype: str,
        max_length: int,
        max_in_flight: int,
        gpu: bool = False,
        gpu_memory_utilization: float = 0.8,
        max_lora_rank: int = 16,
        top_p: float = 1.0,
        logprobs: bool = False,
        trust_remote_code: bool = False,
        stop_token_ids: tuple[int, ...] = (),
        fixed_length: bool = False,
    ) -> None:
        if gpu:
            own = {"enable_lora": True, "max_lora_rank": max_lora_rank, "max_loras": 1}
            own |= {"gpu_memory_utilization": gpu_memory_utilization}
        else:
            # enforce_eager leaves a helper of vLLM's log probabilities to be compiled: a C++ compiler and half a minute
            torch.compiler.set_stance("force_eager")
            # A prompt split over two steps rewinds its request's seeded generator, which CPU generators cannot do.
            own = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(8192, max_length)}
        self._engine = LLMEngine.from_engine_args(
            EngineArgs(
                model=model_dir,
                dtype=dtype,
                max_model_len=max_length,
                max_num_seqs=max_in_flight,
                enforce_eager=not gpu,  # on CPU compiling costs two minutes and gains little
                trust_remote_code=trust_remote_code,
                load_format="safetensors",
                disable_log_stats=False,
                enable_prefix_caching=True,
                generation_config="vllm",  # sampling parameters are ours alone
                max_logprobs=-1,  # a teacher asks for as many as its threshold needs
                **own,
            )
        )
        self._model_dir, self._gpu, self._logprobs, self._top_p = model_dir, gpu, logprobs, top_p
        self._stop_token_ids = list(stop_token_ids)
        self._fixed_length = fixed_length  # for benchmarks: every completion has exactly max_new_tokens
        self._lora: LoRARequest | None = None
        self._lora_ids = itertools.count(1)
        self._request_ids = itertools.count()
        self._waiting: dict[str, asyncio.Future[RequestOutput]] = {}
        self._added: list[tuple[str, list[int], SamplingParams]] = []
        self._aborted: list[str] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._pump: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self.generated_tokens = 0

    async def generate(
        self, prompt_ids: list[int], max_new_tokens: int, seed: int, temperature: float, grammar: str = ""
    ) -> Completion:
        """One completion. Raises EngineDied."""
        params = SamplingParams(
            max_tokens=max_new_tokens,
            temperature=temperature,
            top_p=self._top_p,
            seed=seed if temperature > 0 else None,
            logprobs=0 if self._logprobs else None,
            stop_token_ids=self._stop_token_ids,
            ignore_eos=self._fixed_length,
            detokenize=False,
            structured_outputs=StructuredOutputsParams(structural_tag=grammar) if grammar else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        return self._completion(await self._ask(prompt_ids, params))

    async def score(self, token_ids: Sequence[int]) -> list[float]:
        """(T,) log p(token j | tokens before it); the first is 0.0. Raises EngineDied."""
        found = (await self._ask(token_ids, _looking(0))).prompt_logprobs
        return [0.0, *(entry[token].logprob for token, entry in zip(token_ids[1:], found[1:], strict=True))]

    async def next_logprobs(self, token_ids: Sequence[int], token_id: int, least: float) -> list[float]:
        """(T,) log p(`token_id` comes next | tokens 0..j); -inf may stand where p < `least`. Raises EngineDied."""
        many = math.ceil(1 / least) if least > 0 else -1  # no more tokens than that can each be as likely
        output = await self._ask(token_ids, _looking(many))
        entries = [*output.prompt_logprobs[1:], output.outputs[0].logprobs[0]]
        return [entry[token_id].logprob if token_id in entry else -math.inf for entry in entries]

    async def continue_until(
        self, prompt_ids: Sequence[int], count: int, max_new_tokens: int, stop_id: int, seed: int
    ) -> list[list[int]]:
        """`count` continuations without `stop_id`; those that never reach it are left out. Raises EngineDied."""
        each = [
            SamplingParams(
                max_tokens=max_new_tokens,
                seed=seed + k,
                stop_token_ids=[stop_id],
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            for k in range(count)
        ]
        outputs = await asyncio.gather(*(self._ask(prompt_ids, params) for params in each))
        return [list(o.outputs[0].token_ids[:-1]) for o in outputs if o.outputs[0].token_ids[-1:] == [stop_id]]

    async def _ask(self, prompt_ids: Sequence[int], params: SamplingParams) -> RequestOutput:
        """One request, in the running batch. Cancelling the call frees its slot."""
        if self._failure is not None:
            raise EngineDied(f"the engine has died: {self._failure!r}")
        request_id = str(next(self._request_ids))
        future = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        self._added.append((request_id, list(prompt_ids), params))
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())
        try:
            return await future
        except asyncio.CancelledError:
            self._waiting.pop(request_id, None)
            self._aborted.append(request_id)
            raise

    async def load(self, adapter: Adapter | None) -> None:
        """Sample from base + adapter. Call between phases: requests in flight would change weights half way."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._load, adapter)

    def forget_prefixes(self) -> None:
        """Empty the prefix cache. Call between phases."""
        self._engine.reset_prefix_cache()

    def stats(self) -> dict[str, float]:
        """Counters of the engine: generated tokens, prefix cache queries and hits (in tokens)."""
        found = {metric.name: getattr(metric, "value", 0) for metric in self._engine.get_metrics()}
        return {
            "generated_tokens": float(self.generated_tokens),
            "prefix_cache_queries": float(found.get("vllm:prefix_cache_queries", 0)),
            "prefix_cache_hits": float(found.get("vllm:prefix_cache_hits", 0)),
        }

    def close(self) -> None:
        """Stop the engine's thread and free the engine."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._engine.engine_core.shutdown()

    async def _run(self) -> None:
        """Step the engine until nothing is in flight."""
        loop = asyncio.get_running_loop()
        while self._waiting or self._aborted:
            added, self._added = self._added, []
            aborted, self._aborted = self._aborted, []
            try:
                outputs = await loop.run_in_executor(self._thread, self._step, added, aborted)
            except Exception as error:
                self._failure = error
                for future in self._waiting.values():
                    if not future.done():
                        future.set_exception(EngineDied(f"the engine has died: {error!r}"))
                self._waiting.clear()
                return
            for output in outputs:
                future = self._waiting.pop(output.request_id, None)
                if future is not None and not future.done():
                    future.set_result(output)

    def _step(self, added: list[tuple[str, list[int], SamplingParams]], aborted: list[str]) -> list[RequestOutput]:
        for request_id, prompt_ids, params in added:
            self._engine.add_request(request_id, {"prompt_token_ids": prompt_ids}, params, lora_request=self._lora)
        if aborted:
            self._engine.abort_request(aborted)
        return [output for output in self._engine.step() if output.finished]

    def _completion(self, output: RequestOutput) -> Completion:
        sampled = output.outputs[0]
        ids = list(sampled.token_ids)
        self.generated_tokens += len(ids)
        logprobs = []
        if self._logprobs and sampled.logprobs:
            logprobs = [entry[token].logprob for token, entry in zip(ids, sampled.logprobs, strict=True)]
        return Completion(ids, "length" if sampled.finish_reason == "length" else "stop", logprobs)

    def _load(self, adapter: Adapter | None) -> None:
        if self._gpu:
            self._load_lora(adapter)
        else:
            weights = merged_weights(self._model_dir, adapter)
            self._engine.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        self._engine.reset_prefix_cache()

    def _load_lora(self, adapter: Adapter | None) -> None:
        """A fresh name, id and path for each version: the prefix cache and vLLM's own cache are keyed by them."""
        previous, self._lora = self._lora, None
        if adapter is not None:
            number = next(self._lora_ids)
            folder = Path(tempfile.mkdtemp(prefix=f"rayplay-lora-{number}-"))
            write_adapter(adapter, folder)
            self._lora = LoRARequest(f"{adapter.version}-{number}", number, str(folder))
        if previous is not None:
            self._engine.remove_lora(previous.lora_int_id)


def _looking(many: int) -> SamplingParams:
    """Log probabilities of each prompt token and of the `many` likeliest at its place (-1: all); samples nothing."""
    return SamplingParams(
        max_tokens=1,
        temperature=0.0,
        logprobs=many,
        prompt_logprobs=many,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def make_sampler(settings: Any, dialect: Dialect) -> VllmSampler:
    """The sampler of a rollout worker, from its EngineSettings."""
    return VllmSampler(
        settings.model_dir,
        dtype=settings.dtype,
        max_length=settings.max_length,
        max_in_flight=settings.max_in_flight,
        gpu=settings.gpu,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        max_lora_rank=settings.max_lora_rank,
        top_p=settings.top_p,
        logprobs=settings.logprobs,
        trust_remote_code=settings.trust_remote_code,
        stop_token_ids=tuple(dialect.ends),
    )
