"""What a BFCL run of a model is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BfclSettings:
    """What to ask of BFCL, and how."""

    categories: tuple[str, ...]
    limit: int | None = None
    seed: int = 0
    repeats: int = 1
    temperature: float = 0.0
    max_new_tokens: int = 512
    max_in_flight: int = 32
