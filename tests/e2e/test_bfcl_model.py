"""A real model through vLLM's server, the official handler and the official checker."""

import json
import subprocess
import sys

import pytest

from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl_environment import bfcl_python
from rayplay.models.resolve import resolve_model

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


@pytest.fixture(scope="module", autouse=True)
def environment():
    try:
        bfcl_python()
        resolve_model("smollm2-135m-instruct")
    except EvaluationError as error:
        pytest.skip(f"BFCL's environment cannot be made here: {error}")


def test_a_model_is_served_asked_and_judged_and_its_page_is_written(tmp_path):
    command = [sys.executable, "-c", "from rayplay.cli import main; main()", "evaluate", "--json"]
    command += ["--model-path", "smollm2-135m-instruct", "--bfcl", "simple,irrelevance", "--limit", "2"]
    command += ["--max-new-tokens", "16", "--output-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stderr[-2000:]
    table = json.loads(done.stdout.splitlines()[-1])["bfcl"]
    assert list(table) == ["simple_python", "irrelevance"]
    assert {"accuracy", "n", "low", "high"} <= table["simple_python"]["base"].keys()
    answers = [json.loads(line) for p in (tmp_path / "bfcl" / "result").rglob("*.json") for line in p.open()]
    assert len(answers) == 4
    assert all(answer["inference_log"] and answer["output_token_count"] <= 16 for answer in answers)
    assert "simple_python_" in (tmp_path / "evaluation.html").read_text()
