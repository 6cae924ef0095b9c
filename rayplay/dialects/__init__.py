"""How models speak: families, rendering, reading, and the probe that proves them at start."""

from rayplay.dialects.dialect import Dialect
from rayplay.dialects.families import FAMILIES, Family, family_named, family_of, syntaxes_of
from rayplay.dialects.messages import SYSTEM_PROMPT, as_chat, with_system
from rayplay.dialects.probe import Speakable, probe, probe_tool, reads_back
from rayplay.dialects.reading import Reader, guarded

__all__ = [
    "FAMILIES", "SYSTEM_PROMPT", "Dialect", "Family", "Reader", "Speakable", "as_chat", "family_named", "family_of",
    "guarded", "probe", "probe_tool", "reads_back", "syntaxes_of", "with_system",
]  # fmt: skip
