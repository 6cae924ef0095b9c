"""Normal form -> chat template -> parser -> the same calls, for every format and for what is generated."""

from itertools import islice

import pytest

from rayplay.data.sources import read_source
from rayplay.data.toolbench_synthetic import synthetic_rows
from rayplay.data.zoo import zoo_rows
from rayplay.dialects import Dialect
from tests.families import family_dialect
from tests.unit.test_data_formats import EXPECTED, FIXTURES

WITHOUT_CALLS = (
    "rayplay-records", "toolbench-queries", "preference-jsonl", "when2call-preferences", "bfcl", "nestful",
    "prompt-only", "verl",
)  # fmt: skip


@pytest.fixture(scope="module", params=["qwen2.5", "qwen3-2507"])
def dialect(request) -> Dialect:
    return family_dialect(request.param)


def read_back(dialect: Dialect, demonstration) -> list[tuple]:
    """Calls of each assistant message, parsed out of the tokens with loss."""
    ids, mask = dialect.supervise(demonstration.messages, demonstration.tools)
    edges = [i for i in range(len(mask) + 1) if (mask[i - 1] if i else 0) != (mask[i] if i < len(mask) else 0)]
    found = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        _, calls = dialect.parse(ids[:start], ids[start:end], "s#0")
        found.append(tuple((call.name, call.arguments, call.problem) for call in calls))
    return found


def written(demonstration) -> list[tuple]:
    return [
        tuple((call.name, call.arguments, None) for call in message.tool_calls)
        for message in demonstration.messages
        if message.role == "assistant"
    ]


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - set(WITHOUT_CALLS)))
def test_the_calls_of_every_format_survive_rendering_and_parsing(dialect, name):
    rows = [d for o in read_source(FIXTURES / name) if o.usable for d in o.usable.demonstrations]
    assert rows and any(any(calls) for calls in map(written, rows))
    for row in rows:
        assert read_back(dialect, row) == written(row)


@pytest.mark.parametrize("make", [zoo_rows, synthetic_rows])
def test_generated_calls_survive_rendering_and_parsing(dialect, make):
    for row in islice(make(3, 60), 60):
        assert read_back(dialect, row) == written(row)
