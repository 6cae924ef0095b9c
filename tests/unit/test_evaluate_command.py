"""What `rayplay evaluate` refuses, before anything is started."""

import pytest

from rayplay.cli.evaluate import evaluate
from rayplay.errors import EvaluationError

NOTHING = {
    "model_path": "",
    "config": None,
    "tasks": None,
    "bfcl": "",
    "limit": None,
    "seed": 0,
    "repeats": 1,
    "temperature": 0.0,
    "max_new_tokens": 16,
    "compare": None,
    "output_dir": None,
    "gold": False,
    "empty": False,
    "as_json": True,
}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "exactly one"),
        ({"gold": True, "empty": True}, "exactly one"),
        ({"gold": True}, "add --bfcl"),
        ({"model_path": "m", "repeats": 3}, "--temperature"),
    ],
)
def test_a_request_that_means_nothing_is_refused(given, message):
    with pytest.raises(EvaluationError, match=message):
        evaluate(**(NOTHING | given))
