"""Rows with a prompt: TRL's {prompt, completion} -> Demonstrations; prompts alone, TRL's and verl's -> Tasks.

A prompt is a text, a list of messages, or their JSON text. What the assistant says in a prompt carries no loss, as in
TRL. A prompt without completion is a task, and what is right stands in `answer`, `solution`, `ground_truth`,
`golden_answers`, or in verl's `reward_model`.
"""

from typing import Any

from rayplay.data.conversation import hear, read_conversation, tools_of, usable_of
from rayplay.data.normal import Builder, Rejected
from rayplay.data.reading import RawRow
from rayplay.data.sides import side_of
from rayplay.data.source import Context, Source, Usable, has
from rayplay.records import Json

_TOOL_HOLDERS = ("extra_info", "metadata", "info")


def matches_completion(value: Any) -> bool:
    """A prompt and a completion."""
    return has(value, prompt=(str, list), completion=(str, list, dict)) and bool(value["prompt"])


def matches_reward(value: Any) -> bool:
    """verl's prompt with a reward model."""
    return has(value, prompt=(str, list), reward_model=dict) and bool(value["prompt"])


def matches_prompt(value: Any) -> bool:
    """A prompt of messages, or a text with tools or a truth beside it."""
    if not has(value, prompt=(str, list)) or not value["prompt"]:
        return False
    known = {"answer", "solution", "ground_truth", "final_answer", "golden_answers", "tools", "functions"}
    return isinstance(value["prompt"], list) or bool(known & value.keys())


def read(row: RawRow, context: Context) -> Usable:
    """A demonstration where there is a completion, else a task."""
    value = row.value
    if not has(value, prompt=(str, list)) or not value["prompt"]:
        raise Rejected("wrong_format", "no text and no messages under 'prompt'")
    held = next((value[k] for k in _TOOL_HOLDERS if has(value.get(k), tools=(list, str))), value)
    builder = read_conversation(
        side_of(value["prompt"], "user"), tools_of(held, context), system=value.get("system"), strict=True
    )
    if value.get("completion"):
        builder.messages = [
            m.model_copy(update={"loss": False}) if m.role == "assistant" else m for m in builder.messages
        ]
        hear(builder, side_of(value["completion"]))
    else:
        _need_request(builder)
    return usable_of(builder, row, context)


def _need_request(builder: Builder) -> None:
    """Raise Rejected where a prompt ends with anything but what a user says, or with results of tools."""
    if not builder.messages or builder.messages[-1].role != "user":
        last = builder.messages[-1].role if builder.messages else "nobody"
        raise Rejected("roles_out_of_order", f"the prompt ends with the {last}, and there is no completion")


def _identity(row: RawRow) -> str:
    """verl's rows name themselves by split and index."""
    info: Json = row.value.get("extra_info") if has(row.value, extra_info=dict) else {}
    return "/".join(str(info[k]) for k in ("split", "index") if k in info) if "index" in info else ""


COMPLETION = Source("prompt-completion", matches_completion, read)
REWARD = Source("verl", matches_reward, read, gives="tasks", identity=_identity)
PROMPT = Source("prompt-only", matches_prompt, read, gives="tasks")
