"""Model -> how many tokens of it a text has."""

from collections.abc import Callable

from transformers import AutoTokenizer

from rayplay.models.resolve import resolve_model


def token_counter(name: str) -> Callable[[str], int]:
    """Count with the tokenizer of a packaged model, hub id or local folder; errors as `resolve_model`."""
    tokenizer = AutoTokenizer.from_pretrained(str(resolve_model(name)))
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])
