"""Model folder -> Dialect: its tokenizer with a response template, or with a vLLM tool parser by name."""

from pathlib import Path

from transformers import AutoTokenizer
from trl import add_response_schema

from rayplay.dialects import FAMILIES, Dialect, family_of, probe
from rayplay.errors import ModelError


def load_dialect(model_dir: str | Path, name: str = "auto", *, trust_remote_code: bool = False) -> Dialect:
    """The probed dialect of a model.

    Args:
        model_dir: Folder with the tokenizer.
        name: A row of FAMILIES, or "auto" to read the family off the chat template.
        trust_remote_code: Whether the tokenizer may run code of its own.

    Raises:
        ModelError: No chat template, no way to parse calls, or the probe found that one of its promises does not hold.
    """
    tokenizer = AutoTokenizer.from_pretrained(str(model_dir), trust_remote_code=trust_remote_code)
    if not tokenizer.chat_template:
        raise ModelError(f"{model_dir}: the tokenizer has no chat template; use an instruct model")
    family = family_of(str(tokenizer.chat_template)) if name == "auto" else name
    if family not in FAMILIES:
        raise ModelError(f"model.dialect is {name!r}; known: auto, {', '.join(FAMILIES)}")
    if getattr(tokenizer, "response_template", None) is None:
        try:
            add_response_schema(tokenizer)
        except ValueError as error:
            raise ModelError(f"{model_dir}: no parser is known for its chat template ({error})") from error
    dialect = Dialect(tokenizer, FAMILIES[family])
    probe(dialect)
    return dialect
