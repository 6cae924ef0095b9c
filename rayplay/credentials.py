"""Secrets: a recipe gives the names of environment variables, and what they hold is never written.

`redact` stands before every write (files, terminal, messages): it puts the variable's name where its value would be.
"""

import functools
import html
import json
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

NAMES = "RAYPLAY_SECRET_NAMES"  # variables whose values are secret, for the processes that we start
SHORTEST = 6  # characters of a value that is hidden: shorter ones stand in any text by chance


def keep_secret(names: Iterable[str]) -> None:
    """From now on `redact` hides what these environment variables hold, here and in processes that are started."""
    known = set(_names()) | set(names)
    if known:
        os.environ[NAMES] = ",".join(sorted(known))


def redact(text: str) -> str:
    """The text with secrets' names in place of their values, as they are and as JSON, HTML and URLs write them."""
    for name, value in _hidden():
        for form in _forms(value):
            if form in text:
                text = text.replace(form, f"[${name}]")
    return text


def redact_bytes(content: bytes) -> bytes:
    """`redact` for a text file's content."""
    for name, value in _hidden():
        for form in _forms(value):
            content = content.replace(form.encode(errors="surrogateescape"), f"[${name}]".encode())
    return content


def _names() -> list[str]:
    return [name for name in os.environ.get(NAMES, "").split(",") if name]


def _hidden() -> list[tuple[str, str]]:
    """(name, value), long values first. A path that exists is none: HOME and PATH stand in any message."""
    found = [(name, value) for name in _names() if len(value := os.environ.get(name, "")) >= SHORTEST]
    return sorted(((n, v) for n, v in found if not _is_path(v)), key=lambda entry: -len(entry[1]))


def _is_path(value: str) -> bool:
    return value.startswith("/") and all(Path(part).exists() for part in value.split(":") if part)


@functools.lru_cache(maxsize=256)
def _forms(value: str) -> tuple[str, ...]:
    forms = [value, value.strip(), json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]]
    forms += [html.escape(value), quote(value, safe=""), repr(value)[1:-1]]
    return tuple(dict.fromkeys(form for form in forms if len(form) >= SHORTEST))
