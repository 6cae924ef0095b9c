"""Shapes of published sets: the rows of the tests of their formats."""

from pathlib import Path

from tests.unit.data_shapes.shape import Shape
from tests.unit.test_data_formats import EXPECTED

_FIXTURES = Path(__file__).parents[1] / "data_fixtures"
_OWN = ("openai-jsonl", "preference-jsonl", "rayplay-records", "chat-log", "responses-log", "gemini", "langchain-runs")
_OTHERS = ("bedrock", "sharegpt", "alpaca")


def _shape(name: str) -> Shape:
    files = {f.name: f.read_bytes() for f in sorted((_FIXTURES / name).iterdir())}
    first, *others = files
    beside = {other: files[other] for other in others}
    return Shape(f"{name} (published set)", file=first, pack=lambda rows: files[first], beside=beside, is_folder=True)


SHAPES = tuple(_shape(name) for name in EXPECTED if name not in (*_OWN, *_OTHERS))
