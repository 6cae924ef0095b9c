"""What a tool wrote -> text that a model may read: decoded, bounded, and unable to pass for anything but text."""

import re
from collections.abc import Iterable
from functools import lru_cache

# ESC and the other control characters drive terminals; newline and tab are text
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# What people do not see and a model reads: marks of direction, joiners and spaces of no width, fillers that look empty,
# tag characters (a hidden alphabet), variation selectors (256 of them: a hidden byte each). One U+FE0E or U+FE0F behind
# a character chooses between text and emoji and stays; of the emoji flags of regions only the black flag is left.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0d"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    "|(?:^|(?<=[\ufe0e\ufe0f\\s]))[\ufe0e\ufe0f]+"
)
# markers of the model families that we know, whatever the tokenizer at hand calls special
_MARKERS = re.compile(
    r"<(?=\|[^|<>\n]{1,40}\|>)"
    r"|<(?=/?(?:tool_call|tool_response|tools|think|s|unk|pad|bos|eos)>)"
    r"|\[(?=/?(?:INST|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\])"
    r"|<(?=<SYS>>|</SYS>>)|<(?=(?:start|end)_of_turn>)"
)
BREAKING_PASSES = 8


def readable(raw: bytes, bound: int) -> str:
    """Bytes -> text of at most `bound` bytes, without control characters; what was cut is said in the text."""
    text = raw[:bound].decode("utf-8", errors="replace")
    text = _CONTROL.sub(lambda m: "" if m[0] == "\r" else f"\\x{ord(m[0]):02x}", text)
    return text if len(raw) <= bound else f"{text}\n[cut: only the first {bound} bytes are shown]"


def shorten(text: str, most_chars: int) -> str:
    """Keep the head of a long text and say how much of it was cut."""
    if len(text) <= most_chars:
        return text
    return f"{text[:most_chars]}\n[cut: {len(text) - most_chars} of {len(text)} characters not shown]"


def neutralise(text: str, special_tokens: Iterable[str]) -> str:
    """Break every special token and role marker in `text`, so that no tokenizer can read one out of it, and drop what
    people cannot see. Doing it twice changes nothing.

    A zero-width change would not survive some tokenizers' normalisation; a space after the first character does. Tokens
    of one character or of white space alone are left: they are ordinary text.
    """
    text = _MARKERS.sub(lambda m: m[0] + " ", _without_invisible(text))
    tokens, beginnings = _by_length(tuple(special_tokens))
    if beginnings.isdisjoint(text):
        return text
    for _ in range(BREAKING_PASSES):  # one token's pieces may hold another
        present = [token for token in tokens if token in text]  # quicker than a pattern of thousands of tokens
        if not present:
            break
        pattern = re.compile("|".join(map(re.escape, present)))
        text = pattern.sub(lambda m: f"{m[0][0]}{'_' if m[0][1] == ' ' else ' '}{m[0][1:]}", text)
    return text


def is_ordinary(token: str) -> bool:
    """Whether a token of a tokenizer's own is text like any other: one character, or white space, however written."""
    return len(token) < 2 or not token.replace("\u2581", " ").strip()


def _without_invisible(text: str) -> str:
    while (shorter := _INVISIBLE.sub("", text)) != text:  # what stood between two marks may have kept one
        text = shorter
    return text


@lru_cache(maxsize=8)
def _by_length(special_tokens: tuple[str, ...]) -> tuple[list[str], frozenset[str]]:
    """The tokens to break, longest first, and the characters that they begin with."""
    tokens = sorted({token for token in special_tokens if not is_ordinary(token)}, key=len, reverse=True)
    return tokens, frozenset(token[0] for token in tokens)
