"""The model families: how each writes a call, what must not pass into its prompt, and what its template cannot say."""

from dataclasses import dataclass, replace

from rayplay.dialects.gemma import read_gemma
from rayplay.dialects.harmony import read_harmony
from rayplay.dialects.json_calls import read_deepseek, read_hermes, read_llama, read_mistral
from rayplay.dialects.pythonic import read_pythonic
from rayplay.dialects.reading import Reader, Thinking
from rayplay.dialects.xml_calls import read_glm, read_qwen_xml

THINK = Thinking()


@dataclass(frozen=True)
class Family:
    """What distinguishes a model family beyond its template: how an attempted call begins, and what it cannot say."""

    call_marks: tuple[str, ...]
    role_marks: tuple[str, ...] = ()  # further strings that must not pass from tool output into the prompt
    vllm_parser: str = ""  # vLLM's name for the syntax of calls
    parallel: bool = True  # whether the template renders several calls in one message
    call_id_length: int = 0  # templates that insist on ids of so many letters and digits; 0: any id
    read: Reader | None = None  # reads what the family writes; None: only a parser of vLLM's does
    thinking: Thinking = THINK
    ends_in_text: bool = False  # whether marks that end a message also part the messages of one completion
    spells_types: bool = False  # whether the template spells schemas itself instead of showing their JSON
    text_arguments: bool = False  # whether the template takes a call's arguments as JSON text


_CHATML = ("<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
_CHATML += ("<think>", "</think>")
_LLAMA = ("<|python_tag|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>")
_MISTRAL = ("[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[ARGS]", "[CALL_ID]", "[INST]", "[/INST]")
_GEMMA = ("<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", "<|turn>", "<turn|>", '<|"|>')
_GEMMA += ("<|channel>", "<channel|>", "<|tool>", "<tool|>")
_GPT_OSS = ("<|channel|>", "<|call|>", "<|start|>", "<|message|>", "<|end|>", "<|return|>", "<|constrain|>")
_DEEPSEEK = tuple(f"<｜tool▁{part}｜>" for part in ("calls▁begin", "calls▁end", "call▁begin", "call▁end", "sep"))
_DEEPSEEK += tuple(f"<｜tool▁output{s}▁{end}｜>" for s in ("", "s") for end in ("begin", "end"))
_DEEPSEEK += ("<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<think>", "</think>")
_GLM = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<|observation|>", "<|user|>")
_GLM += ("<|assistant|>", "<|system|>", "<think>", "</think>")
_PYTHONIC = ("<|python_start|>", "<|python_end|>", "<|tool_call_start|>", "<|tool_call_end|>", "<|im_start|>")
_PYTHONIC += ("<|im_end|>", "<|tool_response_start|>", "<|tool_response_end|>")

FAMILIES: dict[str, Family] = {
    "chatml": Family(("<tool_call>",), _CHATML, "hermes", read=read_hermes),
    "qwen3_coder": Family(("<tool_call>", "<function="), _CHATML, "qwen3_coder", read=read_qwen_xml),
    "glm": Family(("<tool_call>",), _GLM, "glm45", read=read_glm),
    "llama3_json": Family(
        ("<|python_tag|>", '{"name"'), _LLAMA, "llama3_json", parallel=False, read=read_llama
    ),
    "pythonic": Family(("[",), _PYTHONIC, "pythonic", read=read_pythonic),
    "mistral": Family(
        ("[TOOL_CALLS]",),
        _MISTRAL,
        "mistral",
        call_id_length=9,
        read=read_mistral,
        thinking=Thinking("[THINK]", "[/THINK]"),
    ),
    "gemma4": Family(
        ("<|tool_call>", "<|tool_call|>"),
        _GEMMA,
        "gemma4",
        read=read_gemma,
        thinking=Thinking("<|channel>", "<channel|>"),
        spells_types=True,
    ),
    "gpt_oss": Family(
        ("to=functions.",), _GPT_OSS, "openai", parallel=False, read=read_harmony, ends_in_text=True, spells_types=True
    ),
    "deepseek": Family(
        ("<｜tool▁call▁begin｜>",), _DEEPSEEK, "deepseek_v3", read=read_deepseek, text_arguments=True
    ),
}  # fmt: skip
# vLLM's names of parsers -> rows above that read the same syntax
READ_HERE = {
    "hermes": "chatml",
    "qwen3_xml": "qwen3_coder",
    "glm45": "glm",
    "glm47": "glm",
    "llama4_json": "llama3_json",
    "llama4_pythonic": "pythonic",
    "lfm2": "pythonic",
    "openai": "gpt_oss",
    "deepseek_v3": "deepseek",
    "deepseek_v31": "deepseek",
}
# text of a chat template -> the row that reads what it renders, tried in this order
_TELLING = (
    ("[TOOL_CALLS]", "mistral"),
    ("<|channel|>", "gpt_oss"),
    ("<|tool_call>", "gemma4"),
    ("<｜tool▁calls▁begin｜>", "deepseek"),
    ("<|start_header_id|>", "llama3_json"),
)
_TELLING_SYNTAX = (("<function=", "qwen3_coder"), ("<arg_key>", "glm"), ("<|tool_call_start|>", "pythonic"))


def family_of(chat_template: str) -> str:
    """The family whose marks stand in a chat template; "chatml" where none is more telling."""
    return next((name for mark, name in _TELLING if mark in chat_template), "chatml")


def syntaxes_of(chat_template: str) -> list[str]:
    """Rows that may read what a template renders where its family's own reader does not."""
    return [name for mark, name in _TELLING_SYNTAX if mark in chat_template]


def family_named(name: str, chat_template: str) -> Family:
    """The row of that name, or the one that reads what vLLM's parser of that name reads; "auto": by the template.

    Any other name is taken for a parser of vLLM's over the family that the template tells.
    """
    name = READ_HERE.get(name, name)
    if name == "auto" or name in FAMILIES:
        return FAMILIES[family_of(chat_template) if name == "auto" else name]
    return replace(FAMILIES[family_of(chat_template)], vllm_parser=name, read=None)
