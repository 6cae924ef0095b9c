"""A parameter's type -> what makes its whole floats integers: JSON schema takes 2.0 for an integer, Python does not.

Standard library only: it is imported by the process that every child is forked from.
"""

import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

Change = Callable[[Any], Any]


def whole_of(hint: Any) -> Change | None:
    """What turns a JSON value that fits the schema of `hint` into a value of `hint`; None where nothing would change.

    Seen through: unions, lists, dictionaries, literals and annotated types, however nested. A float stays one
    where the type takes floats.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is int:
        return as_whole
    if origin is Annotated:
        return whole_of(arguments[0])
    if origin is Literal:
        return one_of(arguments) if any(type(a) is int for a in arguments) else None
    if origin in (Union, types.UnionType):
        return any_of(arguments)
    if origin is dict and len(arguments) == 2:
        inner = whole_of(arguments[1])
        return inner and (lambda value: {k: inner(v) for k, v in value.items()} if isinstance(value, dict) else value)
    if origin is list and arguments:
        inner = whole_of(arguments[0])
        return inner and (lambda value: [inner(v) for v in value] if isinstance(value, list) else value)
    return None


def as_whole(value: Any) -> Any:
    """A whole float as an integer; anything else as it is."""
    return int(value) if type(value) is float and value.is_integer() else value


def one_of(choices: tuple[Any, ...]) -> Change:
    """A whole float that equals an integer of the choices becomes it."""
    integers = [choice for choice in choices if type(choice) is int]
    return lambda value: int(value) if type(value) is float and value in integers else value


def any_of(members: tuple[Any, ...]) -> Change | None:
    """The changes of all members of a union, in turn; a float stays one where a member takes it."""
    if any(takes_float(member) for member in members):
        members = tuple(m for m in members if get_origin(m) not in (None, Literal, Annotated))
    changes = [change for change in map(whole_of, members) if change is not None]

    def change_all(value: Any) -> Any:
        for change in changes:
            value = change(value)
        return value

    return change_all if changes else None


def takes_float(hint: Any) -> bool:
    """Whether a plain float is a value of this type."""
    return hint in (float, Any) or (get_origin(hint) is Annotated and takes_float(get_args(hint)[0]))
