"""A ToolBench that needs no download: API families, queries of the three kinds, and simulators that answer.

A *tool* (family) is a thing with several APIs about it, as RapidAPI tools are: list its items, details of one by id,
search by place, prices, availability. Queries are of ToolBench's kinds: G1 asks one tool, G2 several tools of one
category, G3 tools of different categories; a family's `details` need an id that its `list` gives, so G1 and up hold
dependent calls. Results come from the seeded schema simulator and are marked so; the answer quotes them. With
`finish="call"` the conversation ends in a call of `Finish`, as ToolBench's do.
"""

import json
import random
from collections.abc import Iterator
from itertools import count as counter
from itertools import islice
from typing import Any

from rayplay.data.normal import Toolset
from rayplay.data.simulator import simulate
from rayplay.data.zoo_values import words
from rayplay.records import Demonstration, Json, Message, ToolCall, ToolSpec, seed_of

SOURCE = "toolbench_synthetic"
KINDS = {"G1": 0.5, "G2": 0.3, "G3": 0.2}
CATEGORIES: dict[str, tuple[str, ...]] = {
    "Travel": ("ferry", "hostel", "museum", "tram", "campsite", "airport"),
    "Food": ("bakery", "brewery", "market", "cafe", "vineyard", "recipe"),
    "Sports": ("marathon", "stadium", "ski_slope", "club", "regatta", "gym"),
    "Finance": ("fund", "loan", "bond", "insurance", "auction", "invoice"),
    "Media": ("podcast", "festival", "gallery", "magazine", "cinema", "playlist"),
    "Science": ("telescope", "glacier", "reef", "volcano", "satellite", "herbarium"),
}
HELD_OUT = ("airport", "recipe", "gym", "invoice", "playlist", "herbarium")  # families that training never sees
_STRING: Json = {"type": "string"}
_RESULT = {"type": "object"}


def synthetic_rows(
    seed: int, count: int | None = None, split: str = "train", finish: str = "answer", distractors: int = 2
) -> Iterator[Demonstration]:
    """Solved queries.

    Args:
        seed: Same seed, same rows.
        count: How many; none = endless.
        split: "train" or "held_out"; they share no API family.
        finish: "answer" ends with a message, "call" with a call of `Finish`.
        distractors: APIs of other families on offer.
    """
    return islice((_row(seed, n, split, finish, distractors) for n in counter()), count)


def family(name: str, category: str) -> list[ToolSpec]:
    """The APIs of one tool, named `<api>_for_<tool>` like ToolBench's."""
    item = {f"{name}_id": _STRING, "name": _STRING, "city": _STRING}
    plain = name.replace("_", " ")
    raw = [
        ("list", f"List {plain} entries in a city.", {"city": "str"}, ["city"], item),
        ("details", f"Details of one {plain} by its id.", {f"{name}_id": "str"}, [f"{name}_id"],
         {"name": _STRING, "opened": {"type": "integer", "minimum": 1900, "maximum": 2020}, "phone_number": _STRING}),
        ("price", f"Price of one {plain} on a day.", {f"{name}_id": "str", "date": "str"}, [f"{name}_id"],
         {"price": {"type": "number", "minimum": 5, "maximum": 400}, "currency": {"enum": ["EUR", "USD"]}}),
        ("search", f"Search for a {plain} by keyword.", {"keyword": "str", "limit": "int"}, ["keyword"], item),
        ("rating", f"Average rating of the {plain} entries of a city.", {"city": "str"}, ["city"],
         {"rating": {"type": "number", "minimum": 1, "maximum": 5}, "votes": {"type": "integer"}}),
    ]  # fmt: skip
    definitions = [
        {
            "name": f"{api}_for_{name}",
            "description": f'This is the subfunction for tool "{name}" ({category}). {text}',
            "parameters": parameters,
            "required": required,
        }
        for api, text, parameters, required, _ in raw
    ]
    specs = Toolset(definitions).specs
    returns = [{**_RESULT, "properties": result} for *_, result in raw]
    return [spec.model_copy(update={"returns": shape}) for spec, shape in zip(specs, returns, strict=True)]


FINISH = ToolSpec(
    name="Finish",
    description="Call this when you can answer, with all that the user should read; or to give up and start again.",
    parameters={
        "type": "object",
        "properties": {
            "return_type": {"type": "string", "enum": ["give_answer", "give_up_and_restart"]},
            "final_answer": {"type": "string", "description": "What the user reads."},
        },
        "required": ["return_type"],
    },
)


