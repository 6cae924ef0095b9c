"""What a tool wrote -> text that a model may read: decoded, bounded, and unable to pass for anything but text."""

import re
from collections.abc import Iterable

# ESC and the other control characters drive terminals; newline and tab are text
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff]")
# markers of the model families that we know, whatever the tokenizer at hand calls special
_MARKERS = re.compile(
    r"<(?=\|[^|<>\n]{1,40}\|>)|<(?=/?(?:tool_call|tool_response|tools|think|s|unk|pad|bos|eos)>)|\[(?=/?(?:INST|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\])"
    r"|<(?=<SYS>>|</SYS>>)|<(?=(?:start|end)_of_turn>)"
)


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

    A zero-width change would survive some tokenizers' normalisation; a space after the first character is visible and
    does not. Runs until nothing is left to break, as breaking one marker must not join two others.
    """
    text = _BIDI.sub("", text)
    tokens = sorted({t for t in special_tokens if len(t) > 1}, key=len, reverse=True)
    pattern = re.compile("|".join(re.escape(t) for t in tokens)) if tokens else None
    text = _MARKERS.sub(lambda m: m[0] + " ", text)
    while pattern and pattern.search(text):
        text = pattern.sub(lambda m: f"{m[0][0]} {m[0][1:]}", text)
    return text
