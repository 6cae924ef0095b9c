"""What functions may be drawn: blueprints written in `zoo/functions.json`, and abstract ones put together from words.

A written blueprint gives each parameter as `kind name/name|phrase/phrase|description` (`?` before it: optional, `=x`
behind its names: its default), and may end with whole questions that say some of them (`{name}`, `{name:m}`: a form of
`zoo_values.Value`). The kind `rate` becomes a percentage or a decimal, anew in every schema. Abstract ones work
something out from measures ("estimate the drift of a glacier") or look something up about a thing that has a name
("find the opening hours of the castle Ruvo").
"""

import json
import random
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain

from rayplay.data.zoo_values import FOLDER, words
from rayplay.records import digest

_PARAMETER = re.compile(r"(\??)(\w+(?:\([^)]*\))?(?::[^|=]*?)?) ([\w/]+)(?:=([^|]*))?\|([^|]*)\|(.*)")
MAY_BE_NEGATIVE = ("temperature", "angle", "slope", "altitude", "acceleration", "starting speed")
RATE_SHARE = 0.15  # of the functions that work something out: a percentage among their measures
CHOICE_SHARE = 0.3  # of the functions that look something up: a list of values that the schema tells
HELD_OUT_ONE_IN = 6  # of the written blueprints: never among training schemas


@dataclass(frozen=True)
class Slot:
    """A parameter that may be drawn: how it is named, typed, said."""

    kind: str
    names: tuple[str, ...]
    phrases: tuple[str, ...]
    description: str
    optional: bool = False
    default: str = ""


