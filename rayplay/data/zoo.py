"""The function zoo: an endless, seeded stream of requests over functions that are never twice the same.

It teaches to read any schema: pick the function, take the values from the sentence in the type that the schema wants,
leave out what was not said, and call nothing where nothing fits or a value is missing. Rows come in groups that share
their tools, so that training can share the prompt. Nothing is executed; what is expected is exact by construction.
All words are our own (`zoo/*.json`); no benchmark row is among them.
"""

import random
from collections.abc import Iterator
from itertools import count as counter
from itertools import islice
from string import Formatter

from rayplay.data.normal import tasks_of
from rayplay.data.zoo_functions import Function, Parameter, draw_function
from rayplay.data.zoo_values import Value, join, shorten_units, words
from rayplay.records import Demonstration, Json, Message, Task, ToolCall, seed_of

SOURCE = "zoo"
LICENCE = "MIT"
GROUP = 4  # requests over the same tools
KINDS = {"call": 0.55, "parallel": 0.04, "irrelevant": 0.31, "missing": 0.1}
NEAR_SHARE = 0.6  # of the irrelevant requests: about the same thing as an offered function, but not what it does
BESIDE_SHARE = 0.3  # of the irrelevant requests, where it can be: what a function would take is asked about, otherwise
NOTHING_SAID_SHARE = 0.4  # of the requests with something missing
SAID_SHARE = 0.6  # of the optional parameters: the rest must be left out
ASKED_SHARE = 0.5  # of the requests whose blueprint has written questions
NUM_TOOLS = {1: 0.5, 2: 0.2, 3: 0.18, 4: 0.12}

Said = list[tuple[Parameter, Value]]


def zoo_rows(seed: int, count: int | None = None, split: str = "train", group: int = GROUP) -> Iterator[Demonstration]:
    """Demonstrations of one message each: calls, or words where no call is right.

    Args:
        seed: Same seed, same rows.
        count: How many; none = endless.
        split: "train" or "held_out": they share no written blueprint.
        group: Requests in a row over the same tools.
    """
    return islice((row for n in counter() for row in _group(seed, n, split, group)), count)


def zoo_tasks(seed: int, count: int | None = None, split: str = "train", group: int = GROUP) -> Iterator[Task]:
    """The same requests as tasks with their exact expected calls."""
    return (task for row in zoo_rows(seed, count, split, group) for task in tasks_of(row))


def _group(seed: int, n: int, split: str, size: int) -> list[Demonstration]:
    rng = random.Random(seed_of(seed, SOURCE, split, n))
    functions = _offer(rng, split)
    specs = tuple(f.spec for f in functions)
    rows = []
    for k in range(size):
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        request, calls, reply = _episode(kind, functions, split, rng)
        made = tuple(ToolCall(call_id=f"call_0_{i}", name=name, arguments=a) for i, (name, a) in enumerate(calls))
        request = shorten_units(request, rng)
        messages = (Message(role="user", content=request), Message(role="assistant", content=reply, tool_calls=made))
        rows.append(
            Demonstration(
                row_id=f"{split}-{seed}-{n}-{k}",
                source=SOURCE,
                messages=messages,
                tools=specs,
                licence=LICENCE,
                origin=f"zoo {kind}",
            )
        )
    return rows


def _offer(rng: random.Random, split: str) -> list[Function]:
    """One to four functions with different names; some of one domain, so that the choice is not obvious."""
    size = rng.choices(list(NUM_TOOLS), list(NUM_TOOLS.values()))[0]
    functions = [draw_function(rng, split)]
    while len(functions) < size:
        near = functions[0].blueprint if rng.random() < 0.6 else None
        drawn = draw_function(rng, split, near, tuple(f.blueprint.key for f in functions))
        if drawn.spec.name not in {f.spec.name for f in functions}:
            functions.append(drawn)
    rng.shuffle(functions)
    return functions


