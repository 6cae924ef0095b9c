"""Secrets: a recipe gives the names of environment variables, and what they hold is never written.

`literal_secrets` finds what a recipe must not hold, `redact` stands before every write (files, terminal, messages) and
puts a variable's name where its value would be, `with_secrets` fills values in where a program needs them.
"""

import functools
import html
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from rayplay.errors import RecipeError
from rayplay.records import Json

NAMES = "RAYPLAY_SECRET_NAMES"  # variables whose values are secret, for the processes that we start
SHORTEST = 6  # characters of a named variable's value that is hidden: shorter ones stand in any text by chance
SHORTEST_UNNAMED = 8  # of a variable that nobody named, whose name sounds like a secret
PLACE = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}")  # where a variable's value goes: `${NAME}`
FILLED = "~"  # stands for a place while a text is looked at
WEB = ("http", "https", "ws", "wss")
VARIABLE = r"^[A-Z_][A-Z0-9_]*$"

_NAME_WORDS = {
    *("key", "apikey", "token", "secret", "secrets", "password", "passwd", "passphrase", "pwd", "credential"),
    *("credentials", "auth", "authorization", "bearer", "cookie", "sig", "signature"),
}
_NOT_SECRET = re.compile(r"(?i)(^|_)(eos|bos|pad|unk|sep|cls|mask|stop|special|added|image|public|primary|foreign)_")
_LOOKS = re.compile(
    r"(?<![A-Za-z0-9])(?:sk|rk|pk)[-_](?=[\w-]*[A-Z0-9])[\w-]{8,}"
    r"|(?<![A-Za-z0-9])(?:hf|gh[a-z]|glpat|github_pat|npm|pypi|dckr_pat|shpat|xox[a-z]|ya29|gsk|nvapi|r8)[-_.]"
    r"(?=[\w-]*[A-Z0-9])[\w-]{8,}"
    r"|(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{12,}|(?<![A-Za-z0-9])AIza[\w-]{20,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|(?i:\b(?:bearer|basic|token)\s+(?=\S*[0-9A-Z])[\w+/=.~-]{16,})"
)
_URL = re.compile(r"(?i)\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+")
_OPTION = re.compile(r"^-{0,2}([A-Za-z][\w.-]*)\s*[=:]\s*(.+)$", re.DOTALL)


class Found(NamedTuple):
    """A secret that stands literally in a recipe: where, and what to write instead. Never the value."""

    where: str
    instead: str


def literal_secrets(content: Any, where: tuple[str, ...] = ()) -> Iterator[Found]:
    """Secrets in a recipe's values, by the names of their keys and by their look."""
    if isinstance(content, dict):
        for key, value in content.items():
            here = (*where, str(key))
            if _is_literal(str(key), value):
                yield Found(".".join(here), _advice(here))
            elif key == "env" and "mcp" in where and isinstance(value, dict):
                yield from _literal_variables(value, here)
            else:
                yield from literal_secrets(value, here)
    elif isinstance(content, list | tuple):
        yield from _literal_in_list(list(content), where)
    elif isinstance(content, str) and _holds_secret(content):
        yield Found(".".join(where), _advice(where))


def refuse_literal_secrets(content: Any) -> None:
    """Raises ValueError, naming the key and what to write instead, where a recipe holds a secret literally."""
    found = next(literal_secrets(content), None)
    if found:
        raise ValueError(f"{found.where} holds a secret, which would be written into the run folder; {found.instead}")


def without_secrets(content: Any, where: tuple[str, ...] = ()) -> Any:
    """The same JSON value with `[secret removed]` in place of every literal secret: for old run folders."""
    spots = {found.where for found in literal_secrets(content)}

    def copied(value: Any, path: tuple[str, ...]) -> Any:
        if ".".join(path) in spots:
            return "[secret removed]"
        if isinstance(value, dict):
            return {key: copied(inner, (*path, str(key))) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [copied(inner, (*path, str(n))) for n, inner in enumerate(value)]
        return value

    return copied(content, where)


def secret_names(content: Any, key: str = "") -> set[str]:
    """The environment variables that a recipe names: under keys that end in `_env`, in MCP's `env`, as `${NAME}`."""
    if isinstance(content, str):
        return {content} if key.endswith("_env") and re.match(VARIABLE, content) else set(PLACE.findall(content))
    if isinstance(content, dict) and key != "env":
        return set().union(*(secret_names(value, str(name)) for name, value in content.items()))
    inner = content.values() if isinstance(content, dict) else content if isinstance(content, list | tuple) else ()
    return set().union(*(secret_names(value, "mcp_env" if key == "env" else "") for value in inner))


def with_secrets(server: Json) -> Json:
    """An MCP server's settings with values in place of names, for the process that starts it.

    Raises:
        RecipeError: A variable is not set there.
    """
    keep_secret(secret_names({"tools": [{"mcp": server}]}))
    env = server.get("env") or {}
    pairs = env if isinstance(env, dict) else {name: name for name in env}
    return {
        **server,
        "env": {name: value_of(source) for name, source in pairs.items()},
        "args": tuple(_filled(arg) for arg in server.get("args", ())),
        "url": _filled(server["url"], in_url=True) if server.get("url") else None,
    }


def value_of(name: str) -> str:
    """What an environment variable holds.

    Raises:
        RecipeError: It is not set.
    """
    if name not in os.environ:
        raise RecipeError(f"the environment variable {name}, which the recipe names, is not set; export it first")
    return os.environ[name]


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
    named = set(_names())
    found = [
        (name, value)
        for name, value in os.environ.items()
        if len(value) >= SHORTEST
        and (name in named or (len(value) >= SHORTEST_UNNAMED and _sounds_secret(name)))
        and not _is_path(value)
    ]
    return sorted(found, key=lambda entry: -len(entry[1]))


def _is_path(value: str) -> bool:
    return value.startswith("/") and all(Path(part).exists() for part in value.split(":") if part)


@functools.lru_cache(maxsize=256)
def _forms(value: str) -> tuple[str, ...]:
    forms = [value, value.strip(), json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]]
    forms += [html.escape(value), quote(value, safe=""), repr(value)[1:-1]]
    return tuple(dict.fromkeys(form for form in forms if len(form) >= SHORTEST))


