"""Endpoint + categories -> official BFCL accuracies with intervals, everything kept in one folder.

    bfcl/models.json                         our model names -> the names under which the endpoint serves them
    bfcl/test_case_ids_to_generate.json      the subset, in BFCL's own form
    bfcl/result/MODEL/.../*_result.json      every request and answer, written by `bfcl generate`
    bfcl/score/MODEL/.../*_score.json        every failure and its reason, written by `bfcl evaluate`
    bfcl/verdicts.jsonl                      id, category, model, valid, error_type
    bfcl/bfcl.log

The same command again generates only what is missing. Answers that failed because the endpoint failed are no answers:
they are taken out and asked for again.
"""

import json
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from rayplay.errors import EvaluationError
from rayplay.evaluation.bfcl_endpoint import Endpoint
from rayplay.evaluation.bfcl_environment import SCRIPTS, bfcl_python, official_environment
from rayplay.records import Json, Record, seed_of
from rayplay.statistics import wilson_interval

# Names of earlier versions of the board, and of the way people write them.
OLD_NAMES = {
    "simple": "simple_python",
    "java": "simple_java",
    "javascript": "simple_javascript",
    "relevance": "live_relevance",
    "multiple_function": "multiple",
    "parallel_function": "parallel",
    "parallel_multiple_function": "parallel_multiple",
    "multi-turn": "multi_turn",
    "multuturn": "multi_turn",
    "multiturn": "multi_turn",
}
NEEDS_MORE = {  # category -> what it needs that is not here
    "web_search_base": "a search service on the internet",
    "web_search_no_snippet": "a search service on the internet",
    "memory_vector": "an embedding model (sentence-transformers and faiss)",
}
THEIR_FAULT = ("APIConnectionError", "APITimeoutError", "InternalServerError", "RateLimitError", "AuthenticationError")
READ_S = 300.0  # to read BFCL's data
STALL_S = 900.0  # without a single new answer
FAILED = "Error during inference:"


class Facts(Record):
    """What BFCL's package holds."""

    package: str
    data: str
    data_sha256: str
    categories: dict[str, tuple[str, ...]]
    groups: dict[str, tuple[str, ...]]


class Verdict(Record):
    """The official checker's word on one answer."""

    case: str
    category: str
    model: str
    valid: bool
    error_type: str = ""
    failed_request: bool = False  # the endpoint refused the request (a prompt over its length, for example)


class Contestant(NamedTuple):
    """A model in the comparison: its label ("base", "tuned") and the name under which the endpoint serves it."""

    label: str
    served: str

    @property
    def name(self) -> str:
        """The name in BFCL's files. No underscore: its evaluation reads that as a slash."""
        return f"rayplay-{re.sub(r'[^A-Za-z0-9.]+', '-', self.label)}-FC"


def read_facts() -> Facts:
    """Categories and version of the installed BFCL."""
    return Facts.model_validate_json(_driver(["facts"]))


def resolve_categories(names: Iterable[str], facts: Facts) -> tuple[str, ...]:
    """Category names, group names and old names -> today's categories, in the order given, each once.

    Raises:
        EvaluationError: A name is unknown, or a category needs what is not here.
    """
    found: dict[str, None] = {}
    for given in names:
        name = OLD_NAMES.get(given.strip(), given.strip())
        members = (name,) if name in facts.categories else facts.groups.get(name)
        if members is None:
            known = ", ".join([*facts.categories, *facts.groups, *OLD_NAMES])
            raise EvaluationError(f"--bfcl: no category or group is called {given!r}; known: {known}")
        if name in NEEDS_MORE:
            raise EvaluationError(
                f"--bfcl: {name} needs {NEEDS_MORE[name]}, which is not here; choose another category"
            )
        found |= {member: None for member in members if member in facts.categories and member not in NEEDS_MORE}
    if not found:
        raise EvaluationError("--bfcl: no category is left; for example --bfcl simple_python,irrelevance")
    return tuple(found)


def choose_cases(facts: Facts, categories: Iterable[str], limit: int | None, seed: int) -> dict[str, list[str]]:
    """A random subset of each category, fixed by the seed; a smaller limit gives a part of a larger one's."""
    chosen = {}
    for category in categories:
        ids = list(facts.categories[category])
        random.Random(seed_of(seed, "bfcl", category)).shuffle(ids)
        kept = set(ids[:limit])
        chosen[category] = [case for case in facts.categories[category] if case in kept]
    return chosen


