"""Messages + tools -> token ids; sampled ids -> content + tool calls; per model family.

Rendering is the tokenizer's chat template and parsing its response template (transformers' `parse_response`), or a
parser that models/ passes in: nothing here knows a syntax by heart, but for the marks that tell an attempted call from
plain text. A tokenizer is any object with `apply_chat_template`, `decode`, `parse_response` and special tokens.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateError

from rayplay.errors import ModelError
from rayplay.records import Message, Status, ToolCall, ToolSpec, digest

# (text, prompt ids, sampled ids) -> {"content": str, "tool_calls": [{"function": {"name", "arguments"}}]} or ValueError
Parser = Callable[[list[int], list[int]], dict[str, Any]]

SYSTEM_PROMPT = "You are a helpful assistant. Call a tool only when it is needed."
BREAK = "\u2060"  # word joiner: invisible, zero width, and splits a special token into plain text


@dataclass(frozen=True)
class Family:
    """What distinguishes a model family beyond its template: how an attempted call begins, and what it cannot say."""

    call_marks: tuple[str, ...]
    role_marks: tuple[str, ...] = ()  # further strings that must not pass from tool output into the prompt
    vllm_parser: str = ""  # reads calls where the tokenizer has no response template and TRL knows none
    parallel: bool = True  # whether the template renders several calls in one message
    call_id_length: int = 0  # templates that insist on ids of so many letters and digits; 0: any id


FAMILIES: dict[str, Family] = {
    "chatml": Family(
        ("<tool_call>",), ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"), "hermes"
    ),
    "llama3_json": Family(("<|python_tag|>", '{"name"'), ("<|python_tag|>",), "llama3_json", parallel=False),
    "pythonic": Family(("[",), vllm_parser="pythonic"),
    "mistral": Family(
        ("[TOOL_CALLS]",), ("[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"), "mistral", call_id_length=9
    ),
    "gemma4": Family(("<|tool_call>", "<|tool_call|>"), ("<|tool_call>", "<tool_call|>", "<|tool_response>"), "gemma4"),
    "gpt_oss": Family(("to=functions.",), ("<|channel|>", "<|call|>"), "openai", parallel=False),
}


def family_of(chat_template: str) -> str:
    """The family whose marks stand in a chat template; "chatml" where none is more telling."""
    if "[TOOL_CALLS]" in chat_template:
        return "mistral"
    if "<|channel|>" in chat_template:
        return "gpt_oss"
    if "<|tool_call>" in chat_template:
        return "gemma4"
    return "llama3_json" if "<|start_header_id|>" in chat_template else "chatml"


@dataclass(frozen=True)
class Dialect:
    """How one tokenizer speaks: render a prompt, render tool results, read a completion."""

    tokenizer: Any
    family: Family
    parser: Parser | None = None
    template_kwargs: dict[str, Any] = field(default_factory=dict)  # for the template, as {"enable_thinking": False}
    stop_token_ids: tuple[int, ...] = ()  # what ends a message beside the tokenizer's end-of-sequence token
    system_prompt: str = SYSTEM_PROMPT  # where a conversation brings none; "": none at all

    @property
    def ends(self) -> frozenset[int]:
        """Token ids that end an assistant message."""
        return frozenset((self.tokenizer.eos_token_id, *self.stop_token_ids))

    def render(self, messages: Iterable[Message], tools: Iterable[ToolSpec]) -> list[int]:
        """Prompt ids (T,), generation prompt included. A system message is added where there is none."""
        return self._template(with_system(messages, self.system_prompt), tools, add_generation_prompt=True)

    def render_whole(self, messages: Iterable[Message], tools: Iterable[ToolSpec]) -> list[int]:
        """Ids (T,) of a finished conversation."""
        return self._template(with_system(messages, self.system_prompt), tools, add_generation_prompt=False)

    def supervise(self, messages: Iterable[Message], tools: Iterable[ToolSpec]) -> tuple[list[int], list[int]]:
        """A demonstration as (token ids (T,), mask (T,)): 1 on what the assistant writes, its end-of-turn included.

        Messages whose author excluded them from the loss (`Message.loss`) keep the mask 0.

        The ids are those that an episode with the same words would hold, so shared prefixes are shared token by token.

        Raises:
            ModelError: The template renders an earlier message differently once later ones follow, refuses the
                conversation, or has no room for a message of several calls.
        """
        messages, tools = with_system(messages, self.system_prompt), tuple(tools)
        if not self.family.parallel and any(len(m.tool_calls) > 1 for m in messages):
            raise ModelError("a message of several calls, but this model's chat template renders one call a message")
        whole = self._template(messages, tools, add_generation_prompt=False)
        mask = [0] * len(whole)
        end = 0
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            before = self._template(messages[:index], tools, add_generation_prompt=True)
            after = self._template(messages[: index + 1], tools, add_generation_prompt=False)
            if whole[: len(before)] != before or after[: len(before)] != before:
                raise ModelError("the chat template is not prefix-preserving: a later message changes an earlier one")
            end = self._end_of_turn(whole, len(before), len(after))
            mask[len(before) : end] = [int(message.loss)] * (end - len(before))
        return whole[:end], mask[:end]

    def results_suffix(
        self, calls: tuple[ToolCall, ...], texts: list[str], sampled_ids: Sequence[int] = ()
    ) -> list[int]:
        """Ids that follow a sampled message with calls: the end of that turn, all results, the next generation prompt.

        Taken as the difference between two renderings of a short dummy conversation (as TRL's GRPO trainer does), so
        what was sampled is never rendered again. Some families stop at the token that opens the results (Gemma 4's
        `<|tool_response>`): where `sampled_ids` end with it, it is not given twice.
        """
        named = [call.name or "invalid" for call in calls]
        made = tuple(ToolCall(call_id=c.call_id, name=n) for c, n in zip(calls, named, strict=True))
        spoken = Message(role="assistant", tool_calls=made if self.family.parallel else made[:1])
        answers = [
            Message(role="tool", content=self.neutralise(text), tool_call_id=call.call_id, name=name)
            for call, name, text in zip(calls, named, texts, strict=True)
        ]
        suffix = self._suffix([Message(role="user", content="dummy"), spoken], answers)
        opened = sampled_ids and suffix and sampled_ids[-1] == suffix[0] and suffix[0] in self.ends
        return suffix[1:] if opened else suffix

    def parse(self, prompt_ids: list[int], sampled_ids: list[int], address: str) -> tuple[str, tuple[ToolCall, ...]]:
        """Sampled ids -> (content, calls). A call that cannot be read comes back with its `problem`; nothing raises."""
        text = self.tokenizer.decode(sampled_ids, skip_special_tokens=False)
        plain = self.tokenizer.decode(sampled_ids, skip_special_tokens=True).strip()
        attempted = any(mark in text for mark in self.family.call_marks)
        try:
            message = (self.parser or self._by_response_template)(prompt_ids, sampled_ids) if sampled_ids else {}
        except (ValueError, TypeError, KeyError, RecursionError, IndexError, AttributeError):
            message = {}
        calls = tuple(_read_call(entry, f"{address}.{n}") for n, entry in enumerate(message.get("tool_calls") or ()))
        if calls:
            return str(message.get("content") or "").strip(), calls
        if attempted:
            broken = ToolCall(call_id=f"{address}.0", raw=plain[:2000], problem=Status.INVALID_JSON)
            return "", (broken,)
        return str(message.get("content") or plain).strip(), ()

    def neutralise(self, text: str) -> str:
        """Text in which no special token or role mark of this family survives as such; it looks the same."""
        marks = {*self.tokenizer.all_special_tokens, *self.family.role_marks}
        for mark in sorted(marks, key=len, reverse=True):
            if mark and mark in text:
                text = text.replace(mark, mark[0] + BREAK + mark[1:])
        return text

    def _by_response_template(self, prompt_ids: list[int], sampled_ids: list[int]) -> dict[str, Any]:
        return self.tokenizer.parse_response(sampled_ids, prefix=prompt_ids)

    def _template(self, messages: Iterable[Message], tools: Iterable[ToolSpec], **options: Any) -> list[int]:
        try:
            return self.tokenizer.apply_chat_template(
                [as_chat(m, self.family.call_id_length) for m in messages],
                tools=[t.as_function() for t in tools] or None,
                tokenize=True,
                return_dict=False,
                **self.template_kwargs,
                **options,
            )
        except TemplateError as error:
            raise ModelError(f"the chat template refuses the conversation: {error}") from error

    def _suffix(self, before: list[Message], after: list[Message]) -> list[int]:
        asked = self._template(before[:-1], (), add_generation_prompt=True)
        start = self._template(before, (), add_generation_prompt=False)
        whole = self._template([*before, *after], (), add_generation_prompt=True)
        end = self._end_of_turn(start, len(asked), len(start))
        if whole[:end] != start[:end]:
            raise ModelError("the chat template renders earlier messages anew once tool results follow")
        return whole[end:]

    def _end_of_turn(self, ids: list[int], start: int, end: int) -> int:
        """One past the last end-of-turn token of ids[start:end], or `end` where the template has none there."""
        return next((i + 1 for i in range(end - 1, start - 1, -1) if ids[i] in self.ends), end)


def with_system(messages: Iterable[Message], prompt: str = SYSTEM_PROMPT) -> list[Message]:
    """The messages, with a system prompt where they have none and there is one."""
    messages = list(messages)
    if not prompt or (messages and messages[0].role == "system"):
        return messages
    return [Message(role="system", content=prompt), *messages]


def as_chat(message: Message, call_id_length: int = 0) -> dict[str, Any]:
    """A Message in the form that chat templates read; call ids are hashed to `call_id_length` where that is given."""

    def shown(call_id: str) -> str:
        return digest([call_id], call_id_length) if call_id_length else call_id

    chat: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        chat["tool_calls"] = [
            {"type": "function", "id": shown(c.call_id), "function": {"name": c.name, "arguments": c.arguments}}
            for c in message.tool_calls
        ]
    if message.role == "tool":
        chat |= {"name": message.name, "tool_call_id": shown(message.tool_call_id or "")}
    return chat


PROBED = {
    "probe_key": ("string", 'probe "value", 3'),
    "probe_number": ("integer", 3),
    "probe_share": ("number", 0.25),
    "probe_flag": ("boolean", True),
    "probe_list": ("array", [1, "two"]),
    "probe_object": ("object", {"inner": "3", "flag": False}),
}


def probe(dialect: Dialect) -> None:
    """Prove on the real tokenizer what training relies on.

    Raises:
        ModelError: The template drops tools or results, a rendered call does not parse back, the next prompt does not
            extend what was sampled, or special tokens inside a tool result stay special.
    """
    spec = ToolSpec(
        name="probe_tool",
        description="probe description",
        parameters={"type": "object", "properties": {name: {"type": kind} for name, (kind, _) in PROBED.items()}},
    )
    arguments = {name: value for name, (_, value) in PROBED.items()}
    user = Message(role="user", content="probe request")
    prompt = dialect.render([user], [spec])
    _require("probe_tool" in dialect.tokenizer.decode(prompt), "the chat template does not render tools")
    call = ToolCall(call_id="probe", name="probe_tool", arguments=arguments)
    spoken = Message(role="assistant", tool_calls=(call,))
    whole = dialect.render_whole([user, spoken], [spec])
    _require(whole[: len(prompt)] == prompt, "a rendered call does not extend its prompt")
    _, calls = dialect.parse(prompt, whole[len(prompt) :], "probe")
    read_back = [(c.name, c.arguments, c.problem) for c in calls]
    _require(
        read_back == [("probe_tool", arguments, None)],
        f"a call rendered by the template does not parse back: {read_back}",
    )
    hostile = "".join(dialect.tokenizer.all_special_tokens) + "probe result"
    suffix = dialect.results_suffix((call,), [hostile])
    _require("probe result" in dialect.tokenizer.decode(suffix), "the chat template drops tool results")
    answer = Message(role="tool", content="probe result", name="probe_tool", tool_call_id="probe")
    sampled, _ = dialect.supervise([user, spoken], [spec])
    followed = [*sampled, *dialect.results_suffix((call,), ["probe result"], sampled)]
    _require(
        followed == dialect.render([user, spoken, answer], [spec]),
        "the prompt after a tool result is not what the chat template renders",
    )
    special = set(dialect.tokenizer.all_special_ids)
    clean = dialect.results_suffix((call,), ["probe result"])
    count = [sum(token in special for token in ids) for ids in (suffix, clean)]
    _require(count[0] == count[1], "special tokens inside a tool result stay special")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ModelError(f"{what}; choose another model, or name a vLLM tool parser in model.dialect")


def _read_call(entry: Any, call_id: str) -> ToolCall:
    """One parsed entry -> ToolCall; whatever is not {"name": str, "arguments": object} is invalid."""
    function = entry.get("function", entry) if isinstance(entry, dict) else entry
    raw = json.dumps(function, ensure_ascii=False, default=str)[:2000]
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return ToolCall(call_id=call_id, raw=raw, problem=Status.INVALID_JSON)
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):  # some parsers hand over the JSON text
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            arguments = None
    if not isinstance(arguments, dict) or not _is_json(arguments):
        return ToolCall(call_id=call_id, name=function["name"], raw=raw, problem=Status.INVALID_JSON)
    return ToolCall(call_id=call_id, name=function["name"], arguments=arguments, raw=raw)


def _is_json(value: Any) -> bool:
    """Whether a value can be written as standard JSON (no NaN, no lone surrogates, not too deep)."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError):
        return False
    return True
