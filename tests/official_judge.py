"""Runs in BFCL's environment: lines of {"functions", "truth", "calls", "category"} -> lines of true or false.

The calls are judged by BFCL's own ast_checker, as its evaluation does for a model whose function names have no dots.
"""

import json
import sys

from bfcl_eval.constants.enums import Language
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING
from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

MODEL = next(name for name, config in MODEL_CONFIG_MAPPING.items() if config.underscore_to_dot and "_" not in name)

for line in sys.stdin:
    case = json.loads(line)
    calls = [{call["name"]: call["arguments"]} for call in case["calls"]]
    asked = (case["functions"], calls, case["truth"], Language.PYTHON, case["category"], MODEL)
    try:
        verdict = ast_checker(*asked)["valid"]
    except (AttributeError, TypeError):  # it stumbles over a list where it expects an object
        verdict = False
    print(json.dumps(verdict), flush=True)
