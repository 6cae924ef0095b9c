"""Model folder -> Dialect: its tokenizer with a response template, or with a vLLM tool parser by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase
from trl import add_response_schema
from trl.chat_template_utils import get_training_chat_template

from rayplay.dialects import FAMILIES, Dialect, Parser, family_of, probe
from rayplay.errors import ModelError
from rayplay.recipe import Model
from rayplay.records import ToolCall


def load_dialect(model_dir: str | Path, model: Model | None = None) -> Dialect:
    """The probed dialect of a model.

    A template that renders earlier turns anew once tool results follow (Qwen3's drops their thinking) is replaced by
    TRL's prefix-preserving twin.

    Args:
        model_dir: Folder with the tokenizer.
        model: The recipe's section: `dialect` is a row of FAMILIES, a vLLM parser's name, or "auto".

    Raises:
        ModelError: No chat template, no way to parse calls, or the probe found that one of its promises does not hold.
    """
    model = model or Model(name=str(model_dir))
    tokenizer = AutoTokenizer.from_pretrained(str(model_dir), trust_remote_code=model.trust_remote_code)
    if not tokenizer.chat_template:
        raise ModelError(f"{model_dir}: the tokenizer has no chat template; use an instruct model")
    dialect = make_dialect(tokenizer, model.dialect, _stop_token_ids(model_dir), model.chat_template_kwargs)
    if model.system_prompt is not None:
        dialect = replace(dialect, system_prompt=model.system_prompt)
    probe(dialect)
    return dialect


def make_dialect(
    tokenizer: PreTrainedTokenizerBase,
    name: str = "auto",
    stop_token_ids: tuple[int, ...] = (),
    template_kwargs: dict[str, Any] | None = None,
) -> Dialect:
    """The dialect of a tokenizer, not yet probed; see `load_dialect`."""
    template = str(tokenizer.chat_template)
    family = FAMILIES[name if name in FAMILIES else family_of(template)]
    ends = frozenset((tokenizer.eos_token_id, *stop_token_ids))
    parser = _parser(tokenizer, "" if name == "auto" else name, family.vllm_parser, ends)
    dialect = Dialect(tokenizer, family, parser, template_kwargs or {}, stop_token_ids)
    try:
        dialect.results_suffix((ToolCall(call_id="any", name="any"),), ["any"])
    except ModelError as error:
        try:
            tokenizer.chat_template = get_training_chat_template(tokenizer)
        except ValueError:
            raise error from None
    return dialect


def _parser(tokenizer: PreTrainedTokenizerBase, name: str, fallback: str, ends: frozenset[int]) -> Parser | None:
    """None where the tokenizer has a response template, else vLLM's parser: the one named, or the family's own."""
    if name in ("", *FAMILIES):
        if getattr(tokenizer, "response_template", None) is not None:
            return None
        try:
            add_response_schema(tokenizer)
            return None
        except ValueError:  # TRL does not know this template
            name = fallback
    from rayplay.models.vllm_parser import vllm_parser

    return vllm_parser(name, tokenizer, ends)


def _stop_token_ids(model_dir: str | Path) -> tuple[int, ...]:
    """What ends a message besides the tokenizer's own end token, by the model's generation config."""
    try:
        ends = GenerationConfig.from_pretrained(str(model_dir)).eos_token_id
    except OSError:  # a model need not have one
        return ()
    return tuple(ends) if isinstance(ends, list) else () if ends is None else (ends,)
