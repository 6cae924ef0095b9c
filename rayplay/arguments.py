"""An expected call and a made one -> which arguments are right, given or left out.

Types follow BFCL's checker: an integer may stand for a float but no float for an integer, however the schema spells it,
booleans never equal numbers, and null is right only where the schema takes null. An argument that the schema requires
must be given. Any other may be left out where the expectation says so or where its schema's default is right, and may
be given without being expected only with that default.

The rule `official` follows BFCL's checker here, too: neither defaults count nor arguments that the schema does not
name, types are looked at of an argument itself and of a list's items but no deeper, an expected null is right whatever
the schema says, and a text under a schema of another type (a variable's name) counts character by character.
"""

from fractions import Fraction
from typing import Any

from rayplay.records import DEFAULT_RULE, ExpectedCall, Json, Rule, ToolCall, ToolSpec
from rayplay.schema_types import floats_taken, named_types, nulls_taken
from rayplay.values import Leeway, pointer, same_value

_NO_TOOL = ToolSpec(name="", parameters={})
_OFFICIAL_TYPES = {"integer": int, "number": float, "string": str, "boolean": bool, "array": list, "object": dict}


def argument_score(
    expected: ExpectedCall, call: ToolCall, spec: ToolSpec | None = None, rule: Rule = DEFAULT_RULE
) -> float:
    """Share of right arguments, in [0, 1], over all that are expected, required or given; 1.0 where there are none."""
    return float(share_of(argument_verdicts(expected, call, spec, rule)))


def argument_verdicts(
    expected: ExpectedCall, call: ToolCall, spec: ToolSpec | None = None, rule: Rule = DEFAULT_RULE
) -> dict[str, bool]:
    """Each argument that is expected, required or given -> whether it is right, given or left out."""
    spec = spec or _NO_TOOL
    keys = expected_arguments(expected, spec) | dict.fromkeys(call.arguments)
    return {key: _is_right(key, expected, call, spec, rule) for key in keys}


def expected_arguments(expected: ExpectedCall, spec: ToolSpec | None = None) -> dict[str, None]:
    """Names of the arguments that a call is expected, or by its schema required, to decide upon; in order, as keys."""
    places = [place for place in (*expected.accepted, *expected.optional) if place.count("/") == 1]
    pointed = [place[1:].replace("~1", "/").replace("~0", "~") for place in places if place.startswith("/")]
    plain = [name for name in expected.optional if not name.startswith("/")]
    required = _required(spec or _NO_TOOL)
    return dict.fromkeys([*expected.arguments, *expected.alternatives, *pointed, *plain, *required])


def share_of(verdicts: dict[str, bool]) -> Fraction:
    """Share of right arguments; 1 where there are none."""
    return Fraction(sum(verdicts.values()), len(verdicts)) if verdicts else Fraction(1)


def _is_right(key: str, expected: ExpectedCall, call: ToolCall, spec: ToolSpec, rule: Rule) -> bool:
    """Whether one argument of a call is right, given or left out."""
    schema, known = _properties(spec).get(key), _properties(spec)
    others = expected.alternatives.get(key, ())
    may_be_absent = key in expected.optional or pointer(key) in expected.optional or None in others
    default = [schema["default"]] if rule != "official" and isinstance(schema, dict) and "default" in schema else []
    wanted = [expected.arguments[key]] if key in expected.arguments else []
    wanted += (value for value in others if value is not None)
    wanted += expected.accepted.get(pointer(key), ())
    if key not in call.arguments:
        default_is_right = any(same_value(value, d, rule) for value in wanted for d in default)
        return key not in _required(spec) and (may_be_absent or default_is_right)
    if rule == "official" and known and key not in known:
        return False
    if may_be_absent or not wanted:
        wanted += default
    if None in others and nulls_taken(schema, None, spec.parameters):
        wanted.append(None)
    given, leeway = call.arguments[key], Leeway(expected.accepted, expected.optional)
    well_typed = _officially_typed if rule == "official" else _well_typed
    return any(
        same_value(value, given, _rule_for(value, schema, rule), leeway, pointer(key))
        and well_typed(schema, value, given, spec.parameters)
        for value in wanted
    )


def _rule_for(wanted: Any, schema: Any, rule: Rule) -> Rule:
    types = named_types(schema)
    is_variable = rule == "official" and isinstance(wanted, str) and types and not {"string", "any"} & set(types)
    return "exact" if is_variable else rule


def _well_typed(schema: Any, wanted: Any, given: Any, root: Json) -> bool:
    """Whether a value is also written in the types that the schema takes.

    Where the expected value itself has other numbers than the schema asks for, its own types count.
    """
    if not nulls_taken(schema, given, root):
        return False
    return floats_taken(schema, given, root) or not floats_taken(schema, wanted, root)


def _officially_typed(schema: Any, wanted: Any, given: Any, root: Json) -> bool:
    """BFCL's look at types: those that the schema names, or the expected value's; of a list those of its items."""
    if isinstance(given, dict):
        return True
    if isinstance(given, list) and isinstance(wanted, list):
        first = [item for item in wanted if item != ""][:1]
        items = schema.get("items") if isinstance(schema, dict) else None
        return all(_is_of(item, items, first) for item in given)
    return _is_of(given, schema, [wanted]) or (type(given) is int and "number" in named_types(schema))


def _is_of(value: Any, schema: Any, like: list[Any]) -> bool:
    types = [_OFFICIAL_TYPES.get(name) for name in named_types(schema)]
    return not types or type(value) in [*types, *map(type, like)]


def _properties(spec: ToolSpec) -> dict[str, Any]:
    found = spec.parameters.get("properties")
    return found if isinstance(found, dict) else {}


def _required(spec: ToolSpec) -> list[str]:
    found = spec.parameters.get("required")
    return [key for key in found if isinstance(key, str)] if isinstance(found, list) else []