def _row(seed: int, n: int, split: str, finish: str, distractors: int) -> Demonstration:
    rng = random.Random(seed_of(seed, SOURCE, split, n))
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    chosen = _choose(kind, split, rng)
    offered = [spec for name, category in chosen for spec in family(name, category)]
    others = [entry for entry in _families(split) if entry not in chosen]
    for name, category in rng.sample(others, min(distractors, len(others))):
        offered.append(rng.choice(family(name, category)))
    rng.shuffle(offered)
    conversation = _Conversation(offered)
    parts = [rng.choice(_PLOTS)(name, rng) for name, _ in chosen]
    request = " ".join(text for text, _ in parts)
    answer = " ".join(conversation.play(steps) for _, steps in parts)
    messages = [Message(role="user", content=request), *conversation.messages]
    tools = (*offered, FINISH) if finish == "call" else tuple(offered)
    if finish == "call":
        arguments = {"return_type": "give_answer", "final_answer": answer}
        call = ToolCall(call_id=f"call_{len(messages)}_0", name=FINISH.name, arguments=arguments)
        messages.append(Message(role="assistant", tool_calls=(call,)))
    else:
        messages.append(Message(role="assistant", content=answer))
    return Demonstration(
        row_id=f"{split}-{seed}-{n}", source=SOURCE, messages=tuple(messages), tools=tools, licence="MIT",
        origin=f"{kind} {'+'.join(name for name, _ in chosen)}", simulated=True,
    )  # fmt: skip


def _families(split: str) -> list[tuple[str, str]]:
    pairs = [(name, category) for category, names in CATEGORIES.items() for name in names]
    return [(name, category) for name, category in pairs if (name in HELD_OUT) == (split == "held_out")]


def _choose(kind: str, split: str, rng: random.Random) -> list[tuple[str, str]]:
    pool = _families(split)
    first = rng.choice(pool)
    if kind == "G1":
        return [first]
    same = kind == "G2"
    rest = [entry for entry in pool if entry != first and (entry[1] == first[1]) == same]
    # each category holds out one family, so a held-out G2 has none beside it and asks across categories
    return [first, rng.choice(rest or [entry for entry in pool if entry != first])]


Step = tuple[str, Json, str]  # (API, arguments, sentence of the answer with the result's fields in braces)


class _Conversation:
    """Makes calls, lets the simulator answer, and writes both down."""

    def __init__(self, tools: list[ToolSpec]) -> None:
        self.tools = {tool.name: tool for tool in tools}
        self.messages: list[Message] = []

    def play(self, steps: list[Step]) -> str:
        """Carry out steps in turn; `{field}` in arguments and sentences is a field of the results so far."""
        known: dict[str, Any] = {}
        said = []
        for name, arguments, sentence in steps:
            filled = {k: v.format_map(known) if isinstance(v, str) else v for k, v in arguments.items()}
            call = ToolCall(call_id=f"call_{len(self.messages)}_0", name=name, arguments=filled)
            result = simulate(self.tools[name], filled, call_id=call.call_id)
            self.messages.append(Message(role="assistant", tool_calls=(call,)))
            self.messages.append(Message(role="tool", content=result.text, tool_call_id=call.call_id, name=name))
            known |= json.loads(result.text)
            said.append(sentence.format_map(known))
        return " ".join(said)


def _plot_details(name: str, rng: random.Random) -> tuple[str, list[Step]]:
    city, plain = rng.choice(words()["city"]), name.replace("_", " ")
    request = rng.choice(
        (
            f"Find a {plain} in {city} and tell me its phone number and when it opened.",
            f"I'm looking for a {plain} in {city}. Could you get me its details, with the phone number?",
            f"Which {plain} is there in {city}? Please look up its details too.",
        )
    )
    steps = [
        (f"list_for_{name}", {"city": city}, f"In {city} there is the {plain} {{name}}."),
        (
            f"details_for_{name}",
            {f"{name}_id": f"{{{name}_id}}"},
            "It opened in {opened}; call {phone_number}.",
        ),
    ]
    return request, steps


def _plot_price(name: str, rng: random.Random) -> tuple[str, list[Step]]:
    keyword, plain = rng.choice(words()["keyword"]), name.replace("_", " ")
    request = rng.choice(
        (
            f"Search for a {plain} about {keyword} and tell me its price.",
            f"What does a {plain} on {keyword} cost? Search for one first.",
            f"I'd like to know the price of a {plain} to do with {keyword}.",
        )
    )
    steps = [
        (f"search_for_{name}", {"keyword": keyword}, f"I found the {plain} {{name}} in {{city}}."),
        (f"price_for_{name}", {f"{name}_id": f"{{{name}_id}}"}, "It costs {price} {currency}."),
    ]
    return request, steps


def _plot_rating(name: str, rng: random.Random) -> tuple[str, list[Step]]:
    city, plain = rng.choice(words()["city"]), name.replace("_", " ")
    request = rng.choice(
        (
            f"How well is the {plain} scene in {city} rated?",
            f"Give me the average {plain} rating for {city}.",
            f"I wonder how people rate a {plain} in {city}.",
        )
    )
    steps: list[Step] = [
        (f"rating_for_{name}", {"city": city}, f"In {city} a {plain} is rated {{rating}} by {{votes}} people.")
    ]
    return request, steps


_PLOTS = (_plot_details, _plot_price, _plot_rating)
