"""Preferences of a data set -> token Pairs with loss on what the assistant writes, for offline preference training."""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from rayplay.records import Message, Pair, Preference, Reason, ToolSpec, digest


class Supervise(Protocol):
    """The part of a dialect that is needed: messages -> (token ids (T,), mask (T,))."""

    def supervise(self, messages: Iterable[Message], tools: Iterable[ToolSpec]) -> tuple[list[int], list[int]]: ...

    def render(self, messages: Iterable[Message], tools: Iterable[ToolSpec]) -> list[int]: ...


def pairs_of(
    preferences: Iterable[Preference], dialect: Supervise, max_length: int, one_decision: bool = True
) -> tuple[list[Pair], Counter[str]]:
    """Preferences as token pairs, and how many were left out for what.

    Args:
        preferences: With a prompt that ends before the assistant speaks.
        dialect: Renders and masks; tool output never carries loss.
        max_length: Most tokens of either side with its prompt.
        one_decision: Keep only the first assistant message of each side (the decision at which they part); else all
            that follows.
    """
    pairs: dict[str, Pair] = {}
    left_out: Counter[str] = Counter()
    for preference in preferences:
        pair = _pair(preference, dialect, one_decision)
        if pair is None:
            left_out["same_tokens"] += 1
        elif len(pair.prompt_ids) + max(len(pair.chosen_ids), len(pair.rejected_ids)) > max_length:
            left_out["too_long"] += 1
        elif pair.pair_id in pairs:
            left_out["repeated"] += 1
        else:
            pairs[pair.pair_id] = pair
    return list(pairs.values()), left_out


def _pair(preference: Preference, dialect: Supervise, one_decision: bool) -> Pair | None:
    prompt = dialect.render(preference.prompt, preference.tools)
    sides: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for messages in (preference.chosen, preference.rejected):
        said = messages[:1] if one_decision else messages
        ids, mask = dialect.supervise([*preference.prompt, *said], preference.tools)
        # earlier assistant messages belong to the prompt: they carry no loss here
        sides.append((tuple(ids[len(prompt) :]), tuple(mask[len(prompt) :])))
    (chosen, chosen_mask), (rejected, rejected_mask) = sides
    if chosen == rejected or not chosen or not rejected:
        return None
    return Pair(
        pair_id=digest([preference.source, prompt, chosen, rejected]),
        task_id=f"{preference.source}/{preference.row_id}",
        reason=Reason(preference.reason) if preference.reason in set(Reason) else Reason.DATASET_PREFERENCE,
        margin=1.0,
        prompt_ids=tuple(prompt),
        chosen_ids=chosen,
        rejected_ids=rejected,
        chosen_mask=chosen_mask,
        rejected_mask=rejected_mask,
        chosen_text=_shown(preference.chosen[0]),
        rejected_text=_shown(preference.rejected[0]),
    )


def _shown(message: Message) -> str:
    calls = [f"{c.name}({c.arguments})" for c in message.tool_calls]
    return " ".join([message.content, *calls]).strip()[:500]
