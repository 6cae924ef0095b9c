"""Hidden states at the edges of a trie -> log-probabilities, without keeping any logits.

Only log-probabilities carry gradient in SFT, DPO and KTO, and
d log p(target) / d hidden = W[target] - softmax(hidden W') W. Where the head itself is frozen (LoRA), that vector is
computed in the forward pass, so the backward pass neither recomputes nor stores logits. Where the head learns (full
fine-tuning), chunks are recomputed in the backward pass.

Shapes: P nodes whose next token carries loss, E edges (node, next token), H hidden size, V vocabulary.
"""

import torch
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

CHUNK_P = 256  # rows of logits alive at once: 256 x 49,152 float32 = 50 MB


class EdgeLogProbs(torch.autograd.Function):
    """log p, entropy, mean logit and top-1 hit of every edge, for a head that is not trained."""

    @staticmethod
    def forward(ctx, hidden_PH, weight_VH, bias_V, source_E, target_E):
        """`source_E` (ascending): the row of `hidden_PH` where each edge starts; `target_E`: the token it leads to."""
        want_grad = ctx.needs_input_grad[0]
        slope_EH = hidden_PH.new_empty(len(source_E), hidden_PH.shape[1]) if want_grad else None
        results = []
        for start in range(0, len(hidden_PH), CHUNK_P):
            chunk_PH = hidden_PH[start : start + CHUNK_P]
            bounds = torch.tensor([start, start + len(chunk_PH)], device=source_E.device)
            first, last = torch.searchsorted(source_E, bounds).tolist()
            source, target = source_E[first:last] - start, target_E[first:last]
            fields, probabilities_PV = _measure(linear(chunk_PH, weight_VH, bias_V), source, target)
            results.append(fields)
            if want_grad:
                slope_EH[first:last] = weight_VH[target] - (probabilities_PV @ weight_VH)[source]
        log_probs, entropy, mean_logits, is_top1 = (torch.cat(parts) for parts in zip(*results, strict=True))
        ctx.save_for_backward(slope_EH, source_E)
        ctx.num_sources = len(hidden_PH)
        ctx.mark_non_differentiable(entropy, mean_logits, is_top1)
        return log_probs, entropy, mean_logits, is_top1

    @staticmethod
    def backward(ctx, grad_E, *_):
        """Only the hidden states receive a gradient."""
        slope_EH, source_E = ctx.saved_tensors
        grad_PH = slope_EH.new_zeros(ctx.num_sources, slope_EH.shape[1])
        grad_PH.index_add_(0, source_E, slope_EH * grad_E[:, None])
        return grad_PH, None, None, None, None


def edge_log_probs(hidden_PH, head, source_E, target_E):
    """(log_probs, entropy, mean_logits, is_top1), each (E,); gradient flows through log_probs alone.

    `head` is the model's output embedding; `source_E` must be ascending.
    """
    if not head.weight.requires_grad:
        return EdgeLogProbs.apply(hidden_PH, head.weight, head.bias, source_E, target_E)
    results = []
    for start in range(0, len(hidden_PH), CHUNK_P):
        inside = (source_E >= start) & (source_E < start + CHUNK_P)
        chunk_PH, source, target = hidden_PH[start : start + CHUNK_P], source_E[inside] - start, target_E[inside]
        results.append(checkpoint(_project, chunk_PH, head.weight, head.bias, source, target, use_reentrant=False))
    return tuple(torch.cat(parts) for parts in zip(*results, strict=True))


def _project(chunk_PH, weight_VH, bias_V, source_E, target_E):
    return _measure(linear(chunk_PH, weight_VH, bias_V), source_E, target_E)[0]


def _measure(logits_PV, source_E, target_E):
    """The four fields of each edge, and the probabilities (P, V), which carry no gradient."""
    log_norm_P = torch.logsumexp(logits_PV, -1)
    target_logit_E = logits_PV[source_E, target_E]
    with torch.no_grad():
        values_PV = logits_PV.detach()
        probabilities_PV = torch.exp(values_PV - log_norm_P[:, None])
        entropy_P = log_norm_P.detach() - torch.linalg.vecdot(probabilities_PV, values_PV)
        is_top1_E = values_PV.amax(-1)[source_E] <= target_logit_E.detach()
        mean_P = values_PV.mean(-1)
    fields = (target_logit_E - log_norm_P[source_E], entropy_P[source_E], mean_P[source_E], is_top1_E)
    return fields, probabilities_PV
