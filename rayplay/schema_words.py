"""What a validator found -> one sentence for the model: where, what stands there, what was expected."""

from typing import Any

import jsonschema_rs

SHOWN = 120  # characters of a value
LONGEST = 300  # characters of a sentence
REQUIRED, NOT_ALLOWED = " is a required property", " is not allowed here"  # how sentences about keys end
ALTERNATIVES = 4  # of anyOf and oneOf that are told


def in_words(error: jsonschema_rs.ValidationError) -> str:
    """`path: what is wrong`, at most LONGEST characters behind the path."""
    where = ".".join(str(part) for part in error.instance_path)
    return f"{where + ': ' if where else ''}{sentence(error)[:LONGEST]}"


def sentence(error: jsonschema_rs.ValidationError) -> str:
    """What is wrong at the place of the error."""
    kind, value = error.kind, shown(error.instance)
    match kind:
        case jsonschema_rs.ValidationErrorKind.Required():
            return f"{kind.property!r}{REQUIRED}"
        case jsonschema_rs.ValidationErrorKind.Type():
            return f"{value} is not of type {', '.join(map(repr, kind.types))}"
        case jsonschema_rs.ValidationErrorKind.Enum():
            return f"{value} is not one of {shown(kind.options, LONGEST - SHOWN)}"
        case jsonschema_rs.ValidationErrorKind.Constant():
            return f"{value} is not {shown(kind.expected_value)}"
        case jsonschema_rs.ValidationErrorKind.Pattern():
            return f"{value} does not match {shown(kind.pattern)}"
        case jsonschema_rs.ValidationErrorKind.MultipleOf():
            return f"{value} is not a multiple of {kind.multiple_of}"
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties():
            return f"unknown key {', '.join(map(repr, kind.unexpected[:ALTERNATIVES]))}"
        case jsonschema_rs.ValidationErrorKind.AnyOf() | jsonschema_rs.ValidationErrorKind.OneOfNotValid():
            return f"{value} is not valid under any of the given schemas{alternatives(error)}"
        case jsonschema_rs.ValidationErrorKind.FalseSchema():
            return f"{value}{NOT_ALLOWED}"
        case jsonschema_rs.ValidationErrorKind.BacktrackLimitExceeded():
            return f"{value} does not match its pattern within the bounds of a check"
    message = error.message
    return message if len(message) <= LONGEST else f"{value} does not fit {kind.name!r} {getattr(kind, 'limit', '')}"


def alternatives(error: jsonschema_rs.ValidationError) -> str:
    """What each alternative misses; of those that miss a type alone, the types."""
    firsts = [branch[0] for branch in error.kind.context if branch]
    here = len(error.instance_path)
    kinds = [f.kind for f in firsts if len(f.instance_path) == here]
    if (
        firsts
        and len(kinds) == len(firsts)
        and all(isinstance(k, jsonschema_rs.ValidationErrorKind.Type) for k in kinds)
    ):
        return f" (expected {', '.join(dict.fromkeys(t for k in kinds for t in k.types))})"
    told = [relative(f, here) for f in firsts[:ALTERNATIVES]]
    return f" ({'; or '.join(dict.fromkeys(told))})" if told else ""


def relative(error: jsonschema_rs.ValidationError, here: int) -> str:
    """An alternative's first error, with its path from the place where the alternatives stand."""
    where = ".".join(str(part) for part in error.instance_path[here:])
    inner = sentence(error) if not hasattr(error.kind, "context") else "no alternative fits"
    return f"{where + ': ' if where else ''}{inner[:SHOWN]}"


def shown(value: Any, limit: int = SHOWN) -> str:
    """A value as Python writes it, cut."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
