"""A padded batch -> per-token log-probabilities, with every shared prefix forwarded once.

Every TRL trainer asks its model for `model(input_ids, attention_mask, labels, fused_lm_head=True)` and builds its loss
from the per-token log-probabilities that come back. `share_prefixes` puts a forward behind that call which folds the
rows into a trie (trie.py), runs the backbone over the unique tokens with positions = depth and each token attending to
its ancestors alone, projects only where there is loss (logprobs.py), and spreads the results back over the rows. The
losses stay TRL's own, all of them, and so do reference passes.

With several workers each one holds the whole batch, forwards its share of the rows, and receives the others' results:
so losses that look at the whole batch (token means, sorting, KL estimates) do not depend on the number of workers.

Not covered, and refused (exactness.py): dropout, sliding windows, recurrent layers, soft-capped or scaled logits,
mixtures of experts with a balancing loss, models that ignore the mask or the positions that they are given.

Shapes: B rows, T padded length, U unique tokens, N tokens with loss, E distinct edges among them, H hidden size.
"""

import functools
import types
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch.utils.checkpoint import checkpoint
from trl.trainer.utils import FusedCausalLMOutput

from rayplay.training import attention
from rayplay.training.exactness import settle_attention
from rayplay.training.logprobs import edge_log_probs
from rayplay.training.trie import Trie, fold, share_out, split

IGNORED = -100


@dataclass
class TokenCount:
    """Tokens of the rows as given, and tokens that were really forwarded."""

    raw: int = 0
    unique: int = 0


@dataclass
class Sharing:
    """How a model's fused forward treats its rows."""

    tree: bool = True
    max_unique_tokens: int = 4096
    count: TokenCount = field(default_factory=TokenCount)


def share_prefixes(model, sharing: Sharing) -> None:
    """Put the prefix-sharing forward behind `model(..., fused_lm_head=True)`; other calls are untouched.

    Args:
        model: The causal LM itself (below any PEFT wrapper), after TRL gave it its fused head.
        sharing: Settings, and the counters that each call adds to.

    Raises:
        RecipeError: Sharing is wanted, but a trial shows that it is not exact for this model.
    """
    if sharing.tree:
        settle_attention(model)
    previous = model.forward

    @functools.wraps(type(model).forward)
    def forward(self, *args, fused_lm_head=False, labels=None, **kwargs):
        if not fused_lm_head:
            return previous(*args, **kwargs) if labels is None else previous(*args, labels=labels, **kwargs)
        input_ids, attention_mask = kwargs["input_ids"], kwargs["attention_mask"]
        sharing.count.raw += int(attention_mask.sum())
        rows = _rows_with_loss(input_ids, attention_mask, labels)
        mine = share_out([row.inputs for row in rows], _world_size())[_rank()]
        before = sharing.count.unique
        if sharing.tree:
            fields = _forward_tries(self, [rows[r] for r in mine], input_ids, sharing)
        else:
            fields = _forward_padded(previous, mine, labels, kwargs, sharing)
        sharing.count.unique = before + _total(sharing.count.unique - before)
        return _output(_gather(fields), labels[:, 1:] != IGNORED)

    model.forward = types.MethodType(forward, model)


@dataclass(frozen=True)
class _Row:
    """The tokens of one row that the backbone must see, and its tokens with loss.

    `columns` (n,) are columns of the (B, T - 1) outputs, `sources` (n,) the position in `inputs` that predicts them.
    """

    index: int
    inputs: tuple[int, ...]
    columns: list[int]
    sources: list[int]
    targets: list[int]


def _rows_with_loss(input_ids_BT, attention_mask_BT, labels_BT) -> list[_Row]:
    """Padding goes, and so does all that comes after the last token with loss: nothing depends on it."""
    rows = []
    lists = zip(input_ids_BT.tolist(), attention_mask_BT.tolist(), labels_BT.tolist(), strict=True)
    for index, (ids, mask, labels) in enumerate(lists):
        present = [t for t, here in enumerate(mask) if here]
        places = [(k, t) for k, t in enumerate(present) if k > 0 and labels[t] != IGNORED]
        length = places[-1][0] if places else 1
        rows.append(
            _Row(
                index=index,
                inputs=tuple(ids[t] for t in present[:length]),
                columns=[t - 1 for _, t in places],
                sources=[k - 1 for k, _ in places],
                targets=[labels[t] for _, t in places],
            )
        )
    return rows


def _forward_tries(model, rows: list[_Row], input_ids_BT, sharing: Sharing) -> torch.Tensor:
    """(4, B, T - 1): log-probability, entropy, mean logit, top-1 hit; zero elsewhere and in rows of other workers."""
    shape = (4, input_ids_BT.shape[0], input_ids_BT.shape[1] - 1)
    total = None
    for part, trie, keep in _tries(rows, sharing.max_unique_tokens, _attention_share(model.config)):
        sharing.count.unique += len(trie.tokens)
        if keep or not torch.is_grad_enabled():
            values = _forward_trie(model, trie, part, input_ids_BT.device)
        else:
            values = checkpoint(_forward_trie, model, trie, part, input_ids_BT.device, use_reentrant=False)
        where = torch.tensor([row.index * shape[2] + c for row in part for c in row.columns], device=values.device)
        placed = values.new_zeros(4, shape[1] * shape[2]).index_copy(1, where, values).view(shape)
        total = placed if total is None else total + placed
    return total