def _episode(
    kind: str, functions: list[Function], split: str, rng: random.Random
) -> tuple[str, list[tuple[str, Json]], str]:
    """(request, calls, reply) of one kind of request."""
    lists = words()
    if kind == "irrelevant":
        return _irrelevant(functions, split, rng), [], rng.choice(lists["refusal"])
    function = rng.choice(functions)
    said = _say(function, rng)
    if kind == "missing":
        lost = rng.choice([entry for entry in said if function.required(entry[0])])
        left = [] if rng.random() < NOTHING_SAID_SHARE else [entry for entry in said if entry is not lost]
        ask = rng.choice(lists["ask"]).format(x=lost[0].words)
        return _lead(_sentence(function, left, rng), rng), [], ask
    calls = [(function.spec.name, _arguments(function, said))]
    if kind == "call":
        return _lead(_sentence(function, said, rng), rng), calls, ""
    joint = _joined(function, said, rng) if rng.random() < 0.5 else None
    if joint:
        return joint
    sentences = [_sentence(function, said, rng)]
    for _ in range(rng.choice((1, 1, 2))):
        again = function if rng.random() < 0.6 else rng.choice(functions)
        values = _say(again, rng, again is function and {p.name for p, _ in said})
        if (again.spec.name, _arguments(again, values)) in calls:
            continue  # nobody asks for the same thing twice
        joint = rng.choice(("Also, ", "Then ", "And ", "After that, ", "In addition, "))
        sentences.append(joint + _lower(_sentence(again, values, rng, plain=True)))
        calls.append((again.spec.name, _arguments(again, values)))
    return " ".join(sentences), calls, ""


def _irrelevant(functions: list[Function], split: str, rng: random.Random) -> str:
    """A request that no function fits: small talk, a question beside what one takes, or what another would do."""
    lists = words()
    if rng.random() < 0.12:
        return rng.choice(lists["chitchat"])
    named = [p for f in functions for p in f.parameters if p.slot.kind in lists]
    if named and rng.random() < BESIDE_SHARE:
        return _lead(rng.choice(lists["beside"]).format(v=rng.choice(named).value(rng).said["v"]), rng)
    near = functions[0].blueprint if rng.random() < NEAR_SHARE else None
    other = draw_function(rng, split, near, tuple(f.blueprint.key for f in functions))
    return _lead(_sentence(other, _say(other, rng), rng), rng)


def _joined(function: Function, said: Said, rng: random.Random) -> tuple[str, list[tuple[str, Json]], str] | None:
    """One sentence for several calls that differ in one value ("the forecast for Oslo and Lima"); None where odd."""
    fit = [e for e in said if set(e[1].said) == {"v", "q"} and function.required(e[0]) and e[0].slot.kind in words()]
    if not fit:
        return None
    parameter, first = rng.choice(fit)
    values = {str(first.json): first}
    for _ in range(rng.choice((1, 1, 2))):
        other = parameter.value(rng)
        values[str(other.json)] = other
    if len(values) < 2:
        return None
    together = Value(None, {k: join([v.said[k] for v in values.values()], rng) for k in ("v", "q")})
    request = _sentence(function, [(p, together if p is parameter else v) for p, v in said], rng)
    calls = [
        (function.spec.name, _arguments(function, [(p, value if p is parameter else v) for p, v in said]))
        for value in values.values()
    ]
    return _lead(request, rng), calls, ""


def _say(function: Function, rng: random.Random, only: set[str] | bool = False) -> Said:
    """Values for all required parameters and some optional ones (or for those in `only`)."""
    said = []
    for parameter in function.parameters:
        wanted = parameter.name in only if isinstance(only, set) else rng.random() < SAID_SHARE
        if function.required(parameter) or wanted:
            said.append((parameter, parameter.value(rng)))
    return said


def _arguments(function: Function, said: Said) -> Json:
    return {parameter.name: value.json for parameter, value in said}


