"""A vLLM tool parser by name -> a Dialect's parser: for syntaxes that no reader of rayplay's knows.

Imported only where a model needs it: vLLM takes seconds to load.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.tool_parsers import ToolParser, ToolParserManager
from vllm.tool_parsers.tool_strict_level import ToolStrictLevel

from rayplay.errors import ModelError
from rayplay.records import ToolSpec

ASKED = {
    "model": "any",
    "messages": [{"role": "user", "content": "any"}],
    "tools": [{"type": "function", "function": {"name": "any", "parameters": {"type": "object", "properties": {}}}}],
}


def call_grammar(name: str, tokenizer: PreTrainedTokenizerBase, tools: Iterable[ToolSpec]) -> str:
    """A structural tag, as JSON: once a call is begun, only a well-formed one of these tools with fitting arguments.

    Args:
        name: The vLLM tool parser whose syntax the model speaks.
        tokenizer: The model's.
        tools: What may be called.

    Raises:
        ModelError: vLLM has no structural tags for this syntax.
    """
    shown = [tool.as_function() for tool in tools]
    if not shown:
        return ""
    parser = _parser_class(name)(tokenizer)
    request = ChatCompletionRequest(**{**ASKED, "tools": shown})
    tag = parser.get_structural_tag(request, strict_level=ToolStrictLevel.PARAMETER)
    if tag is None:
        raise ModelError(f"rollout.constrained: vLLM has no structural tags for {name!r}; set it to false")
    return tag.model_dump_json()


def _parser_class(name: str) -> type[ToolParser]:
    try:
        return ToolParserManager.get_tool_parser(name)
    except KeyError:
        known = ", ".join(ToolParserManager.list_registered())
        raise ModelError(f"model.dialect {name!r} is no family of rayplay and no vLLM tool parser: {known}") from None


def vllm_parser(name: str, tokenizer: PreTrainedTokenizerBase) -> Callable[[str, Sequence[ToolSpec]], dict[str, Any]]:
    """The parser that `vllm serve --tool-call-parser NAME` would use, as (text, tools) -> message.

    Args:
        name: A name that vLLM knows, as "kimi_k2" or "granite".
        tokenizer: The model's.

    Raises:
        ModelError: vLLM has no parser of that name, or it does not fit the tokenizer.
    """
    for source in ("vllm.tool_parsers", "vllm.parser"):
        logging.getLogger(source).setLevel(logging.CRITICAL)  # a broken call is data, not an error to log
    parser_class = _parser_class(name)
    try:
        request = parser_class(tokenizer).adjust_request(ChatCompletionRequest(**ASKED))
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"vLLM's tool parser {name!r} does not fit this tokenizer: {error}") from error

    hidden = tokenizer.all_special_tokens if request.skip_special_tokens else ()

    def parse(text: str, tools: Sequence[ToolSpec]) -> dict[str, Any]:
        for token in hidden:
            text = text.replace(token, "")
        asked = ChatCompletionRequest(**{**ASKED, **({"tools": [t.as_function() for t in tools]} if tools else {})})
        # parsers keep state, and syntaxes without types are typed by the schemas: a fresh one each time, with the tools
        found = parser_class(tokenizer, asked.tools).extract_tool_calls(text, asked)
        return {"content": found.content or "", "tool_calls": [call.model_dump() for call in found.tool_calls]}

    return parse
