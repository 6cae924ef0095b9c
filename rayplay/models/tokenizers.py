"""Model folder -> Dialect: its tokenizer, and what reads its calls: our own readers, response templates, or vLLM."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerBase
from trl import add_response_schema
from trl.chat_template_utils import get_training_chat_template

from rayplay.dialects import Dialect, Reader, family_named, guarded, probe, reads_back, syntaxes_of
from rayplay.errors import ModelError
from rayplay.recipe import Model
from rayplay.records import Message, ToolCall, ToolSpec

SHORTEST_MARK = 3  # characters; a bracket also begins an answer
TRIED_CALL = ToolCall(call_id="any", name="tried_tool", arguments={"text": "any", "number": 1})
TRIED_TOOL = ToolSpec(
    name="tried_tool",
    description="any",
    parameters={"type": "object", "properties": {"text": {"type": "string"}, "number": {"type": "integer"}}},
)


def load_dialect(model_dir: str | Path, model: Model | None = None, tools: Sequence[ToolSpec] = ()) -> Dialect:
    """The probed dialect of a model.

    A template that renders earlier turns anew once tool results follow (Qwen3's drops their thinking) is replaced by
    TRL's prefix-preserving twin. With "auto", where the probe refuses how the family is read, the readers that the
    template's syntax tells are tried too.

    Args:
        model_dir: Folder with the tokenizer.
        model: The recipe's section: `dialect` is a row of FAMILIES, a vLLM parser's name, or "auto".
        tools: What the model will be offered; each is proven to be shown and callable.

    Raises:
        ModelError: No chat template, no way to parse calls, or the probe found that one of its promises does not hold.
    """
    model = model or Model(name=str(model_dir))
    tokenizer = AutoTokenizer.from_pretrained(str(model_dir), trust_remote_code=model.trust_remote_code)
    if not tokenizer.chat_template:
        raise ModelError(f"{model_dir}: the tokenizer has no chat template; use an instruct model")
    refused: ModelError | None = None
    for name in (model.dialect, *(syntaxes_of(str(tokenizer.chat_template)) if model.dialect == "auto" else ())):
        try:
            dialect = make_dialect(tokenizer, name, _stop_token_ids(model_dir), model.chat_template_kwargs)
            if model.system_prompt is not None:
                dialect = replace(dialect, system_prompt=model.system_prompt)
            probe(dialect, tools)
            return dialect
        except ModelError as error:
            refused = refused or error
    raise refused or ModelError(f"{model_dir}: no dialect")


def make_dialect(
    tokenizer: PreTrainedTokenizerBase,
    name: str = "auto",
    stop_token_ids: tuple[int, ...] = (),
    template_kwargs: dict[str, Any] | None = None,
) -> Dialect:
    """The dialect of a tokenizer, not yet probed; see `load_dialect`."""
    template = str(tokenizer.chat_template)
    family = family_named(name, template)
    dialect = Dialect(tokenizer, family, None, template_kwargs or {}, stop_token_ids)
    try:
        dialect.results_suffix((ToolCall(call_id="any", name="any"),), ["any"])
    except ModelError as error:
        try:
            tokenizer.chat_template = get_training_chat_template(tokenizer)
        except ValueError:
            raise error from None
    own = replace(dialect, parser=family.read)
    if family.read and (name != "auto" or _reads(own)):
        return own
    try:
        return replace(dialect, parser=_library(dialect, name))
    except ModelError:
        if name != "auto":
            raise
        return own  # what this template lacks, the probe says better than a parser that does not fit it


def _reads(dialect: Dialect) -> bool:
    """Whether the family's reader reads what this template renders."""
    try:
        return reads_back(dialect, TRIED_CALL, TRIED_TOOL) == [(TRIED_CALL.name, TRIED_CALL.arguments, None)]
    except ModelError:
        return False


def _library(dialect: Dialect, name: str) -> Reader:
    """The tokenizer's own response template or TRL's, where the name is "auto" and there is one, else vLLM's parser."""
    tokenizer, family = dialect.tokenizer, dialect.family
    by_template = name == "auto"
    if by_template and getattr(tokenizer, "response_template", None) is None:
        try:
            add_response_schema(tokenizer)
        except ValueError:  # TRL does not know this template
            by_template = False
    if by_template:
        return guarded(
            lambda text, tools: tokenizer.parse_response(text, prefix=""), family.call_marks, family.thinking
        )
    from rayplay.models.vllm_parser import vllm_parser

    opening, closing = _marks_of_calls(dialect)
    marks = (*family.call_marks, *filter(None, [opening]))
    return guarded(vllm_parser(family.vllm_parser, tokenizer), marks, family.thinking, closing)


def _marks_of_calls(dialect: Dialect) -> tuple[str, str]:
    """What this template writes first and last of a call; "" where that is no mark."""
    spoken = Message(role="assistant", tool_calls=(TRIED_CALL,))
    try:
        ids, mask = dialect.supervise([Message(role="user", content="any"), spoken], [TRIED_TOOL])
    except ModelError:
        return "", ""
    said = [token for token, on in zip(ids, mask, strict=True) if on and token not in dialect.ends]
    before, _, after = (
        dialect.tokenizer.decode(said).rpartition(dialect.family.thinking.closed)[2].partition(TRIED_CALL.name)
    )
    first, last = before.split()[:1], after.split()[-1:]
    opening, closing = ("".join(mark) if len("".join(mark)) >= SHORTEST_MARK else "" for mark in (first, last))
    return opening, closing if opening else ""


def _stop_token_ids(model_dir: str | Path) -> tuple[int, ...]:
    """What ends a message besides the tokenizer's own end token, by the model's generation config."""
    try:
        ends = GenerationConfig.from_pretrained(str(model_dir)).eos_token_id
    except OSError:  # a model need not have one
        return ()
    return tuple(ends) if isinstance(ends, list) else () if ends is None else (ends,)
