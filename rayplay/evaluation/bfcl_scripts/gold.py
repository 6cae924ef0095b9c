"""BFCL's possible answers -> one right answer each, as tool calls.

For Java and JavaScript the official checker wants every argument as a string of source code, so values are written in
that language. Standard library only: it runs in BFCL's environment and in the tests of ours.
"""

import ast
import json
from typing import Any

Call = dict[str, Any]  # {"name": str, "arguments": dict}


def gold_calls(ground_truth: list[dict[str, Any]], functions: list[dict[str, Any]], language: str) -> list[Call]:
    """Single-turn ground truth -> calls.

    Args:
        ground_truth: One {function: {argument: [accepted values]}} a call; "" among the values means: may be left out.
        functions: The case's function descriptions as BFCL ships them; an argument that may be left out and is not
            among a function's properties is, since the checker refuses it.
        language: "python", "java" or "javascript".
    """
    described = {function["name"]: function["parameters"] for function in functions}
    calls = []
    for entry in ground_truth:
        ((name, accepted),) = entry.items()
        schema = described[name]
        arguments = {}
        for key, values in accepted.items():
            kept = [value for value in values if value != ""]
            required = key in schema.get("required", [])
            known = key in schema["properties"]
            if not required and "" in values and (not kept or values[0] == "" or not known):
                continue
            value = kept[0] if kept else ""
            arguments[key] = _argument(value, schema["properties"].get(key, {}), language)
        calls.append({"name": tool_name(name), "arguments": arguments})
    return calls


def gold_turn(calls: list[str], functions: list[dict[str, Any]]) -> list[Call]:
    """One turn of a multi-turn ground truth, calls in Python's syntax -> calls with named arguments.

    Raises:
        ValueError: A call is no plain call with literal arguments.
    """
    order = {function["name"]: list(function["parameters"]["properties"]) for function in functions}
    found = []
    for text in calls:
        node = ast.parse(text.strip(), mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise ValueError(f"{text!r} is no plain call")
        arguments = {key: ast.literal_eval(value) for key, value in zip(order[node.func.id], node.args, strict=False)}
        arguments |= {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg}
        found.append({"name": tool_name(node.func.id), "arguments": arguments})
    return found


def tool_name(name: str) -> str:
    """The name that the official handler shows to a model: no dots."""
    return name.replace(".", "_")


def _argument(value: Any, schema: dict[str, Any], language: str) -> Any:
    value = _first_of_each(value)
    if language == "java":
        return java_source(value, schema.get("type", "any"), schema.get("items", {}).get("type", "any"))
    if language == "javascript":
        return javascript_source(value, schema.get("type", "any"), schema.get("items", {}).get("type", "any"))
    return value


def _first_of_each(value: Any) -> Any:
    """Inside an object every field again lists its accepted values; take the first, leave out what may be absent."""
    if isinstance(value, list):
        return [_first_of_each(item) for item in value]
    if not isinstance(value, dict):
        return value
    picked = {}
    for key, accepted in value.items():
        if not isinstance(accepted, list):
            picked[key] = accepted
        elif kept := [option for option in accepted if option != ""]:
            picked[key] = kept[0]
        elif not accepted:
            picked[key] = []
    return picked


def java_source(value: Any, kind: str, inner: str = "any") -> str:
    """A value as Java source of type `kind`; names and expressions stand in the answers as plain strings."""
    if kind == "ArrayList" and isinstance(value, list):
        return f"new ArrayList<>(Arrays.asList({', '.join(_java_item(item, inner) for item in value)}))"
    if kind == "Array" and isinstance(value, list):
        return f"new {inner}[]{{{', '.join(java_source(item, inner) for item in value)}}}"
    if kind == "HashMap" and isinstance(value, dict):
        puts = " ".join(f'put("{key}", {_java_literal(item)});' for key, item in value.items())
        return f"new HashMap<String, Object>() {{{{ {puts} }}}}"
    if isinstance(value, bool):
        return "true" if value else "false"
    suffix = {"long": "L", "float": "f"}.get(kind, "") if isinstance(value, int | float) else ""
    return f"{value}{suffix}"


def javascript_source(value: Any, kind: str, inner: str = "any") -> str:
    """A value as JavaScript source of type `kind`."""
    if kind == "Bigint" and isinstance(value, int):
        return f"{value}n"
    if isinstance(value, str):
        return value
    return json.dumps(value)


def _java_item(item: Any, inner: str) -> str:
    return f'"{item}"' if inner == "String" else _java_literal(item) if inner == "any" else java_source(item, inner)


def _java_literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else java_source(value, "any")