def _sentence(function: Function, said: Said, rng: random.Random, plain: bool = False) -> str:
    """A request that states every value once."""
    asked = None if plain or rng.random() > ASKED_SHARE else _asked(function, said, rng)
    if asked:
        return asked
    direct, grouped, tail, apart = _sort(said, rng)
    does = rng.choice(function.blueprint.does)
    what = function.blueprint.what
    ordered = any(p.startswith("and ") for p in tail)
    if not ordered and rng.random() < 0.3:
        rng.shuffle(tail)
    together = f"with {join(grouped, rng)}" if grouped else ""
    if grouped and not direct and rng.random() < 0.18:
        head = f"Given {join(grouped, rng)}, {' '.join([does, *tail])}"
        return _end(head, ".") + _aside(apart, rng)
    parts = [*direct, *([together] if rng.random() < 0.5 else []), *tail]
    if together and together not in parts:
        parts.append(together)
    rest = " ".join(parts)
    if what and not direct and rng.random() < 0.45:
        opening, ending = rng.choice(_QUESTIONS) if not plain and what.startswith("the ") else ("I need", ".")
        verb = "are" if what.split(" of ")[0].split(" for ")[0].endswith(("ts", "es", "rs", "ns")) else "is"
        return _end(f"{opening.format(verb)} {what} {rest}", ending) + _aside(apart, rng)
    opening, ending = ("", ".") if plain else rng.choice(_OPENINGS)
    start = f"{opening} {does}" if opening else does[0].upper() + does[1:]
    return _end(f"{start} {rest}", ending) + _aside(apart, rng)


def _asked(function: Function, said: Said, rng: random.Random) -> str:
    """One of the blueprint's whole questions, what it leaves unsaid behind it; "" where none fits what is said."""
    values = {parameter.slot.names[0]: value for parameter, value in said}
    fitting = [q for q in function.blueprint.questions if _names(q) <= set(values)]
    if not fitting:
        return ""
    question = rng.choice(fitting)
    left = [(p, v) for p, v in said if p.slot.names[0] not in _names(question)]
    direct, grouped, tail, apart = _sort(left, rng)
    rest = " ".join([*direct, *([f"with {join(grouped, rng)}"] if grouped else []), *tail])
    text = question.format_map(values)
    return _end(f"{text[:-1]} {rest}".rstrip(), text[-1]) + _aside(apart, rng)


_OPENINGS = (
    ("", "."), ("", "."), ("", "."), ("Please", "."), ("Can you", "?"), ("Could you", "?"), ("I need to", "."),
    ("I want to", "."), ("I'd like to", "."), ("Would you", "?"), ("Help me", "."), ("Can you please", "?"),
)  # fmt: skip


_QUESTIONS = (
    ("What {}", "?"), ("What {}", "?"), ("What {}", "?"), ("What {}", "?"), ("I need", "."),
    ("Show me", "."), ("Give me", "."), ("Tell me", "."), ("I'd like to know", "."),
)  # fmt: skip


def _sort(said: Said, rng: random.Random) -> tuple[list[str], list[str], list[str], list[str]]:
    """Phrases by where they stand: behind the verb, in a `with` group, at the tail, or in a sentence of their own."""
    direct: list[str] = []
    grouped: list[str] = []
    tail: list[str] = []
    apart: list[str] = []
    for n, (parameter, value) in enumerate(said):
        phrases = parameter.slot.phrases
        chosen = phrases[0 if value.json else 1] if parameter.slot.kind == "bool" else phrases[0]
        phrase = chosen.format_map(value.said)
        if n and parameter.slot.kind not in ("bool", "nums2") and "and {" not in chosen and rng.random() < 0.1:
            apart.append(_stated(parameter, value, rng))
        elif chosen in ("{v}", "{q}", "the {v}"):
            direct.append(phrase)
        elif chosen.startswith(("a ", "an ", "{v} ", "a =", "b =", "c =", "x ", "y ")):
            grouped.append(phrase)
        else:
            tail.append(phrase)
    return direct, grouped, tail, apart


def _stated(parameter: Parameter, value: Value, rng: random.Random) -> str:
    shown = next(value.said[form] for form in "qdtmpv" if form in value.said)
    forms = (f"The {parameter.words} is {shown}.", f"Use {shown} as the {parameter.words}.",
             f"The {parameter.words} should be {shown}.")  # fmt: skip
    return rng.choice(forms)


def _names(question: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(question) if name}


def _aside(apart: list[str], rng: random.Random) -> str:
    rng.shuffle(apart)
    return "".join(" " + sentence for sentence in apart)


def _lead(request: str, rng: random.Random) -> str:
    return f"{rng.choice(words()['lead_in'])} {request}" if rng.random() < 0.12 else request


def _end(text: str, mark: str) -> str:
    return " ".join(text.split()) + mark


def _lower(text: str) -> str:
    return text[0].lower() + text[1:] if not text.startswith("I") else text
