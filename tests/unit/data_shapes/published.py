"""Formats by their own names, those of published sets most of all: the rows of the tests of formats."""

from pathlib import Path

from tests.unit.data_shapes.shape import Shape
from tests.unit.test_data_formats import EXPECTED

_FIXTURES = Path(__file__).parents[1] / "data_fixtures"
_OWN = ("openai-jsonl", "preference-jsonl", "rayplay-records", "chat-log", "responses-log", "gemini", "langchain-runs")
_OTHERS = ("bedrock", "sharegpt", "alpaca")


def _shape(name: str) -> Shape:
    folder = _FIXTURES / name
    files = {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
    first, *others = files
    beside = {other: files[other] for other in others}
    return Shape(name, file=first, pack=lambda rows: files[first], beside=beside, is_folder=True)


SHAPES = tuple(_shape(name) for name in EXPECTED if name not in (*_OWN, *_OTHERS))
