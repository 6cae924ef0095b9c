"""The Ray Data pipeline gives the lines and counts of the plain one, in the same order."""

import json
from pathlib import Path

import pytest
import ray

from rayplay.actors.data import judged_lines
from rayplay.data.census import Census
from rayplay.data.sources import open_source, read_opened
from rayplay.data.writing import line_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
FIXTURES = Path(__file__).parents[1] / "unit" / "data_fixtures"


@pytest.fixture(scope="module")
def cluster():
    if ray.is_initialized():
        yield
        return
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", object_store_memory=100 * 1024 * 1024)
    yield
    ray.shutdown()


@pytest.mark.parametrize("name", ["openai-jsonl", "seal-tools", "toolalpaca", "api-bank"])
def test_ray_gives_the_same_lines_and_counts(cluster, name):
    opened = open_source(FIXTURES / name)
    plain, spread = Census.of(opened), Census.of(opened)
    usable = [plain.counted(outcome).usable for outcome in read_opened(opened)]
    expected = [json.loads(json.dumps(line_of(d))) for u in usable if u for d in u.demonstrations]
    lines = [json.loads(line) for line in judged_lines(opened, "demonstrations", spread)]
    for line in (*lines, *expected):
        line["origin"] = Path(line["origin"]).name
    assert lines == expected
    counts = [{k: v for k, v in c.summary().items() if k != "first_rejected"} for c in (plain, spread)]
    assert counts[0] == counts[1]


def test_ray_rejects_the_second_row_of_an_id(cluster, tmp_path):
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({**row, "id": i}) for i in ("a", "b", "a")))
    opened = open_source(tmp_path)
    census = Census.of(opened)
    assert len(list(judged_lines(opened, "demonstrations", census))) == 2
    assert dict(census.rejected) == {"duplicate_id": 1}


def test_ray_keeps_several_samples_of_an_id_under_the_ids_of_the_plain_way(cluster, tmp_path):
    rows = [
        {"id": "a", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}]}
        for answer in "xyx"
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    opened = open_source(tmp_path)
    plain = [d.row_id for o in read_opened(opened) if o.usable for d in o.usable.demonstrations]
    lines = judged_lines(opened, "demonstrations", Census.of(opened))
    assert [json.loads(line)["id"] for line in lines] == plain == ["a", "a#2"]
