"""One task -> others that ask for the same: reworded, among tools that do not matter, under masked names.

Rewording works on a pattern's text *between* its slots, before they are filled, so no value and no label can change:
labels come from slots and results alone. The rules are data (`templates/paraphrases.json`), so are the distractors.
"""

import json
import random
from functools import lru_cache
from typing import Any

from rayplay.data.template_files import FOLDER, literal_parts
from rayplay.records import Demonstration, Expected, Json, Message, Task, ToolSpec, seed_of


def reword(pattern: str, split: str, share: float, rng: random.Random) -> str:
    """A pattern in other words, with probability `share`; slots stay as they are, in their order.

    One rule of the split is taken that fits: "swap" rules replace words between slots (at most one place), "around"
    rules put words before or after the whole.
    """
    if rng.random() >= share:
        return pattern
    rules = paraphrase_rules()
    fitting = [swapped for old, new in rules["swap"][split] if (swapped := _swap(pattern, old, new)) != pattern]
    fitting += [before + pattern + after for before, after in rules["around"][split]]
    return rng.choice(fitting)


def offer(specs: tuple[ToolSpec, ...], distractors: int, seed: int) -> tuple[ToolSpec, ...]:
    """The tools of a task with some that nothing implements among them, in seeded order; unchanged for 0."""
    if distractors < 1:
        return specs
    rng = random.Random(seed)
    known = {spec.name for spec in specs}
    pool = [spec for spec in distractor_tools() if spec.name not in known]
    mixed = [*specs, *rng.sample(pool, min(distractors, len(pool)))]
    rng.shuffle(mixed)
    return tuple(mixed)


def mask_names(task: Task, row: Demonstration, seed: int) -> tuple[Task, Demonstration]:
    """The same task and conversation with meaningless tool names, so that a model must read descriptions.

    Every tool keeps its own name in `original_name`: whoever executes a call of a masked task looks it up there.
    """
    rng = random.Random(seed_of(seed, "mask", task.task_id))
    numbers = rng.sample(range(10, 100), len(task.tools))
    names = {spec.name: f"tool_{number}" for spec, number in zip(task.tools, numbers, strict=True)}
    tools = tuple(s.model_copy(update={"name": names[s.name], "original_name": s.name}) for s in task.tools)
    expected: Expected = task.expected.model_copy(
        update={"calls": tuple(c.model_copy(update={"name": names[c.name]}) for c in task.expected.calls)}
    )
    messages = tuple(_mask_message(m, names) for m in row.messages)
    asked = messages[: len(task.messages)]
    rest: Json = {"kind": task.kind, "expected": expected, "state": task.state}
    masked = Task.build(task.source, asked, tools, **rest, licence=task.licence, origin=task.origin)
    return masked, row.model_copy(update={"row_id": masked.task_id, "messages": messages, "tools": tools})


@lru_cache(maxsize=1)
def paraphrase_rules() -> dict[str, dict[str, list[list[str]]]]:
    """{"swap"|"around": {"train"|"held_out": [[old, new] or [before, after], ...]}}."""
    return json.loads((FOLDER / "paraphrases.json").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def distractor_tools() -> tuple[ToolSpec, ...]:
    """Tools with schemas of our own making and no implementation."""
    rows: list[dict[str, Any]] = json.loads((FOLDER / "distractors.json").read_text(encoding="utf-8"))
    return tuple(ToolSpec(**row) for row in rows)


def _swap(pattern: str, old: str, new: str) -> str:
    """Replace the first `old` that stands in the text between slots."""
    parts = literal_parts(pattern)
    for index in range(0, len(parts), 2):
        if old in parts[index]:
            parts[index] = parts[index].replace(old, new, 1)
            break
    return "".join(parts)


def _mask_message(message: Message, names: dict[str, str]) -> Message:
    calls = tuple(c.model_copy(update={"name": names[c.name]}) for c in message.tool_calls)
    return message.model_copy(update={"tool_calls": calls, "name": names.get(message.name, message.name)})
