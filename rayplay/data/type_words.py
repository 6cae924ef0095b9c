"""Type words of public data sets -> JSON schema.

Data sets write types as Python (`List[int]`, `str, optional`), as Java (`ArrayList`), as RapidAPI words (`STRING`,
`NUMBER`), or leave them out. An unknown word becomes a string.
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
_OPTIONAL = re.compile(r"[,(]?\s*\boptional\b\s*\)?", re.IGNORECASE)
_DEFAULT = re.compile(r",?\s*(?:default|defaults to)\b.*$", re.IGNORECASE)
MAX_DEPTH = 12  # of brackets in a written type


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
        return {"enum": distinct(values)} if values else {}
    parts = [_schema_of_node(n, depth + 1) for n in inner if not (isinstance(n, ast.Constant) and n.value is ...)]
    if head in ("optional", "union"):
        return _union([p for p in parts if p.get("type") != "null"])
    if WORDS.get(head) == "array":
        return {"type": "array", "items": _union(parts)}
    if WORDS.get(head) == "object":
        return {"type": "object"}
    return {"type": "string"}


def _union(parts: list[Json]) -> Json:
    members = distinct(parts)
    if len(members) == 1:
        return members[0]
    if all(set(p) == {"type"} and isinstance(p["type"], str) for p in members) and members:
        return {"type": distinct([p["type"] for p in members])}
    return {"anyOf": members} if members else {}


def _plain(word: str) -> Json:
    if word == "array":
        return {"type": "array", "items": {}}
    return {"type": word} if word else {}


def _first_word(text: str) -> str:
    """`list of strings` -> array: the first word that is a type."""
    words = (w for w in re.findall(r"[a-z]+", text.lower()) if w not in ("any", "date", "time"))
    return next((WORDS[w] for w in words if w in WORDS), "string")


def distinct(values: list[Any]) -> list[Any]:
    """Without repeats, in order; 1, 1.0 and True are different here."""
    return list({json.dumps(v, sort_keys=True, default=str): v for v in values}.values())
