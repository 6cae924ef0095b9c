"""The page of an evaluation: tables, intervals, what changed, and the answers behind it; nothing from elsewhere."""

import json

from rayplay.evaluation.bfcl import Contestant, Verdict, accuracy_table, keep_verdicts
from rayplay.evaluation.official import changes
from rayplay.evaluation.page import write_page

NASTY = "<script>alert(1)</script>"


def written(tmp_path):
    verdicts = []
    for label, marks in (("base", "+--"), ("tuned", "-++")):
        path = tmp_path / "bfcl" / "result" / Contestant(label, label).name / "BFCL_v4_simple_python_result.json"
        path.parent.mkdir(parents=True)
        lines = []
        for number, mark in enumerate(marks):
            case = f"simple_python_{number}"
            verdicts.append(Verdict(case=case, category="simple_python", model=label, valid=mark == "+"))
            asked = {"role": "inference_input", "content": {"message": f"question {number} {NASTY}"}}
            lines.append(json.dumps({"id": case, "result": f"{label} says {number}", "inference_log": [asked]}))
        path.write_text("\n".join(lines) + "\n")
    keep_verdicts(tmp_path / "bfcl", {"simple_python": []}, verdicts)
    result = {
        "subjects": ["base", "tuned"],
        "policies": {},
        "folder": str(tmp_path),
        "bfcl": accuracy_table(verdicts),
        "bfcl_changes": changes([verdicts], "base", "tuned"),
        "data": {"package": "bfcl-eval 0", "data": "BFCL_v4", "data_sha256": "0" * 64},
    }
    write_page(tmp_path, result, {})
    return (tmp_path / "evaluation.html").read_text()


def test_the_page_shows_both_policies_what_changed_and_the_answers_behind_it(tmp_path):
    page = written(tmp_path)
    assert "gained: 2" in page
    assert "lost: 1" in page
    assert "base says 0" in page
    assert "tuned says 2" in page
    assert "0.333" in page
    assert "0.667" in page


def test_the_page_loads_nothing_and_runs_nothing(tmp_path):
    page = written(tmp_path)
    assert NASTY not in page
    assert "http" not in page
    assert "<script" not in page
