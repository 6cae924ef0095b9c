"""What an MCP server answered -> text for the model."""

import json
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Any

from mcp import types


def as_text(result: types.CallToolResult) -> str:
    """The result's blocks in order, one below the other; what is no text becomes a note of what and how large it is."""
    parts = [block_text(block) for block in result.content]
    if not any(parts) and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(part for part in parts if part)


def block_text(block: Any) -> str:
    """One content block as text."""
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.ImageContent):
        return f"[image: {block.mime_type}, {size_of(block.data)} bytes, not shown]"
    if isinstance(block, types.AudioContent):
        return f"[audio: {block.mime_type}, {size_of(block.data)} bytes, not played]"
    if isinstance(block, types.ResourceLink):
        return f"[resource: {block.name}, {block.uri}]"
    if isinstance(block, types.EmbeddedResource):
        if isinstance(block.resource, types.TextResourceContents):
            return block.resource.text
        return f"[file: {block.resource.uri}, {size_of(block.resource.blob)} bytes, not shown]"
    return f"[{type(block).__name__}, not shown]"


def size_of(data: str) -> int:
    """Bytes of base64 text; 0 where it is none."""
    try:
        return len(b64decode(data, validate=True))
    except (Base64Error, ValueError):
        return 0
