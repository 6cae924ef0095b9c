"""The pipeline's parts without Ray: batches in, verdicts out, the same as the plain reader."""

import json
from pathlib import Path

import pytest

from rayplay.actors import data as pipeline
from rayplay.data.census import Census
from rayplay.data.sources import open_source, read_opened
from rayplay.data.writing import line_of

FIXTURES = Path(__file__).with_name("data_fixtures")


def lines_by_parts(opened, census):
    judge = pipeline.Judge(opened.context, "demonstrations")
    seen = set()
    for file in opened.files:
        for batch in pipeline._read({"path": [str(file)]}, opened.source.name):
            for verdict in judge(batch)["verdict"]:
                yield from pipeline._count(json.loads(verdict), census, seen)


@pytest.mark.parametrize("name", ["openai-jsonl", "seal-tools", "toolalpaca", "api-bank", "toolrl", "rayplay-records"])
def test_parts_give_the_lines_and_counts_of_the_plain_reader(name):
    opened = open_source(FIXTURES / name)
    plain, parts = Census.of(opened), Census.of(opened)
    usable = [plain.counted(outcome).usable for outcome in read_opened(opened)]
    expected = [line_of(d) for u in usable if u for d in u.demonstrations]
    assert [json.loads(line) for line in lines_by_parts(opened, parts)] == json.loads(json.dumps(expected))
    assert parts.summary() == plain.summary()


def test_a_batch_never_holds_more_than_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH_ROWS", 10)
    path = tmp_path / "rows.jsonl"
    path.write_text('{"query": "q", "answers": [], "tools": []}\n' * 25)
    sizes = [len(batch["row"]) for batch in pipeline._read({"path": [str(path)]}, "xlam")]
    assert sizes == [10, 10, 5]
