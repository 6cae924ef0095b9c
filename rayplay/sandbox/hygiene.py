"""What a tool wrote -> text that a model may read: decoded, bounded, and unable to pass for anything but text."""

import re
from collections.abc import Iterable

# ESC and the other control characters drive terminals; newline and tab are text
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff]")
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
    """Break every special token and role marker in `text`, so that no tokenizer can read one out of it.

    A zero-width change would not survive some tokenizers' normalisation; a space after the first character does. Tokens
    of one character or of white space alone are left: they are ordinary text.
    """
    text = _MARKERS.sub(lambda m: m[0] + " ", _BIDI.sub("", text))
    tokens = sorted({t for t in special_tokens if len(t) > 1 and not t.isspace()}, key=len, reverse=True)
    if not tokens:
        return text
    pattern = re.compile("|".join(map(re.escape, tokens)))
    for _ in range(BREAKING_PASSES):  # one token's pieces may hold another
        if not pattern.search(text):
            break
        text = pattern.sub(lambda m: f"{m[0][0]}{'_' if m[0][1] == ' ' else ' '}{m[0][1:]}", text)
    return text
