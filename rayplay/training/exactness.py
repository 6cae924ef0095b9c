"""Where forwarding shared prefixes once is the same mathematics: by what a configuration says, then by trial.

Shapes: B rows, T their length, U unique tokens, H hidden size.
"""

import torch

from rayplay.errors import RecipeError
from rayplay.training import attention
from rayplay.training.trie import fold

SCALED_LOGITS = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")
WHOLE_CONTEXT = {"full_attention", "global"}
TRUNK = 8
PROBE = [[*range(2, 2 + TRUNK), 10 + row, *range(20 + 9 * row, 36 + 9 * row)] for row in range(3)]
TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4}  # of the probe's median token, relative; measured 2e-6
HALF_TOLERANCE = 0.05  # measured on SmolLM2 in bfloat16: 0.005 where it is exact, 0.8 where a mask is ignored


def why_not_exact(config, lora_dropout: float = 0.0) -> str:
    """Why prefix sharing would change the result for this configuration; "" where nothing speaks against it."""
    text = config.get_text_config()
    if lora_dropout > 0:
        return f"lora.dropout is {lora_dropout}: a shared token would get one dropout mask instead of one in each row"
    dropped = next((key for key, value in text.to_dict().items() if _is_dropout(key) and value), "")
    if dropped:
        return f"the model's {dropped} is {getattr(text, dropped)}"
    scaled = next((key for key in SCALED_LOGITS if getattr(text, key, None) not in (None, 1.0)), "")
    if scaled:
        return f"the model scales or caps its logits ({scaled})"
    layers = getattr(text, "layer_types", None) or getattr(text, "attention_layers", None) or ()
    others = sorted(set(layers) - WHOLE_CONTEXT)
    if others:
        return f"the model has layers other than full attention: {', '.join(others)}"
    if getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True):
        return f"the model attends within a sliding window of {text.sliding_window}"
    if hasattr(text, "output_router_logits"):
        return "the model is a mixture of experts, whose balancing loss counts tokens as often as they occur"
    return ""


def _is_dropout(key: str) -> bool:
    return ("dropout" in key or key.endswith("pdrop")) and not key.startswith(("classifier", "summary"))


def settle_attention(model) -> None:
    """Choose the attention under which this model treats a small trie as it treats the rows themselves.

    Architectures differ in how they take masks and positions; some ignore them without a word. So each model is tried
    where it is loaded: on a GPU by FlexAttention, else in blocks of branches (attention.py), else under a dense mask.

    Raises:
        RecipeError: Neither is exact.
    """
    tolerance = TOLERANCE.get(model.dtype, HALF_TOLERANCE)
    given = model.config._attn_implementation
    names = (attention.NAME, "sdpa") if given == "sdpa" else (given,)
    if given == "sdpa" and model.device.type == "cuda":
        names = ("flex_attention", *names)  # one kernel for the whole trie; not run here
    for name in names:
        model.config._attn_implementation = name
        error = _error_of_probe(model)
        if error <= tolerance:
            return
    model.config._attn_implementation = given
    raise RecipeError(
        f"training.tree_packing is on, but {type(model).__name__} does not take masks and positions as shared prefixes "
        f"need them (a trial was off by {error:.1g}); --set training.tree_packing=false"
    )


def _error_of_probe(model) -> float:
    """Relative difference of hidden states behind the trunk; infinite where the model refuses its arguments.

    Of each row the median token, of these the worst: a wrong mask or position moves all that follows, while rounding
    alone can be magnified a thousandfold at one token (SmolLM2 in float32 with AVX-512: 1e-3 at one token of a row).
    """
    trie = fold(PROBE)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            ids_BT = torch.tensor(PROBE, device=model.device)
            rows_BTH = model.base_model(
                input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), use_cache=False
            ).last_hidden_state.float()
            shared_UH = attention.hidden_states(model, trie, model.device).float()
    except (AttributeError, RuntimeError, TypeError, ValueError):  # of the model's own code
        return float("inf")
    finally:
        model.train(training)
    apart_BTH = shared_UH[torch.tensor(trie.paths, device=model.device)] - rows_BTH
    errors_BT = apart_BTH.norm(dim=-1) / rows_BTH.norm(dim=-1)
    return float(errors_BT[:, TRUNK:].median(dim=1).values.max())