@dataclass(frozen=True)
class Blueprint:
    """A function that may be drawn."""

    domain: str
    names: tuple[str, ...]
    does: tuple[str, ...]
    what: str
    slots: tuple[Slot, ...]
    questions: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What tells blueprints apart."""
        return f"{self.domain}.{self.names[0]}"


@lru_cache
def blueprints(split: str = "train") -> tuple[Blueprint, ...]:
    """The written blueprints of one side: "train", "held_out" or "all"."""
    rows = json.loads((FOLDER / "functions.json").read_text(encoding="utf-8"))
    found = [
        Blueprint(
            domain,
            tuple(names.split("/")),
            tuple(does.split("/")),
            what,
            tuple(map(_slot, slots)),
            tuple(chain(*asked)),
        )
        for domain, names, does, what, slots, *asked in rows
    ]
    return tuple(b for b in found if split == "all" or is_held_out(b) == (split == "held_out"))


def is_held_out(blueprint: Blueprint) -> bool:
    """Which side a blueprint is on, by its name alone."""
    return int(digest(["zoo", blueprint.key], 8), 16) % HELD_OUT_ONE_IN == 0


def _slot(text: str) -> Slot:
    match = _PARAMETER.fullmatch(text)
    if match is None:
        raise ValueError(f"zoo/functions.json: not a parameter: {text!r}")
    optional, kind, names, default, phrases, description = match.groups()
    return Slot(kind, tuple(names.split("/")), _phrases(kind, phrases), description, optional == "?", default or "")


def _phrases(kind: str, text: str) -> tuple[str, ...]:
    """A boolean has two phrases, for true and for false; others have alternatives."""
    return tuple(text.split("/")) if kind == "bool" else (text,)


def abstract_blueprint(rng: random.Random, near: Blueprint | None = None, avoid: tuple[str, ...] = ()) -> Blueprint:
    """A blueprint put together from words, about the same thing as `near` where that is an abstract one too.

    Args:
        rng: Decides everything.
        near: A blueprint whose domain to stay in.
        avoid: Keys of blueprints that are taken.
    """
    family = near.domain.partition(" ")[0] if near else rng.choice(list(_FAMILIES))
    thing = near.domain.partition(" ")[2] if near else ""
    while True:
        drawn = _FAMILIES[family](rng, thing)
        if not any(a.endswith(drawn.names[-1]) for a in avoid):
            return drawn


def is_abstract(blueprint: Blueprint) -> bool:
    """Whether a blueprint was put together from words."""
    return blueprint.domain.partition(" ")[0] in _FAMILIES


def _measured(rng: random.Random, noun: str) -> Blueprint:
    """Work out an attribute of a thing from measures."""
    lists = words()
    noun = noun or rng.choice(lists["subject_noun"])
    verb, attribute = rng.choice(lists["abstract_verb"]), rng.choice(lists["attribute"])
    slots = []
    for text in rng.sample(lists["measure"], rng.choice((1, 2, 2, 3, 3))):
        measure, unit = text.split(":")
        name = measure.replace(" ", "_")
        low = -150 if measure in MAY_BE_NEGATIVE else 1
        slots.append(Slot(rng.choice((f"num({low},500)", f"int({low},300)")), (name, f"{noun.split()[-1]}_{name}"),
                          (f"{_article(measure)} {measure} of {{v}} {unit}",), f"{measure.capitalize()} in {unit}",
                          rng.random() < 0.2))  # fmt: skip
    if rng.random() < RATE_SHARE:
        rate = rng.choice(lists["rate"])
        slots.append(Slot("rate", (rate.replace(" ", "_"),), (f"{_article(rate)} {rate} of {{v}}%",),
                          rate.capitalize()))  # fmt: skip
    counted = rng.choice(lists["counted"])
    extras = (
        Slot("int(1,40)", (f"num_{counted}", f"{counted}_count"), (f"{{v}} {counted}",), f"Number of {counted}"),
        Slot("city", ("location", "site", "city"), ("in {v}",), "Where it is"),
        Slot("date", ("date", "day"), ("on {d}",), "Day in YYYY-MM-DD format", True),
        Slot("material", ("material",), ("made of {v}",), "What it is made of"),
        Slot("enum:low,medium,high", ("detail", "detail_level"), ("with {v} detail",), "Level of detail", True, "low"),
        Slot("enum:draft,final,quick", ("mode", "run_mode"), ("in {v} mode",), "Mode", True, "quick"),
        Slot("ints", ("readings", "history"), ("based on the readings {v}",), "Past readings", True),
        Slot("bool", ("include_forecast", "forecast"), ("including a forecast", "without a forecast"),
             "Whether to add a forecast", True, "false"),
        Slot("frac", ("safety_factor", "tolerance"), ("with a tolerance of {v}",), "Tolerance from 0 to 1", True,
             "0.1"),
        Slot("int(1,6)", ("decimals", "precision"), ("to {v} decimals",), "Decimals of the result", True, "2"),
    )  # fmt: skip
    slots += rng.sample(extras, rng.choice((0, 1, 1, 2, 3)))
    key = f"{noun} {attribute}".replace(" ", "_")
    names = (f"{verb}_{key}", f"{key}_{verb}" if rng.random() < 0.2 else f"{verb}_{key}", key)
    goal = f"the {attribute} of {_article(noun)} {noun}"
    return Blueprint(f"measured {noun}", names, (f"{verb} {goal}",), goal, _with_one_required(slots))


def _named(rng: random.Random, noun: str) -> Blueprint:
    """Look something up about a thing that has a name."""
    lists = words()
    kinds = dict(entry.split(":") for entry in lists["entity"])
    noun = noun or rng.choice(list(kinds))
    verb, aspect = rng.choice(lists["lookup_verb"]), rng.choice(lists["aspect"])
    short = noun.split()[-1]
    said = rng.choice(("of {v}", f"of the {noun} {{v}}", "for {v}"))
    slots = [Slot(kinds[noun], (f"{short}_name", short, "name"), (said,), f"Name of the {noun}")]
    extras = (
        Slot("year", ("year", "in_year"), ("in {v}",), "Year to look at", rng.random() < 0.4),
        Slot("season", ("season", "period"), ("in the {v} season",), "Season, as two years", rng.random() < 0.5),
        Slot("enum:last_week,last_month,last_year,all_time", ("time_range", "span"), ("over the {v}",),
             "Stretch of time", rng.random() < 0.5, "last_month"),
        Slot("country", ("country", "region", "market"), ("in {v}",), "Where to look", rng.random() < 0.6),
        Slot("city", ("location", "city"), ("in {v}",), "Place of interest", rng.random() < 0.4),
        Slot("keyword", ("topic", "focus"), ("with a focus on {v}",), "What to look for", rng.random() < 0.5),
        Slot("person", ("author", "contact", "reviewer"), ("according to {v}",), "Who said so", rng.random() < 0.7),
        Slot("int(2,25)", ("limit", "top_n", "max_results"), ("limited to {v} results",), "How many results",
             True, "10"),
        Slot("bool", ("detailed", "include_details"), ("with details", "without details"),
             "Whether to give details", True, "false"),
        Slot("bool", ("include_history", "historical"), ("including its history", "without its history"),
             "Whether to add the history", True, "false"),
        Slot("enum:name,date,price,rating", ("sort_by", "order_by"), ("sorted by {v}",), "How to sort", True, "name"),
        Slot("enum:json,table,text,csv", ("output_format", "format"), ("as {v}",), "Form of the result", True, "text"),
        Slot("language", ("language", "lang"), ("in {v}",), "Language of the result", True, "English"),
        Slot("list:aspect", ("fields", "aspects"), ("together with its {v}",), "What else to give", True),
        Slot("list:keyword", ("keywords", "tags"), ("tagged {v}",), "Tags to match", True),
    )  # fmt: skip
    if rng.random() < CHOICE_SHARE:
        kind, plurals = rng.choice(lists["choice"]).split(":")
        said = rng.choice(("with {v}", "for {v}", "that has {v}"))
        slots.append(Slot(f"list:{kind}", tuple(plurals.split("/")), (said,), f"Wanted {kind}", rng.random() < 0.5))
    slots += rng.sample(extras, rng.choice((0, 1, 1, 2, 2, 3)))
    key = f"{short} {aspect}".replace(" ", "_")
    names = (f"{verb}_{key}".replace(" ", "_"), f"{key}_lookup", key)
    does = (f"{verb} the {aspect}", f"{rng.choice(lists['lookup_verb'])} the {aspect}")
    return Blueprint(f"named {noun}", names, does, f"the {aspect}", tuple(slots))


_FAMILIES = {"measured": _measured, "named": _named}


def _with_one_required(slots: list[Slot]) -> tuple[Slot, ...]:
    first, *rest = slots
    return tuple(slots) if not all(s.optional for s in slots) else (replace(first, optional=False), *rest)


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"
