"""Subsets, names, BFCL's files and what is read out of them; nothing here needs BFCL itself."""

import json

import pytest

from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl import (
    Contestant,
    Facts,
    Verdict,
    accuracy_table,
    choose_cases,
    mend_results,
    read_verdicts,
    resolve_categories,
)
from rayplay.evaluation.bfcl_environment import environment_folder, official_environment
from rayplay.evaluation.official import changes, table_of_repeats

FACTS = Facts(
    package="bfcl-eval 0",
    data="BFCL_v4",
    data_sha256="0",
    categories={
        "simple_python": tuple(f"simple_python_{i}" for i in range(20)),
        "irrelevance": tuple(f"irrelevance_{i}" for i in range(20)),
        "multi_turn_base": ("multi_turn_base_0",),
        "memory_vector": ("memory_vector_0",),
        "memory_kv": ("memory_kv_0",),
    },
    groups={"multi_turn": ("multi_turn_base",), "memory": ("memory_vector", "memory_kv")},
)


def test_old_names_and_groups_mean_todays_categories():
    assert resolve_categories(["simple", "multi_turn", "irrelevance"], FACTS) == (
        "simple_python",
        "multi_turn_base",
        "irrelevance",
    )
    assert resolve_categories(["multuturn", "multi_turn_base"], FACTS) == ("multi_turn_base",)


def test_a_group_leaves_out_what_cannot_run_here_but_a_name_says_why():
    assert resolve_categories(["memory"], FACTS) == ("memory_kv",)
    with pytest.raises(EvaluationError, match="needs an embedding model"):
        resolve_categories(["memory_vector"], FACTS)


def test_an_unknown_category_names_the_known_ones():
    with pytest.raises(EvaluationError, match=r"'simpel'.*simple_python"):
        resolve_categories(["simpel"], FACTS)


def test_subsets_depend_on_the_seed_alone_and_grow_by_adding():
    small = choose_cases(FACTS, ["simple_python"], 5, seed=1)["simple_python"]
    large = choose_cases(FACTS, ["simple_python", "irrelevance"], 10, seed=1)["simple_python"]
    assert set(small) < set(large)
    assert small == choose_cases(FACTS, ["simple_python"], 5, seed=1)["simple_python"]
    assert small != choose_cases(FACTS, ["simple_python"], 5, seed=2)["simple_python"]
    assert len(choose_cases(FACTS, ["simple_python"], None, seed=1)["simple_python"]) == 20


def test_names_in_bfcls_files_have_no_underscore():
    assert Contestant("round_001", "round_001").name == "rayplay-round-001-FC"
    assert Contestant("my model, v2/x", "m").name == "rayplay-my-model-v2-x-FC"


def both(base, tuned, category="simple_python"):
    return [
        Verdict(case=f"{category}_{i}", category=category, model=model, valid=mark == "+")
        for model, marks in (("base", base), ("tuned", tuned))
        for i, mark in enumerate(marks)
    ]


def test_irrelevance_stands_last_and_every_rate_has_n_and_an_interval():
    table = accuracy_table(both("+", "+", "irrelevance") + both("+-", "++"))
    assert list(table) == ["simple_python", "irrelevance"]
    assert table["simple_python"]["base"]["accuracy"] == 0.5
    assert table["simple_python"]["base"]["n"] == 2
    assert 0 < table["simple_python"]["base"]["low"] < 0.5 < table["simple_python"]["base"]["high"] < 1


def test_changes_pair_the_same_cases():
    found = changes([both("+--+", "-+++")], "base", "tuned")["simple_python"]
    assert found["transitions"] == {"kept": 1, "lost": 1, "gained": 2, "still_wrong": 0}
    assert found["mcnemar_p"] == 1.0
    assert found["gain"]["difference"] == 0.25


def test_repeats_are_averaged_over_cases_not_counted_as_more_cases():
    row = table_of_repeats([both("+-", "++"), both("++", "++")])["simple_python"]["base"]
    assert row["accuracy"] == 0.75
    assert row["n"] == 2
    assert row["by_repeat"] == [0.5, 1.0]
    found = changes([both("+-", "++"), both("++", "++")], "base", "tuned")["simple_python"]
    assert found["gain"]["difference"] == 0.25
    assert found["transitions"]["gained"] == 1


def result_file(folder, lines, model="rayplay-base-FC"):
    path = folder / "result" / model / "non_live" / "BFCL_v4_simple_python_result.json"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines))
    return path


FAILED = {"id": "simple_python_1", "result": "Error during inference: x", "traceback": "openai.APIConnectionError: x"}
REFUSED = {"id": "simple_python_2", "result": "Error during inference: long", "traceback": "openai.BadRequestError: x"}
GOOD = {"id": "simple_python_0", "result": [{"f": "{}"}]}


def test_half_written_lines_and_answers_that_the_endpoint_failed_to_give_are_asked_for_again(tmp_path):
    path = result_file(tmp_path, [json.dumps(GOOD), json.dumps(FAILED), json.dumps(REFUSED), '{"id": "simple_py'])
    assert mend_results(tmp_path, "rayplay-base-FC") == 2
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["simple_python_0", "simple_python_2"]
    assert mend_results(tmp_path, "rayplay-base-FC") == 0


def test_verdicts_come_from_the_score_file_of_each_category(tmp_path):
    result_file(tmp_path, [json.dumps(GOOD), json.dumps(REFUSED)])
    score = tmp_path / "score" / "rayplay-base-FC" / "non_live" / "BFCL_v4_simple_python_score.json"
    score.parent.mkdir(parents=True)
    failure = {"id": "simple_python_2", "error_type": "ast_decoder:decoder_failed"}
    header = {"accuracy": 0.5, "correct_count": 1, "total_count": 2}
    score.write_text(json.dumps(header) + "\n" + json.dumps(failure) + "\n")
    good, refused = read_verdicts(tmp_path, Contestant("base", "base"))
    assert (good.valid, good.failed_request) == (True, False)
    assert (refused.valid, refused.failed_request, refused.error_type) == (False, True, "ast_decoder:decoder_failed")


def test_a_score_file_of_other_answers_is_no_verdict(tmp_path):
    result_file(tmp_path, [json.dumps(GOOD), json.dumps(REFUSED)])
    score = tmp_path / "score" / "rayplay-base-FC" / "non_live" / "BFCL_v4_simple_python_score.json"
    score.parent.mkdir(parents=True)
    score.write_text(json.dumps({"accuracy": 1.0, "correct_count": 1, "total_count": 1}) + "\n")
    with pytest.raises(EvaluationError, match="counts 1 right of 1"):
        read_verdicts(tmp_path, Contestant("base", "base"))


def test_the_official_process_gets_its_own_root_and_none_of_our_python_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("LD_PRELOAD", "/ours.so")
    monkeypatch.setenv("OPENAI_API_KEY", "a real key")
    environment = official_environment(tmp_path)
    assert environment["BFCL_PROJECT_ROOT"] == str(tmp_path)
    assert environment["OPENAI_API_KEY"] == "none"
    assert not {"PYTHONPATH", "LD_PRELOAD"} & environment.keys()


def test_the_environment_lies_in_the_cache_and_not_in_ours(monkeypatch, tmp_path):
    monkeypatch.setenv("RAYPLAY_CACHE", str(tmp_path))
    assert environment_folder().is_relative_to(tmp_path)
