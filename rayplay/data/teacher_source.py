"""Texts + tools + a policy -> demonstrations that the policy wrote itself, as in Toolformer.

A passage is a question and an answer that a tool would have helped with. Calls are written as in the paper,
`[calculator(12*7) -> 84]`; a kept call becomes a real tool call in the middle of the answer, its result a tool message.
"""

import random
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

from rayplay.data.mixing import Entry
from rayplay.data.normal import tasks_of
from rayplay.data.teacher import Funnel, KeptCall, Notation, Teacher, TeacherPolicy, TeacherSettings, annotate
from rayplay.errors import DataError
from rayplay.records import Demonstration, Json, Message, Status, ToolCall, ToolResult, ToolSpec, seed_of

SOURCE = "teacher"
_CALL = re.compile(r"^\s*(\w+)\((.*)\)\s*$", re.DOTALL)


class Passage(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


# Own examples that show a policy how calls are written: tool -> (passage with a call in it).
EXAMPLES: dict[str, tuple[str, ...]] = {
    "calculator": (
        "Question: What do 14 tickets at 6 dollars cost?\nAnswer: They cost [calculator(14*6) -> 84] 84 dollars.",
        "Question: 480 pages in 15 days, how many a day?\nAnswer: That is [calculator(480/15) -> 32] 32 pages a day.",
        "Question: A bill of 57 and a tip of 8?\nAnswer: Together it is [calculator(57+8) -> 65] 65.",
        "Question: How many minutes are 7 hours?\nAnswer: 7 hours are [calculator(7*60) -> 420] 420 minutes.",
    ),
    "search": (
        "Question: Who designed the town hall of Stockholm?\nAnswer: It was designed by "
        "[search(architect Stockholm town hall) -> Ragnar Ostberg, opened 1923] Ragnar Ostberg.",
        "Question: On which river lies Turin?\nAnswer: Turin lies on the [search(river Turin) -> Turin: on the Po] Po.",
    ),
}


def passages(seed: int, count: int) -> list[Passage]:
    """Arithmetic in words, for teacher mode without a corpus of one's own."""
    rng = random.Random(seed_of(seed, "passages"))
    made = []
    for _ in range(count):
        a, b = rng.randint(12, 98), rng.randint(13, 79)
        thing = rng.choice(("boxes", "books", "chairs", "lamps", "plants", "bottles"))
        choices = (
            Passage(f"What do {a} {thing} at {b} dollars each cost?", f"They cost {a * b} dollars in all."),
            Passage(f"{a * b} {thing} are shared by {b} people. How many each?", f"Each gets {a} {thing}."),
            Passage(f"There were {a * 9} {thing} and {b} more came. How many now?", f"Now there are {a * 9 + b}."),
            Passage(f"I had {a * 11} {thing}, gave away {b}. How many are left?", f"You have {a * 11 - b} left."),
        )
        made.append(rng.choice(choices))
    return made


def found_passages(execute: Callable[..., ToolResult], seed: int, count: int) -> list[Passage]:
    """Passages about things that the search tool knows and no model can: its own texts, asked for by their subject."""
    rng = random.Random(seed_of(seed, "found passages"))
    found: dict[str, Passage] = {}
    for _ in range(4 * count):
        words = rng.sample(("town", "river", "founded", "mayor", "museum", "writer", "mountain", "lake", "company"), 2)
        text = execute("search", {"query": f"{' '.join(words)} {rng.randint(1100, 1990)}"}).text
        subject = re.match(r"((?:[A-Z][\w'-]*\s?)+?) (?:is|was) ", text)
        if subject:
            found.setdefault(
                subject[1], Passage(f"What can you tell me about {subject[1]}?", text.split(", and")[0] + ".")
            )
        if len(found) >= count:
            break
    return list(found.values())


def teacher_entries(
    specs: tuple[ToolSpec, ...],
    execute: Callable[..., ToolResult],
    *,
    count: int,
    seed: int,
    options: Json,
    load: Callable[[str | None], Teacher],
    say: Callable[[str], None],
) -> list[Entry]:
    """Annotate passages until there are `count` demonstrations, or no passage is left.

    Args:
        specs: Tools with one required string argument; each needs examples (built in for calculator and search).
        execute: (name, arguments) -> result, by the real tools.
        count: Demonstrations wanted.
        seed: Of passages and samples.
        options: "model" (whose calls; none: the policy's own), "texts" (how many passages), "questions" (a list of
            {question, answer}), and the fields of TeacherSettings.
        load: Starts a teacher by its model's name.
        say: Told what was proposed, executed and kept, and why the rest was not.
    """
    known = {k: v for k, v in options.items() if k in TeacherSettings.__dataclass_fields__}
    settings = TeacherSettings(**{**known, "seed": seed})
    given = [Passage(p["question"], p["answer"]) for p in options.get("questions", ())]
    wanted = options.get("texts", 4 * count)
    entries: list[Entry] = []
    with closing(load(options.get("model"))) as teacher:
        for spec in (s for s in specs if s.name in EXAMPLES):
            texts = given or (
                found_passages(execute, seed, wanted) if spec.name == "search" else passages(seed, wanted)
            )
            enough = count - len(entries) if spec is specs[-1] else (count - len(entries) + 1) // 2
            entries += annotate_passages(teacher, teacher.tokenizer, texts, spec, execute, settings, enough, say)
    if not entries:
        raise DataError(
            "teacher mode kept no call at all; lower tau_f or tau_s, raise texts, or take a larger model as teacher"
        )
    return entries


def annotate_passages(
    policy: TeacherPolicy,
    tokenizer: Any,
    texts: list[Passage],
    spec: ToolSpec,
    execute: Callable[..., ToolResult],
    settings: TeacherSettings,
    count: int,
    say: Callable[[str], None],
) -> list[Entry]:
    """Annotate passages with calls of one tool until `count` are kept."""
    notation = notation_of(tokenizer)
    entries: list[Entry] = []
    funnel = Funnel()
    for n, passage in enumerate(texts):
        if len(entries) >= count:
            break
        entries.extend(_annotated(policy, notation, passage, spec, execute, settings, funnel, n))
    say(f"teacher, {spec.name}: {told(funnel)}")
    return entries


def notation_of(tokenizer: Any) -> Notation:
    """`[` and `]` as the tokens that begin and end a call."""

    def encode(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    ends = (encode(" [")[-1], encode("]")[-1])
    return Notation(*ends, encode=encode, decode=lambda ids: tokenizer.decode(list(ids)))


def read_call(text: str, spec: ToolSpec) -> Json | None:
    """`calculator(12*7)` -> the arguments of a call of that tool; None where it is none."""
    match = _CALL.match(text)
    required = spec.parameters.get("required", [])
    if match is None or match[1] != spec.name or len(required) != 1 or not match[2].strip():
        return None
    return {required[0]: match[2].strip().strip("\"'")}


def _annotated(
    policy: TeacherPolicy, notation: Notation, passage: Passage, spec: ToolSpec, execute: Callable[..., ToolResult],
    settings: TeacherSettings, funnel: Funnel, n: int,
) -> Iterator[Entry]:  # fmt: skip
    results: dict[str, ToolResult] = {}

    def run(text: str) -> tuple[str, str]:
        arguments = read_call(text, spec)
        if arguments is None:
            return "", "no_call_of_this_tool"
        results[text] = execute(spec.name, arguments)
        ok = results[text].status is Status.OK
        return (results[text].text[:200], "") if ok else ("", results[text].status.value)

    examples = "\n\n".join(EXAMPLES[spec.name])
    context = notation.encode(f"Question: {passage.question}\nAnswer:")
    prompt = notation.encode(f"{examples}\n\nQuestion: {passage.question}\nAnswer:")
    text = notation.encode(f" {passage.answer}")
    for kept in annotate(policy, notation, prompt, context, text, run, settings, funnel)[:1]:
        shown = _demonstration(passage, spec, kept, text, notation, results[kept.call].text, n)
        yield Entry(tasks_of(shown)[0], shown)


def _demonstration(
    passage: Passage, spec: ToolSpec, kept: KeptCall, text: list[int], notation: Notation, result: str, n: int
) -> Demonstration:
    before, after = notation.decode(text[: kept.index]).strip(), notation.decode(text[kept.index :]).strip()
    call = ToolCall(call_id="call_0_0", name=spec.name, arguments=read_call(kept.call, spec) or {})
    messages = (
        Message(role="user", content=passage.question),
        Message(role="assistant", content=before, tool_calls=(call,)),
        Message(role="tool", content=result, tool_call_id=call.call_id, name=spec.name),
        Message(role="assistant", content=after if before else passage.answer),
    )
    return Demonstration(
        row_id=f"{spec.name}-{n}", source=SOURCE, messages=messages, tools=(spec,), licence="MIT",
        origin=f"gain {kept.losses.gain:.3f} at token {kept.index}",
    )  # fmt: skip


def told(funnel: Funnel) -> str:
    """The funnel in one line."""
    why = ", ".join(f"{count} {reason}" for reason, count in funnel.dropped.most_common() if count)
    return (
        f"{funnel.texts} texts, {funnel.positions} positions, {funnel.candidates} candidates, "
        f"{funnel.proposed} proposed, {funnel.executed} executed, {funnel.kept} kept; not kept: {why or 'none'}"
    )