def read_cases(chosen: dict[str, list[str]]) -> list[Json]:
    """The chosen cases: {"id", "category", "turns", "tools", "gold"}; gold is None where BFCL has no call to give."""
    return json.loads(_driver(["cases"], json.dumps(chosen)))


def official_run(
    folder: Path,
    chosen: dict[str, list[str]],
    contestants: list[Contestant],
    endpoint: Endpoint,
    *,
    threads: int = 8,
    temperature: float = 0.0,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Verdict]:
    """`bfcl generate` for what is missing, then `bfcl evaluate`; the verdicts on all chosen cases, in their order.

    Args:
        folder: Becomes BFCL_PROJECT_ROOT.
        chosen: Ids by category.
        contestants: All are served by the same endpoint and asked by the same handler.
        endpoint: Where; requests go there and nowhere else.
        threads: Requests at once.
        temperature: Of sampling; 0 = greedy.
        progress: Called with the number of answers so far.

    Raises:
        EvaluationError: BFCL failed, made no progress for 15 minutes, or the endpoint failed on some cases.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "models.json").write_text(json.dumps({c.name: c.served for c in contestants}, indent=2) + "\n")
    (folder / "test_case_ids_to_generate.json").write_text(json.dumps(chosen, indent=2) + "\n")
    wanted = {case for ids in chosen.values() for case in ids}
    names = ",".join(contestant.name for contestant in contestants)
    generate = ["generate", "--model", names, "--run-ids", "--include-input-log", "--num-threads", str(threads)]
    evaluate = ["evaluate", "--model", names, "--test-category", ",".join(chosen), "--partial-eval"]
    for contestant in contestants:
        mend_results(folder, contestant.name)
    _run_official(folder, [*generate, "--temperature", str(temperature), "--", *evaluate], endpoint, progress)
    verdicts = [v for c in contestants for v in read_verdicts(folder, c) if v.case in wanted]
    order = list(chosen)
    verdicts.sort(key=lambda verdict: order.index(verdict.category))
    broken = sum(mend_results(folder, contestant.name) for contestant in contestants)
    missing = len(wanted) * len(contestants) - len(verdicts)
    if broken or missing:
        raise EvaluationError(
            f"the endpoint failed on {broken} answers and {missing} are missing; the same command asks for them again "
            f"({folder / 'bfcl.log'} says more)"
        )
    return verdicts


def keep_verdicts(folder: Path, chosen: dict[str, list[str]], verdicts: list[Verdict]) -> None:
    """Leave the folder so that BFCL's own command line, run by hand in it, does the same cases again."""
    (folder / "test_case_ids_to_generate.json").write_text(json.dumps(chosen, indent=2) + "\n")
    lines = "".join(verdict.model_dump_json() + "\n" for verdict in verdicts)
    (folder / "verdicts.jsonl").write_text(lines, encoding="utf-8")


def is_answered(folder: Path, chosen: dict[str, list[str]], contestant: Contestant) -> bool:
    """Whether every chosen case has an answer already, so that only the checker has work left."""
    mend_results(folder, contestant.name)
    paths = (folder / "result" / contestant.name).rglob("*_result.json")
    answered = {json.loads(line)["id"] for path in paths for line in path.read_text(encoding="utf-8").splitlines()}
    return answered.issuperset(case for ids in chosen.values() for case in ids)


def mend_results(folder: Path, model: str) -> int:
    """Take half-written lines and answers that the endpoint failed to give out of the result files; their number."""
    dropped = 0
    for path in sorted((folder / "result" / model).rglob("*_result.json")):
        kept, lines = [], path.read_text(encoding="utf-8").splitlines()
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            failed = str(entry["result"]).startswith(FAILED)
            if not (failed and any(fault in entry.get("traceback", "") for fault in THEIR_FAULT)):
                kept.append(line)
        if len(kept) < len(lines):
            dropped += len(lines) - len(kept)
            staging = path.with_suffix(".tmp")
            staging.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
            staging.replace(path)
    return dropped