def _filled(text: str, *, in_url: bool = False) -> str:
    return PLACE.sub(lambda m: quote(value_of(m[1]), safe="") if in_url else value_of(m[1]), text)


def _is_variable(value: Any) -> bool:
    return isinstance(value, str) and bool(re.match(VARIABLE, value)) and not _holds_secret(value)


def _is_literal(key: str, value: Any) -> bool:
    """Whether a value stands where a secret, or the name of its variable, belongs."""
    if key.endswith("_env") and isinstance(value, str):
        return bool(value) and not _is_variable(value)
    values = value if isinstance(value, list | tuple) else [value]
    return _sounds_secret(key) and any(isinstance(v, str) and _left(v) for v in values)


@functools.lru_cache(maxsize=4096)
def _sounds_secret(name: str) -> bool:
    """Whether a key, an option or a variable is called like a secret: `api_key`, `x-auth-token`, `githubToken`."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).replace("-", "_").replace(".", "_").lower()
    return words.rpartition("_")[2] in _NAME_WORDS and not _NOT_SECRET.search(words)


def _left(value: str) -> str:
    """What remains of a value besides places for variables and the scheme of a header."""
    return re.sub(r"(?i)^\s*(bearer|basic|token)\s*$", "", PLACE.sub("", value)).strip()


def _holds_secret(text: str) -> bool:
    """Whether any text holds a secret by its look: a known prefix, or a URL with a password or key in it."""
    text = PLACE.sub(FILLED, text)
    return bool(_LOOKS.search(text)) or any(_url_secret(url) for url in _URL.findall(text))


def _url_secret(url: str) -> bool:
    try:
        parts = urlsplit(url)
        userinfo = parts.netloc.rpartition("@")[0]
    except ValueError:
        return False
    user, _, password = userinfo.partition(":")
    if password.strip(FILLED) or (user.strip(FILLED) and not password and parts.scheme.lower() in WEB):
        return True
    fields = parse_qsl(parts.query, keep_blank_values=False) + parse_qsl(parts.fragment, keep_blank_values=False)
    fields = [(name, value) for name, value in fields if value.strip(FILLED)]
    if any(_sounds_secret(name) or _random(value) or _LOOKS.search(value) for name, value in fields):
        return True
    segments = [unquote(s) for s in parts.path.split("/")] + ([] if "=" in parts.query else [parts.query])
    return any(re.fullmatch(r"[A-Za-z0-9_]{20,}", s) and _random(s) for s in segments)


def _random(text: str) -> bool:
    """Whether a text looks drawn by chance: long, letters and digits, no character much more frequent than others."""
    if len(text) < 20 or not re.fullmatch(r"[\w+/=.~-]+", text) or not re.search(r"\d", text):
        return False
    if not re.search(r"[A-Za-z]", text):
        return False
    counts = Counter(text)
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts.values()) >= 3.3


def _literal_variables(env: dict[str, Any], where: tuple[str, ...]) -> Iterator[Found]:
    """An MCP server's `env`: each value must be the name of a variable, not what it holds."""
    for name, source in env.items():
        if not _is_variable(source):
            yield Found(".".join((*where, name)), _advice(where))


def _literal_in_list(values: list[Any], where: tuple[str, ...]) -> Iterator[Found]:
    """Values of a list; of a command's arguments also `--token VALUE`, `--token=VALUE` and headers."""
    is_command = where[-1:] == ("args",)
    for number, value in enumerate(values):
        here = (*where, str(number))
        if where[-2:] == ("mcp", "env"):
            yield from (Found(".".join(here), _advice(here)) for v in [value] if not _is_variable(v))
            continue
        if not isinstance(value, str) or not is_command:
            yield from literal_secrets(value, here)
            continue
        before = values[number - 1] if number else ""
        asked = isinstance(before, str) and before.startswith("-") and _sounds_secret(before.lstrip("-"))
        given = _OPTION.match(value)
        named = given and _sounds_secret(given[1]) and _left(given[2])
        drawn = re.fullmatch(r"(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9_]{24,}", value) and _random(value)
        if (asked and not value.startswith("-") and _left(value)) or named or drawn or _holds_secret(value):
            yield Found(".".join(here), _advice(here))


def _advice(where: tuple[str, ...]) -> str:
    """What to write instead of the secret at this place of a recipe."""
    if "env" in where and "mcp" in where:
        return 'env takes names of environment variables: a list, ["MY_TOKEN"], or {"TOKEN": "MY_TOKEN"}; export it'
    if "mcp" in where:
        return "put it into an environment variable and write ${ITS_NAME} there"
    key = next((part for part in reversed(where) if not part.isdigit()), "api_key")
    named = key if _sounds_secret(key) else "api_key"
    return f'put it into an environment variable and write its name: "{named}_env": "MY_KEY"'
