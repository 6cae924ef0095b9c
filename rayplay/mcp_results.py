"""What an MCP server answered to a call, as it wrote it -> text for the model."""

import json
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from typing import Any

from rayplay.records import Json

BLOCKS_MAX = 10_000


def read_result(result: Json, most_chars: int) -> tuple[bool, str]:
    """(whether the server calls it an error, the text): the blocks in order, one below the other.

    What is no text becomes a note of what and how large it is; a block of no known form becomes a note too, and spoils
    nothing else. Structured content is told where no block has text. Reading ends at `most_chars`, which is more than
    will be shown.
    """
    if result.get("resultType") not in (None, "complete"):
        return True, "the server asks for more input, which nobody here can give"
    content = result.get("content")
    parts, length = [], 0
    for text in block_texts(content if isinstance(content, list) else [content] if content else []):
        parts.append(text)
        length += len(text) + 1
        if length > most_chars:
            break
    if not parts and result.get("structuredContent") is not None:
        parts = [json.dumps(result["structuredContent"], ensure_ascii=False)]
    return result.get("isError") is True, "\n".join(parts)


def block_texts(blocks: list[Any]) -> Iterator[str]:
    """The texts of the blocks that have one."""
    for number, block in enumerate(blocks):
        if number == BLOCKS_MAX:
            yield f"[{len(blocks) - BLOCKS_MAX} more blocks, not shown]"
            return
        if text := block_text(block):
            yield text


def block_text(block: Any) -> str:
    """One content block as text."""
    if isinstance(block, str):
        return block
    if not isinstance(block, dict):
        return f"[{type(block).__name__}, not shown]"
    kind = block.get("type")
    if kind == "text" and isinstance(block.get("text"), str):
        return block["text"]
    if kind in ("image", "audio"):
        verb = "shown" if kind == "image" else "played"
        return f"[{kind}: {block.get('mimeType')}, {size_of(block.get('data'))} bytes, not {verb}]"
    if kind == "resource_link":
        return f"[resource: {block.get('name')}, {block.get('uri')}]"
    inner = block.get("resource")
    if kind == "resource" and isinstance(inner, dict):
        if isinstance(inner.get("text"), str):
            return inner["text"]
        return f"[file: {inner.get('uri')}, {size_of(inner.get('blob'))} bytes, not shown]"
    return f"[{str(kind)[:40]}, not shown]"


def size_of(data: Any) -> int:
    """Bytes of base64 text; 0 where it is none."""
    try:
        return len(b64decode(data, validate=True)) if isinstance(data, str) else 0
    except (Base64Error, ValueError):
        return 0
