"""Attention over a prefix trie that skips most of what its mask hides.

A dense mask makes every token meet every other one. In a trie of rows with a common prefix (the trunk) a token meets
the trunk and its own branch alone, so the queries are cut into blocks of whole branches, and each block attends to the
trunk and to itself. It is the same softmax over the same keys in the same order: only pairs that the mask would have
hidden are left out.

Shapes: U unique tokens, P of them in the trunk, b tokens of one block, H heads, D head width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.attention.flex_attention import create_block_mask
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rayplay.training.trie import Trie

NAME = "rayplay_trie"
LEAST_BLOCK = 96  # tokens: smaller branches share a block, since every block costs a kernel launch


@dataclass(frozen=True)
class Blocks:
    """How the nodes of a trie are cut: the trunk, and the blocks behind it with their additive masks."""

    trunk: int  # P
    spans: list[tuple[int, int]]  # of each block
    masks: list[torch.Tensor]  # of each block, (b, P + b): 0 where visible, -inf elsewhere


def cut(ends: Sequence[int], dtype: torch.dtype, device: torch.device) -> Blocks:
    """Blocks of a trie in depth-first order, given one past the last node of each node's subtree, `ends` (U,)."""
    size = len(ends)
    trunk = next((node for node, end in enumerate(ends) if end < size), size)
    spans: list[tuple[int, int]] = []
    start = trunk
    node = trunk
    while node < size:
        node = ends[node]
        if node - start >= LEAST_BLOCK or node == size:
            spans.append((start, node))
            start = node
    end_U = torch.tensor(ends, device=device)
    masks = []
    for first, last in spans:
        nodes_b = torch.arange(first, last, device=device)
        visible_bb = (nodes_b[None, :] <= nodes_b[:, None]) & (nodes_b[:, None] < end_U[first:last][None, :])
        mask_bk = torch.zeros(last - first, trunk + last - first, dtype=dtype, device=device)
        mask_bk[:, trunk:].masked_fill_(~visible_bb, -torch.inf)
        masks.append(mask_bk)
    return Blocks(trunk, spans, masks)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    blocks: Blocks | None = None,
    **rest: object,
) -> tuple[torch.Tensor, None]:
    """The attention function that transformers calls: query (1, H, U, D) -> (1, U, H, D); plain SDPA without blocks."""
    if blocks is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **rest)
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    # Split once: the backward pass of a split is one concatenation, that of each slice a zero-filled whole tensor.
    sizes = [blocks.trunk, *(last - first for first, last in blocks.spans)]
    queries, keys, values = (tensor.split(sizes, dim=2) for tensor in (query, key, value))
    parts = []
    if blocks.trunk:
        parts.append(scaled_dot_product_attention(queries[0], keys[0], values[0], is_causal=True, scale=scaling))
    for block, mask in enumerate(blocks.masks, start=1):
        seen = (torch.cat([trunk_and_all[0], trunk_and_all[block]], dim=2) for trunk_and_all in (keys, values))
        parts.append(scaled_dot_product_attention(queries[block], *seen, attn_mask=mask, scale=scaling))
    return torch.cat(parts, dim=2).transpose(1, 2), None


def hidden_states(model, trie: Trie, device: torch.device) -> torch.Tensor:
    """(U, hidden size): the backbone over a trie; positions are depths, each node sees its ancestors alone."""
    return model.base_model(
        input_ids=torch.tensor([trie.tokens], device=device),
        position_ids=torch.tensor([trie.depths], device=device),
        use_cache=False,
        **_ancestors_only(trie.ends, model, device),
    ).last_hidden_state[0]


def _ancestors_only(ends: Sequence[int], model, device: torch.device) -> dict:
    """Arguments under which node i sees node j exactly if j is an ancestor of i, or i itself.

    Blocks of whole branches where `attend` is used. Where the model uses FlexAttention (GPUs; not run on the
    development machine) a block mask, else (1, 1, U, U) added to the attention scores.
    """
    size, used = len(ends), model.config._attn_implementation
    if used == NAME:
        passed_on_as_it_is = torch.zeros(1, 1, 1, 1, dtype=model.dtype, device=device)  # as any 4-D mask
        return {"attention_mask": passed_on_as_it_is, "blocks": cut(ends, model.dtype, device)}
    end_U = torch.tensor(ends, device=device)
    if used == "flex_attention":
        mask = create_block_mask(lambda b, h, i, j: (j <= i) & (i < end_U[j]), None, None, size, size, device=device)
        return {"attention_mask": mask}
    node_U = torch.arange(size, device=device)
    visible_UU = (node_U[None, :] <= node_U[:, None]) & (node_U[:, None] < end_U[None, :])
    mask_UU = torch.zeros(size, size, dtype=model.dtype, device=device).masked_fill_(~visible_UU, -torch.inf)
    return {"attention_mask": mask_UU[None, None]}


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
