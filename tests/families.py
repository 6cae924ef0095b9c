"""Chat templates of the model families that TRL knows, over a byte-level tokenizer: one token a byte, no network."""

from pathlib import Path

import trl
from transformers import PreTrainedTokenizerFast

from rayplay.dialects import Dialect
from rayplay.models.micro import micro_tokenizer
from rayplay.models.tokenizers import make_dialect

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
LLAMA = ("<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|python_tag|>")
GEMMA = (
    *("<turn|>", "<bos>", "<|turn>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>"),
    *("<|tool>", "<tool|>", '<|"|>', "<|channel>", "<channel|>"),
)
GPT_OSS = ("<|return|>", "<|start|>", "<|message|>", "<|channel|>", "<|call|>", "<|end|>", "<|constrain|>")
GLM = ("<|user|>", "<|observation|>", "<|assistant|>", "<|system|>", "[gMASK]", "<sop>")
LFM = ("<|im_end|>", "<|tool_call_start|>", "<|tool_call_end|>", "<|startoftext|>")

# name -> (TRL's file, special tokens with the end of a message first, further ends, options for the template)
FAMILY_FILES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], dict]] = {
    "qwen2.5": ("qwen2_5", (), (), {}),
    "qwen3": ("qwen3", (), (), {}),
    "qwen3-no-thinking": ("qwen3", (), (), {"enable_thinking": False}),
    "qwen3-2507": ("qwen3_instruct_2507", (), (), {}),
    "llama3.1": ("llama3_1", LLAMA, ("<|eom_id|>",), {"date_string": "1 Jan 2026"}),
    "llama3.2": ("llama3_2", LLAMA, ("<|eom_id|>",), {"date_string": "1 Jan 2026"}),
    "gemma4": ("gemma4_v5", GEMMA, ("<|tool_response>",), {}),
    "gpt-oss": ("gptoss", GPT_OSS, ("<|call|>",), {}),
    "qwen3.5": ("qwen3_5_nothink", (), (), {}),
    "qwen3.6": ("qwen3_6", (), (), {}),
    "qwen3.6-no-thinking": ("qwen3_6", (), (), {"enable_thinking": False}),
    "qwen3.8": ("qwen3_8", (), (), {}),
    "lfm2.5": ("lfm2_2_5", LFM, (), {}),
    "glm4.5": ("glm4moe", GLM, ("<|observation|>",), {"enable_thinking": False}),
}
# where the recipe has to say more than "auto"
NAMED = {"qwen3.5": "qwen3_coder", "qwen3.6": "qwen3_xml", "qwen3.6-no-thinking": "qwen3_coder",
         "qwen3.8": "qwen3_coder", "lfm2.5": "lfm2", "glm4.5": "glm45"}  # fmt: skip


def family_tokenizer(template: str, special: tuple[str, ...] = ()) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with a family's special tokens and chat template."""
    tokenizer = micro_tokenizer()
    if special:
        tokenizer.add_special_tokens({"eos_token": special[0], "additional_special_tokens": list(special[1:])})
    bos = [token for token in special if token in ("<bos>", "<|begin_of_text|>")]
    if bos:
        tokenizer.bos_token = bos[0]
    tokenizer.chat_template = template
    return tokenizer


def family_dialect(name: str) -> Dialect:
    """The dialect of a row of FAMILY_FILES."""
    file, special, ends, options = FAMILY_FILES[name]
    tokenizer = family_tokenizer((TEMPLATES / f"{file}.jinja").read_text(encoding="utf-8"), special)
    stops = tuple(tokenizer.convert_tokens_to_ids(list(ends)))
    return make_dialect(tokenizer, NAMED.get(name, "auto"), stop_token_ids=stops, template_kwargs=options)
