"""What runs inside BFCL's environment: facts about the data, its own command line with our models in it, its checker.

    driver.py facts                           categories with their ids, version, hash of the data
    driver.py cases  < {category: [ids]}      messages, tools and right calls of these cases
    driver.py run    ARGS... [-- ARGS...]     `bfcl ARGS`, one command after the other (importing BFCL takes 10 s)
    driver.py score                           verdicts line by line, for as long as stdin is open

`BFCL_PROJECT_ROOT` must be set. Its models.json maps our model names to the names under which an endpoint serves them.
Nothing here decides what is right: that is BFCL's own checker, unchanged.
"""

import hashlib
import importlib
import json
import os
import sys
import threading
import time
from importlib.metadata import version

from bfcl_eval.constants.category_mapping import ALL_CATEGORIES, TEST_COLLECTION_MAPPING, VERSION_PREFIX
from bfcl_eval.constants.enums import ModelStyle
from bfcl_eval.constants.eval_config import POSSIBLE_ANSWER_PATH, PROJECT_ROOT, PROMPT_PATH
from bfcl_eval.constants.type_mappings import GORILLA_TO_OPENAPI
from bfcl_eval.model_handler.utils import convert_to_tool
from bfcl_eval.utils import (
    is_agentic,
    is_format_sensitivity,
    is_java,
    is_js,
    is_multi_turn,
    is_relevance_or_irrelevance,
    load_dataset_entry,
    load_ground_truth_entry,
)
from gold import gold_calls, gold_turn, tool_name

SCORING_MODEL = "rayplay-scored-FC"


def facts() -> dict:
    """Everything that an evaluation must know before it starts."""
    categories = {}
    for category in ALL_CATEGORIES:
        if not is_format_sensitivity(category):  # for prompting models only
            entries = load_dataset_entry(category, include_prereq=False)
            categories[category] = [entry["id"] for entry in entries]
    files = sorted([*PROMPT_PATH.glob("*.json"), *POSSIBLE_ANSWER_PATH.glob("*.json")])
    content = hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files))
    return {
        "package": f"bfcl-eval {version('bfcl-eval')}",
        "data": VERSION_PREFIX,
        "data_sha256": content.hexdigest(),
        "categories": categories,
        "groups": {name: members for name, members in TEST_COLLECTION_MAPPING.items() if name not in categories},
    }


def cases(wanted: dict[str, list[str]]) -> list[dict]:
    """The wanted cases as the official handler shows them to a model, and a right answer to each turn."""
    found = []
    for category, ids in wanted.items():
        chosen = set(ids)
        answers = {} if is_relevance_or_irrelevance(category) else _answers(category)
        # The hints turn every Java and JavaScript type into "string"; right answers need the types.
        typed = load_dataset_entry(category, include_prereq=False, include_language_specific_hint=False)
        for entry, plain in zip(load_dataset_entry(category, include_prereq=False), typed, strict=True):
            if entry["id"] in chosen:
                tools = convert_to_tool(entry["function"], GORILLA_TO_OPENAPI, ModelStyle.OPENAI_COMPLETIONS)
                found.append(
                    {
                        "id": entry["id"],
                        "category": category,
                        "turns": entry["question"],
                        "tools": tools,
                        "gold": _gold(category, plain, answers.get(entry["id"])),
                    }
                )
    return found


def _answers(category: str) -> dict:
    return {entry["id"]: entry["ground_truth"] for entry in load_ground_truth_entry(category)}


def _gold(category: str, entry: dict, truth: list | None) -> list[list[dict]] | None:
    """Right calls of each turn; None where BFCL holds none (agentic answers are texts)."""
    if is_agentic(category):
        return None
    if is_multi_turn(category):
        held_out = [function for functions in entry.get("missed_function", {}).values() for function in functions]
        functions = [*entry["function"], *held_out]
        return [gold_turn(calls, functions) for calls in truth]
    if truth is None:
        return (
            [[]]
            if "irrelevance" in category
            else [[{"name": tool_name(entry["function"][0]["name"]), "arguments": {}}]]
        )
    language = "java" if is_java(category) else "javascript" if is_js(category) else "python"
    return [gold_calls(truth, entry["function"], language)]


def end_with_parent() -> None:
    """Leave when the process that started us is gone: two generators must never write one result file."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def register(models: dict[str, str]) -> None:
    """Make our models known: function calling through any OpenAI-compatible endpoint."""
    config = importlib.import_module("bfcl_eval.constants.model_config")
    handler = importlib.import_module("bfcl_eval.model_handler.api_inference.openai_completion")
    for name, served in models.items():
        config.MODEL_CONFIG_MAPPING[name] = config.ModelConfig(
            model_name=served,
            display_name=name,
            url="",
            org="rayplay",
            license="",
            model_handler=handler.OpenAICompletionsHandler,
            is_fc_model=True,
            underscore_to_dot=True,
        )


def run(arguments: list[str]) -> None:
    """BFCL's own commands, `--` between two of them."""
    listed = PROJECT_ROOT / "models.json"
    register(json.loads(listed.read_text()) if listed.exists() else {})
    cli = importlib.import_module("bfcl_eval.__main__").cli
    command: list[str] = []
    for word in [*arguments, "--"]:
        if word != "--":
            command.append(word)
        elif command:
            cli(args=command, standalone_mode=False)
            command = []


def score() -> None:
    """One line each: {"id", "category", "result"} -> {"id", "valid", "error_type"}.

    A result is what the handler makes of a message: [{name: arguments as JSON text}, ...], or its text without calls.
    """
    register({SCORING_MODEL: SCORING_MODEL})
    runner = importlib.import_module("bfcl_eval.eval_checker.eval_runner")
    handler = runner.get_handler(SCORING_MODEL)
    known: dict[str, tuple[dict, dict]] = {}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        answer = json.loads(line)
        category = answer["category"]
        if category not in known:
            entries = load_dataset_entry(category, include_prereq=False, include_language_specific_hint=False)
            truths = {} if is_relevance_or_irrelevance(category) else _answers(category)
            known[category] = ({entry["id"]: entry for entry in entries}, truths)
        verdict = _verdict(runner, handler, answer, *known[category])
        shown = {"id": answer["id"], "valid": verdict["valid"], "error_type": verdict.get("error_type", "")}
        print(json.dumps(shown), flush=True)


def _verdict(runner, handler, answer: dict, entries: dict, truths: dict) -> dict:
    category, case = answer["category"], answer["id"]
    rest = (handler, case, answer["result"])
    if is_relevance_or_irrelevance(category):
        return runner._evaluate_single_relevance_entry(*rest, entries[case], SCORING_MODEL, category)
    kinds = {"java": is_java(category), "javascript": is_js(category)}
    name = next((kind for kind, found in kinds.items() if found), "python").upper()
    language, form = runner.Language[name], runner.ReturnFormat[name]
    return runner._evaluate_single_ast_entry(
        *rest, truths[case], entries[case], SCORING_MODEL, category, language=language, return_format=form
    )


if __name__ == "__main__":
    task, *rest = sys.argv[1:]
    if task == "facts":
        print(json.dumps(facts()))
    elif task == "cases":
        print(json.dumps(cases(json.load(sys.stdin))))
    elif task == "run":
        end_with_parent()
        run(rest)
    elif task == "score":
        score()
    else:
        sys.exit(f"unknown task {task!r}")