def _tries(rows: list[_Row], budget: int, attention_share: float) -> Iterator[tuple[list[_Row], Trie, bool]]:
    """(rows, trie, whether its activations may stay until the backward pass).

    All stay where the whole batch fits the budget. Else half of the budget stays, and the tries of the other half are
    forwarded again, one at a time, in the backward pass: losses over the whole batch stay exact.
    """
    inputs = [row.inputs for row in rows]
    groups = split(inputs, budget, attention_share)
    tries = [fold([inputs[r] for r in group]) for group in groups]
    if sum(len(trie.tokens) for trie in tries) > budget:
        groups = split(inputs, budget // 2, attention_share)
        tries = [fold([inputs[r] for r in group]) for group in groups]
        budget //= 2
    kept = 0
    for group, trie in zip(groups, tries, strict=True):
        kept += len(trie.tokens)
        yield [rows[r] for r in group], trie, kept <= budget


def _attention_share(config) -> float:
    """Cost of one pair of tokens in attention, relative to all else that one token costs in one layer.

    Multiplications of a Llama-like layer; the factor 2 stands for softmax and for less efficient kernels.
    """
    if config._attn_implementation == "flex_attention":
        return 0.0
    text = config.get_text_config()
    heads, hidden = text.num_attention_heads, text.hidden_size
    width = getattr(text, "head_dim", None) or hidden // heads
    projections = hidden * width * 2 * (heads + (getattr(text, "num_key_value_heads", None) or heads))
    return 2 * 2 * heads * width / (projections + 3 * hidden * getattr(text, "intermediate_size", 4 * hidden))


def _forward_trie(model, trie: Trie, rows: list[_Row], device) -> torch.Tensor:
    """(4, N) for the tokens with loss of `rows`, in order."""
    hidden_UH = attention.hidden_states(model, trie, device)
    head = model.get_output_embeddings()
    vocabulary = head.weight.shape[0]
    edges = [
        trie.paths[r][s] * vocabulary + t
        for r, row in enumerate(rows)
        for s, t in zip(row.sources, row.targets, strict=True)
    ]
    unique_E, edge_of_N = torch.unique(torch.tensor(edges, device=device, dtype=torch.long), return_inverse=True)
    nodes_P, source_E = torch.unique(unique_E // vocabulary, return_inverse=True)
    fields = edge_log_probs(hidden_UH[nodes_P], head, source_E, unique_E % vocabulary)
    return torch.stack([values.to(fields[0].dtype)[edge_of_N] for values in fields])


def _forward_padded(previous, mine: list[int], labels_BT, kwargs: dict, sharing: Sharing) -> torch.Tensor:
    """TRL's own forward over this worker's rows, as (4, B, T - 1); in parts that fit the budget, as tries do."""
    chosen = torch.tensor(sorted(mine), device=labels_BT.device)
    sharing.count.unique += chosen.numel() * labels_BT.shape[1]
    parts = chosen.split(max(1, sharing.max_unique_tokens // labels_BT.shape[1]))

    def part(rows: torch.Tensor) -> torch.Tensor:
        inputs = {key: kwargs[key][rows] for key in ("input_ids", "attention_mask")}
        output = previous(**inputs, labels=labels_BT[rows], fused_lm_head=True, use_cache=False)
        log_probs = output.log_probs
        fields = [log_probs, output.entropy, output.mean_logits, output.is_top1]
        return torch.stack([torch.zeros_like(log_probs) if f is None else f.to(log_probs.dtype) for f in fields])

    if len(parts) == 1 or not torch.is_grad_enabled():
        stacked = torch.cat([part(rows) for rows in parts], dim=1)
    else:
        stacked = torch.cat([checkpoint(part, rows, use_reentrant=False) for rows in parts], dim=1)
    return stacked.new_zeros(4, *labels_BT[:, 1:].shape).index_copy(1, chosen, stacked)


class _SumOverWorkers(torch.autograd.Function):
    """Sum of disjoint parts. DDP will average gradients over the workers, so each part's gradient counts W times."""

    @staticmethod
    def forward(ctx, part):
        whole = part.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx, grad):
        return grad * _world_size()


def _gather(fields: torch.Tensor) -> torch.Tensor:
    return _SumOverWorkers.apply(fields) if _world_size() > 1 else fields


def _total(count: int) -> int:
    """The sum of every worker's `count`."""
    if _world_size() == 1:
        return count
    total = torch.tensor(count)
    dist.all_reduce(total)
    return int(total)


def _world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _output(fields: torch.Tensor, label_mask: torch.Tensor) -> FusedCausalLMOutput:
    log_probs, entropy, mean_logits, is_top1 = fields
    return FusedCausalLMOutput(
        loss=-log_probs.sum() / label_mask.sum().clamp(min=1),
        log_probs=log_probs,
        entropy=entropy.detach(),
        mean_logits=mean_logits.detach(),
        is_top1=is_top1.detach() > 0,
        label_mask=label_mask,
    )
