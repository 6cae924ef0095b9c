"""Messages + tools -> token ids; sampled ids -> content + tool calls; per model family.

Rendering is the tokenizer's chat template; reading the family's own reader, or one that models/ passes in. A
tokenizer is any object with `apply_chat_template`, `decode`, `added_tokens_decoder` and special tokens.

What a tool wrote reaches the model by `_template` alone, in episodes, demonstrations and preferences alike: it is
neutralised there and nowhere else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from jinja2 import TemplateError

from rayplay.dialects.families import Family
from rayplay.dialects.messages import SYSTEM_PROMPT, as_chat_of, with_system
from rayplay.dialects.reading import Reader, record_of
from rayplay.dialects.shown import shown_tool
from rayplay.errors import ModelError
from rayplay.records import Json, Message, ToolCall, ToolSpec
from rayplay.sandbox.hygiene import neutralise
from rayplay.strict_json import as_unicode

PROMPT_TAIL = 24  # tokens of a prompt that are searched for thinking that the template opened
# what templates of others raise besides their own errors, given messages that they were not written for
_REFUSALS = (TemplateError, TypeError, ValueError, KeyError, IndexError, AttributeError)


@dataclass(frozen=True)
class Dialect:
    """How one tokenizer speaks: render a prompt, render tool results, read a completion."""

    tokenizer: Any
    family: Family
    parser: Reader | None = None  # None: the family's own
    template_kwargs: dict[str, Any] = field(default_factory=dict)  # for the template, as {"enable_thinking": False}
    stop_token_ids: tuple[int, ...] = ()  # what ends a message beside the tokenizer's end-of-sequence token
    system_prompt: str = SYSTEM_PROMPT  # where a conversation brings none; "": none at all

    @property
    def ends(self) -> frozenset[int]:
        """Token ids that end an assistant message."""
        return frozenset((self.tokenizer.eos_token_id, *self.stop_token_ids))

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """Every text that this tokenizer reads as one token of its own, special or not, and the family's role marks."""
        added = (token.content for token in self.tokenizer.added_tokens_decoder.values())
        return tuple(dict.fromkeys((*added, *self.tokenizer.all_special_tokens, *self.family.role_marks)))

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
                return self._supervise_in_pieces(messages, tools)
            end = self._end_of_turn(whole, len(before), len(after))
            mask[len(before) : end] = [int(message.loss)] * (end - len(before))
        return whole[:end], mask[:end]

    def _supervise_in_pieces(self, messages: list[Message], tools: tuple[ToolSpec, ...]) -> tuple[list[int], list[int]]:
        """`supervise` where the prompt's last token and the message's first would be one in the whole text.

        An episode holds the prompt and what was sampled, tokenised apart; so each is tokenised by itself here too.
        """
        whole = self._text_of(messages, tools, add_generation_prompt=False)
        ids: list[int] = []
        mask: list[int] = []
        done = 0
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            before = self._text_of(messages[:index], tools, add_generation_prompt=True)
            after = self._text_of(messages[: index + 1], tools, add_generation_prompt=False)
            if not whole.startswith(before) or not after.startswith(before):
                raise ModelError("the chat template is not prefix-preserving: a later message changes an earlier one")
            asked, said = self._ids_of(whole[done : len(before)]), self._ids_of(after[len(before) :])
            said = said[: self._end_of_turn(said, 0, len(said))]
            text = self.tokenizer.decode(said, skip_special_tokens=False)
            if not after.startswith(text, len(before)):
                raise ModelError("the tokenizer does not give back the text that it was given")
            ids += [*asked, *said]
            mask += [0] * len(asked) + [int(message.loss)] * len(said)
            done = len(before) + len(text)
        return ids, mask

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
            Message(role="tool", content=text, tool_call_id=call.call_id, name=name)
            for call, name, text in zip(calls, named, texts, strict=True)
        ]
        suffix = self._suffix([Message(role="user", content="dummy"), spoken], answers)
        opened = sampled_ids and suffix and sampled_ids[-1] == suffix[0] and suffix[0] in self.ends
        return suffix[1:] if opened else suffix

    def parse(
        self, prompt_ids: list[int], sampled_ids: list[int], address: str, tools: Sequence[ToolSpec] = ()
    ) -> tuple[str, tuple[ToolCall, ...]]:
        """Sampled ids -> (content, calls). A call that cannot be read comes back with its `problem`; nothing raises.

        Args:
            prompt_ids: What was sampled from: a template may have opened the thinking there.
            sampled_ids: The completion.
            address: Prefix of the calls' ids.
            tools: On offer; syntaxes without types (Qwen3-Coder's, GLM's) are typed by their schemas.
        """
        read = self.parser or self.family.read
        reading = read(self._text(prompt_ids, sampled_ids), tools)
        calls = tuple(record_of(found, f"{address}.{n}") for n, found in enumerate(reading.calls))
        return self._plain(reading.content), calls

    def neutralise(self, text: str) -> str:
        """Text in which no token of this tokenizer's own and no role mark survives as such (`hygiene.neutralise`)."""
        return neutralise(as_unicode(text), self.marks)

    def _text(self, prompt_ids: list[int], sampled_ids: Sequence[int]) -> str:
        """What was sampled as text, special tokens kept and ends dropped; begins with the thinking's mark where the
        prompt ends inside of thinking."""
        shown = [t for t in sampled_ids if t not in self.ends] if not self.family.ends_in_text else list(sampled_ids)
        text = self.tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        opened = self.family.thinking.opened
        tail = self.tokenizer.decode(list(prompt_ids[-PROMPT_TAIL:]), skip_special_tokens=False)
        return f"{opened}{text}" if tail.rstrip().endswith(opened) else text

    def _plain(self, text: str) -> str:
        """Content without special tokens and without text that no record can hold."""
        for token in self.tokenizer.all_special_tokens:
            if token in text:
                text = text.replace(token, "")
        return as_unicode(text).strip()

    def _template(self, messages: Iterable[Message], tools: Iterable[ToolSpec], **options: Any) -> list[int]:
        return self._applied(messages, tools, tokenize=True, return_dict=False, **options)

    def _text_of(self, messages: Iterable[Message], tools: Iterable[ToolSpec], **options: Any) -> str:
        return self._applied(messages, tools, tokenize=False, **options)

    def _ids_of(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _applied(self, messages: Iterable[Message], tools: Iterable[ToolSpec], **options: Any) -> Any:
        try:
            return self.tokenizer.apply_chat_template(
                list(map(partial(as_chat_of, self.family, self.neutralise), messages)),
                tools=[self._shown(tool) for tool in tools] or None,
                **self.template_kwargs,
                **options,
            )
        except _REFUSALS as error:
            raise ModelError(f"the chat template refuses the conversation: {error}") from error

    def _shown(self, tool: ToolSpec) -> Json:
        return shown_tool(tool, in_words=self.family.spells_types, clean=self.neutralise)

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