def read_verdicts(folder: Path, contestant: Contestant) -> list[Verdict]:
    """Answers and failures -> a verdict per answer. The score files list the failures after a header.

    Raises:
        EvaluationError: The official checker did not judge these very answers.
    """
    found = []
    for path in sorted((folder / "result" / contestant.name).rglob("*_result.json")):
        category = path.stem.split("_v4_", 1)[1].removesuffix("_result")
        scored = next((folder / "score" / contestant.name).rglob(f"*_v4_{category}_score.json"), None)
        if scored is None:
            continue
        header, *failed = map(json.loads, scored.read_text(encoding="utf-8").splitlines())
        failures = {failure["id"]: failure for failure in failed}
        entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if (header["total_count"], header["correct_count"]) != (len(entries), len(entries) - len(failures)):
            raise EvaluationError(
                f"{scored} counts {header['correct_count']} right of {header['total_count']}, but {path.name} holds "
                f"{len(entries)} answers and {len(failures)} failed; delete the score file and run the same command"
            )
        for entry in entries:
            failure = failures.get(entry["id"])
            found.append(
                Verdict(
                    case=entry["id"],
                    category=category,
                    model=contestant.label,
                    valid=failure is None,
                    error_type=_error_type(failure),
                    failed_request=str(entry["result"]).startswith(FAILED),
                )
            )
    return found


def accuracy_table(verdicts: Iterable[Verdict]) -> dict[str, dict[str, Json]]:
    """{category: {label: {"accuracy", "n", "low", "high", "failed_requests", "failing"?}}}, irrelevance last."""
    table: dict[str, dict[str, Json]] = {}
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault((verdict.category, verdict.model), []).append(verdict)
    for (category, label), group in sorted(groups.items(), key=lambda item: "irrelevance" in item[0][0]):
        right, n = sum(v.valid for v in group), len(group)
        low, high = wilson_interval(right, n)
        row: Json = {"accuracy": right / n, "n": n, "low": low, "high": high}
        row["failed_requests"] = sum(v.failed_request for v in group)
        table.setdefault(category, {})[label] = row
    return table


def _error_type(failure: Json | None) -> str:
    if failure is None:
        return ""
    error = failure.get("error")
    return str(failure.get("error_type") or (error.get("error_type") if isinstance(error, dict) else "") or "other")


def _run_official(folder: Path, commands: list[str], endpoint: Endpoint, progress: Callable[[int], None]) -> None:
    environment = official_environment(folder, OPENAI_BASE_URL=endpoint.base_url, OPENAI_API_KEY=endpoint.key)
    command = [str(bfcl_python()), str(SCRIPTS / "driver.py"), "run", *commands]
    with (folder / "bfcl.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _watch(process, folder, progress)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode:
        said = " ".join((folder / "bfcl.log").read_text(errors="replace").split())[-300:]
        raise EvaluationError(
            f"the official bfcl ended with code {process.returncode}; {folder / 'bfcl.log'}: ...{said}"
        )


def _watch(process: subprocess.Popen, folder: Path, progress: Callable[[int], None]) -> None:
    """Wait for the end; give up when nothing has been written for a long time."""
    last, since = -1, time.monotonic()
    while process.poll() is None:
        time.sleep(0.5)
        answers = sum(path.read_bytes().count(b"\n") for path in (folder / "result").rglob("*_result.json"))
        if answers != last:
            last, since = answers, time.monotonic()
            progress(answers)
        elif time.monotonic() - since > STALL_S:
            raise EvaluationError(
                f"no new answer for {STALL_S:.0f} s; see {folder / 'bfcl.log'}; the same command goes on"
            )


def _driver(arguments: list[str], text: str = "") -> str:
    command = [str(bfcl_python()), str(SCRIPTS / "driver.py"), *arguments]
    with tempfile.TemporaryDirectory() as folder:  # where BFCL may put its own empty folders
        options = {"env": official_environment(Path(folder)), "input": text, "capture_output": True, "text": True}
        try:
            done = subprocess.run(command, timeout=READ_S, **options)
        except subprocess.TimeoutExpired as error:
            raise EvaluationError(f"BFCL's data was not read in {READ_S:.0f} s; run the same command again") from error
    if done.returncode:
        raise EvaluationError(f"BFCL's data cannot be read: {' '.join(done.stderr.split())[-400:]}")
    return done.stdout
