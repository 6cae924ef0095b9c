"""Type words and loose parameter descriptions of public data sets -> JSON schema, and values that fit it.

Data sets write types as Python (`List[int]`, `str, optional`), as Java (`ArrayList`), as RapidAPI words (`STRING`,
`NUMBER`), or leave them out. Whatever is written, what comes out is a valid draft 2020-12 schema that uses only the
keywords of KEEP, so that a validator never fails on the schema itself. An unknown word becomes a string.
"""

import ast
import json
import re
from typing import Any

from rayplay.records import Json

_TEXTS = ("str", "string", "char", "character", "text", "date", "time", "datetime", "enum", "url", "uuid")
WORDS: dict[str, str] = {
    **dict.fromkeys(_TEXTS, "string"),
    **dict.fromkeys(("int", "integer", "long", "short", "byte", "bigint"), "integer"),
    **dict.fromkeys(("float", "number", "double", "decimal", "num", "numeric", "complex"), "number"),
    **dict.fromkeys(("bool", "boolean"), "boolean"),
    **dict.fromkeys(("list", "array", "tuple", "set", "sequence", "iterable", "arraylist", "frozenset"), "array"),
    **dict.fromkeys(("dict", "object", "map", "mapping", "hashmap", "json", "dictionary", "struct"), "object"),
    **dict.fromkeys(("none", "null", "nonetype"), "null"),
    **dict.fromkeys(("any", "unknown", ""), ""),
}
KEEP = ("description", "default", "format", "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength")
_NUMBERS = ("minimum", "maximum")
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength")
_OPTIONAL = re.compile(r"[,(]?\s*\boptional\b\s*\)?", re.IGNORECASE)
_DEFAULT = re.compile(r",?\s*(?:default|defaults to)\b.*$", re.IGNORECASE)
MAX_DEPTH = 12
_LONGEST_LITERAL = 100_000
_CONSTANTS = {"true": True, "false": False, "null": None}
_INTEGER = re.compile(r"\s*[+-]?\d{1,18}(\.0+)?\s*")
_NUMBER = re.compile(r"\s*[+-]?\d{1,18}(\.\d+)?([eE][+-]?\d{1,2})?\s*")


def schema_of_type(text: str) -> tuple[Json, bool]:
    """A written type -> (its schema, whether it says "optional"). Words that mean nothing here become strings."""
    optional = bool(_OPTIONAL.search(text)) or bool(_DEFAULT.search(text))
    bare = _DEFAULT.sub("", _OPTIONAL.sub(" ", text)).strip(" ,.") if not text.startswith("Optional[") else text
    if bare.lower() in WORDS:
        return _plain(WORDS[bare.lower()]), optional
    try:
        tree = ast.parse(bare.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return _plain(_first_word(bare)), optional
    return _schema_of_node(tree, 0), optional or bare.startswith("Optional[")


def schema_of_parameters(raw: Any, required: Any = None) -> Json:
    """Parameters as a data set writes them -> an object schema.

    Args:
        raw: A JSON schema of an object, a mapping name -> description or type, or a list of {"name", "type", ...}.
        required: Names that are required, where they stand beside `raw`.
    """
    if isinstance(raw, list):
        raw = {str(item.get("name")): item for item in raw if isinstance(item, dict) and item.get("name")}
    if not isinstance(raw, dict):
        raw = {}
    inner = raw.get("properties")
    is_schema = isinstance(inner, dict) and (not isinstance(raw.get("type"), dict))
    properties = inner if is_schema else {k: v for k, v in raw.items() if not (k == "type" and v in ("object", "dict"))}
    if required is None and is_schema:
        required = raw.get("required")
    found, marked = {}, []
    for name, value in properties.items():
        if not is_schema and name in ("required", "optional") and isinstance(value, list):
            required = value if name == "required" and required is None else required
            continue
        found[str(name)], optional = _schema_of_value(value, 1)
        if isinstance(value, dict) and value.get("required") is True and not optional:
            marked.append(str(name))
    names = required if isinstance(required, list | tuple) else marked
    kept = [n for n in dict.fromkeys(n for n in names if isinstance(n, str)) if n in found]
    schema: Json = {"type": "object", "properties": found}
    if is_schema and raw.get("additionalProperties"):
        schema["additionalProperties"] = True
    if kept:
        schema["required"] = kept
    return schema


def normal_schema(raw: Any, depth: int = 0) -> Json:
    """Any loose schema -> a valid one; what is too deep or means nothing accepts anything."""
    return _schema_of_value(raw, depth)[0]


def fit(value: Any, schema: Json) -> Any:
    """The value as its schema wants it, where only the spelling differs: "63" -> 63, 5.0 -> 5, "true" -> True.

    A value that cannot be read so is returned as it is; the caller's validator then refuses it.
    """
    wanted = schema.get("type")
    if isinstance(wanted, list):
        return value
    if wanted == "object" and isinstance(value, dict):
        known = schema.get("properties", {})
        return {k: fit(v, known[k]) if k in known else v for k, v in value.items()}
    if wanted == "array" and isinstance(value, list):
        return [fit(v, schema.get("items", {})) for v in value]
    if isinstance(value, str) and wanted in ("array", "object"):
        read = literal(value)
        return fit(read, schema) if isinstance(read, list if wanted == "array" else dict) else value
    return _fit_scalar(value, wanted)


def _fit_scalar(value: Any, wanted: Any) -> Any:
    if wanted == "integer":
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            return int(value.partition(".")[0])
    if wanted == "number" and isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value) if set(value) & set(".eE") else int(value)
    if wanted == "boolean" and isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if wanted == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


