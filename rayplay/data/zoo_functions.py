"""Blueprints -> function schemas that are never twice the same: names, parameters, types and words are drawn anew."""

import random
import re
from dataclasses import dataclass, replace

from rayplay.data.zoo_blueprints import Blueprint, Slot, abstract_blueprint, blueprints, is_abstract
from rayplay.data.zoo_values import Value, draw_value, join, schema_of_kind
from rayplay.records import Json, ToolSpec

ABSTRACT_SHARE = 0.42


@dataclass(frozen=True)
class Parameter:
    """A drawn parameter: the name and schema that it got."""

    slot: Slot
    name: str
    schema: Json

    def value(self, rng: random.Random) -> Value:
        """A value for one request."""
        return draw_value(self.slot.kind, self.schema, rng)

    @property
    def words(self) -> str:
        """The name as people say it."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", self.name).replace("_", " ").lower()


@dataclass(frozen=True)
class Function:
    """A drawn function: its blueprint, its parameters, and the tool that is shown."""

    blueprint: Blueprint
    parameters: tuple[Parameter, ...]
    spec: ToolSpec

    def required(self, parameter: Parameter) -> bool:
        """Whether a call must give the parameter."""
        return parameter.name in self.spec.parameters.get("required", [])


def draw_function(
    rng: random.Random, split: str, near: Blueprint | None = None, avoid: tuple[str, ...] = ()
) -> Function:
    """A function with a fresh schema.

    Args:
        rng: Decides everything.
        split: Side of the blueprints.
        near: Draw from this blueprint's domain.
        avoid: Keys of blueprints that are taken.
    """
    pool = [b for b in blueprints(split) if b.key not in avoid]
    same = [b for b in pool if near and b.domain == near.domain]
    if same:
        return build(rng.choice(same), rng)
    if is_abstract(near) if near else rng.random() < ABSTRACT_SHARE:
        return build(abstract_blueprint(rng, near, avoid), rng)
    return build(rng.choice(pool), rng)


def build(blueprint: Blueprint, rng: random.Random) -> Function:
    """Draw names, parameters and words for a blueprint."""
    style = rng.choices(("snake", "camel", "dotted"), (0.62, 0.18, 0.2))[0]
    optional = [s for s in blueprint.slots if s.optional]
    kept = set(rng.sample(optional, rng.randint(0, len(optional))))
    taken: list[str] = []
    parameters = []
    for slot in (_rated(s, rng) for s in blueprint.slots if not s.optional or s in kept):
        name = rng.choice([n for n in slot.names if n not in taken] or [f"{slot.names[0]}_{len(taken)}"])
        taken.append(name)
        schema = schema_of_kind(slot.kind, rng)
        schema["description"] = _described(slot, schema, rng)
        default = _default(slot, schema)
        if default is not None and rng.random() < 0.3:
            schema["default"] = default
        parameters.append(Parameter(slot, _camel(name) if style == "camel" else name, schema))
    required = [p.name for p in parameters if not p.slot.optional]
    schema = {"type": "object", "properties": {p.name: p.schema for p in parameters}, "required": required}
    spec = ToolSpec(
        name=_name(blueprint, style, rng), description=_summary(blueprint, parameters, rng), parameters=schema
    )
    return Function(blueprint, tuple(parameters), spec)


def _rated(slot: Slot, rng: random.Random) -> Slot:
    """People say 5 %; whether a function wants 5 or 0.05 stands in its description alone."""
    if slot.kind != "rate":
        return slot
    kind, unit = rng.choice(_RATES)
    return replace(slot, kind=kind, description=f"{slot.description} {unit}")


_RATES = (
    ("pct", "in percent"), ("pct", "as a percentage (5 for 5%)"), ("decpct", "as a decimal"),
    ("decpct", "as a decimal (0.05 for 5%)"), ("decpct", "as a fraction of 1 (10% is 0.1)"),
)  # fmt: skip


def _name(blueprint: Blueprint, style: str, rng: random.Random) -> str:
    name = rng.choice(blueprint.names)
    if style == "camel":
        return _camel(name)
    if style == "dotted":
        group = blueprint.domain.removeprefix("measured ").removeprefix("named ").replace(" ", "_")
        # evaluation harnesses show a dotted name with an underscore; both are met here
        return f"{group}{rng.choice(('.', '_'))}{name}"
    return name


def _summary(blueprint: Blueprint, parameters: list[Parameter], rng: random.Random) -> str:
    does = rng.choice(blueprint.does)
    verb, _, rest = does.partition(" ")
    ending = "es" if verb.endswith(("ch", "sh", "x", "s")) else "ies" if verb.endswith(("ry", "ly")) else "s"
    third = (verb[:-1] if ending == "ies" else verb) + ending
    choices = [does.capitalize(), f"{third.capitalize()} {rest}", f"This function {third} {rest}"]
    if blueprint.what:
        choices.append(f"Returns {blueprint.what}")
    if rest.startswith(("work out", "look up")) or verb in ("work", "look", "put", "remind", "draw"):
        choices = choices[:1]
    text = rng.choice(choices)
    needed = [p.words for p in parameters if not p.slot.optional]
    if needed and rng.random() < 0.4:
        link = rng.choice(("based on the", "for a given", "given the", "from the"))
        text += f" {link} {join(needed[:3], rng)}"
    if blueprint.what and rng.random() < 0.15:
        text += f". Useful wherever {blueprint.what} must be known"
    text += rng.choice((".", ".", ""))
    return f"{text} {rng.choice(_NOTES)}" if rng.random() < 0.25 else text


_NOTES = (
    "Note that the function is written in Python 3.", "The syntax is that of Python.", "This is a Python function.",
    "Available to all users.", "Note: values are case sensitive.",
)  # fmt: skip


def _described(slot: Slot, schema: Json, rng: random.Random) -> str:
    """A parameter's description: short or long, sometimes with an example (that a request does not mean)."""
    text = slot.description
    if not text.startswith(("W", "H")) and rng.random() < 0.5:  # not in front of "Where ...", "Highest ..."
        text = f"{rng.choice(('The', 'The', 'Specifies the'))} {text[0].lower()}{text[1:]}"
        text += rng.choice(("", " for the request", " to be used", " in question"))
    if schema == {"type": "string"} and rng.random() < 0.3:
        example = draw_value(slot.kind, schema, rng).json
        text += rng.choice((f", e.g. {example}", f" (e.g. '{example}')", f", for example '{example}'"))
    if schema["type"] == "number" and rng.random() < 0.25:
        text += rng.choice((". A float", ". This is a float", " (float)"))
    if slot.optional:
        text += rng.choice(_DEFAULTS if slot.default else _LEFT_OUT).format(slot.default)
    return text + rng.choice((".", ".", ""))


_DEFAULTS = (
    ". Default is {}", ". Default is '{}'", ". Defaults to {}", ". Optional, {} by default", " (default: {})",
    " (optional). Default is {}", ". Default to {} if not given", ". Optional", "",
)  # fmt: skip
_LEFT_OUT = (
    ". Optional", " (optional)", ". Default is none", ". If not given, all are considered",
    ". Optional, default is an empty value", ". Defaults to all when left out", "",
)  # fmt: skip


def _default(slot: Slot, schema: Json) -> object:
    """The default in the type of the schema; none for a required parameter."""
    kind = schema["type"]
    if not slot.default or not slot.optional:
        return None
    if kind == "boolean":
        return slot.default == "true"
    if kind in ("integer", "number"):
        return float(slot.default) if "." in slot.default else int(slot.default)
    return slot.default


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