def _schema_of_value(raw: Any, depth: int) -> tuple[Json, bool]:
    """A parameter's description in any of its shapes -> (schema, optional)."""
    if depth > MAX_DEPTH:
        return {}, False
    if isinstance(raw, str):
        # a bare string beside a name is a type where it reads as one, else a description
        known = raw.strip().lower() in WORDS or re.fullmatch(r"[A-Za-z]+\[.*\]|[a-z]+\s*,\s*optional", raw.strip())
        return schema_of_type(raw) if known else ({"type": "string", "description": raw}, False)
    if not isinstance(raw, dict):
        return {}, False
    schema, optional = _schema_of_type_field(raw)
    for key in KEEP:
        if key in raw and _fits_keyword(key, raw[key]):
            schema[key] = raw[key]
    choices = raw.get("enum")
    if isinstance(choices, list) and choices:
        schema["enum"] = _distinct(choices)
    if schema.get("type") == "array" or ("items" in raw and "type" not in schema):
        schema["type"] = "array"
        schema["items"] = normal_schema(raw["items"], depth + 1) if "items" in raw else schema.get("items", {})
    if isinstance(raw.get("properties"), dict) and schema.get("type") in (None, "object"):
        schema["type"] = "object"
        schema["properties"] = {str(k): normal_schema(v, depth + 1) for k, v in raw["properties"].items()}
        names = raw["required"] if isinstance(raw.get("required"), list) else []
        schema["required"] = [n for n in dict.fromkeys(map(str, names)) if n in schema["properties"]]
        if not schema["required"]:
            del schema["required"]
    for key in ("anyOf", "oneOf"):
        if isinstance(raw.get(key), list) and raw[key]:
            schema["anyOf"] = [normal_schema(v, depth + 1) for v in raw[key]]
            schema.pop("type", None)
    return schema, optional


def _schema_of_type_field(raw: Json) -> tuple[Json, bool]:
    written = raw.get("type")
    if isinstance(written, list):
        words = [WORDS.get(str(w).strip().lower(), "string") for w in written]
        return {"type": _distinct([w for w in words if w]) or ["string"]}, "null" in words
    if isinstance(written, str):
        return schema_of_type(written)
    return {}, False


def _schema_of_node(node: ast.expr, depth: int) -> Json:
    """`List[Dict[str, int]]` as a syntax tree -> schema."""
    if depth > MAX_DEPTH:
        return {}
    if isinstance(node, ast.Constant):
        return {"type": "null"} if node.value is None else _plain(WORDS.get(str(node.value).lower(), "string"))
    if isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        return _plain(WORDS.get(name.lower(), "string"))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([_schema_of_node(node.left, depth + 1), _schema_of_node(node.right, depth + 1)])
    if not isinstance(node, ast.Subscript):
        return {"type": "string"}
    head = (node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")).lower()
    inner = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if head == "literal":
        values = [n.value for n in inner if isinstance(n, ast.Constant)]
        return {"enum": _distinct(values)} if values else {}
    parts = [_schema_of_node(n, depth + 1) for n in inner if not (isinstance(n, ast.Constant) and n.value is ...)]
    if head in ("optional", "union"):
        return _union([p for p in parts if p.get("type") != "null"])
    if WORDS.get(head) == "array":
        return {"type": "array", "items": _union(parts)}
    if WORDS.get(head) == "object":
        return {"type": "object"}
    return {"type": "string"}


def _union(parts: list[Json]) -> Json:
    distinct = _distinct(parts)
    if len(distinct) == 1:
        return distinct[0]
    if all(set(p) == {"type"} and isinstance(p["type"], str) for p in distinct) and distinct:
        return {"type": _distinct([p["type"] for p in distinct])}
    return {"anyOf": distinct} if distinct else {}


def _plain(word: str) -> Json:
    if word == "array":
        return {"type": "array", "items": {}}
    return {"type": word} if word else {}


def _first_word(text: str) -> str:
    """`list of strings` -> array: the first word that is a type."""
    words = (w for w in re.findall(r"[a-z]+", text.lower()) if w not in ("any", "date", "time"))
    return next((WORDS[w] for w in words if w in WORDS), "string")


def _fits_keyword(key: str, value: Any) -> bool:
    if key in _NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if key in _COUNTS:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, str) if key in ("description", "format") else True


def _distinct(values: list[Any]) -> list[Any]:
    """Without repeats, in order; 1, 1.0 and True are different here."""
    return list({json.dumps(v, sort_keys=True, default=str): v for v in values}.values())


def literal(text: str) -> Any:
    """JSON, or a Python literal in which true / false / null are understood -> JSON value; None where it is neither."""
    try:
        return json.loads(text, strict=False, parse_constant=_refuse)
    except (ValueError, RecursionError):
        pass
    if len(text) > _LONGEST_LITERAL:
        return None
    try:
        tree = _JsonConstants().visit(ast.parse(text.strip(), mode="eval"))
        # tuples become lists; sets, bytes and complex numbers are no JSON
        return json.loads(json.dumps(ast.literal_eval(tree), allow_nan=False))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


class _JsonConstants(ast.NodeTransformer):
    """Names that JSON knows as constants; a string that holds such a word is not touched."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_CONSTANTS[node.id]) if node.id in _CONSTANTS else node


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")
