"""A file of hand-written cases -> Tasks over the tools of a recipe.

    {"licence": "...", "cases": [{"id": "...", "kind": "...", "prompt": "...", "tools": ["weather"],
      "calls": [{"name": "weather", "arguments": {"city": "Oslo"}, "alternatives": {"date": ["today"]},
                 "optional": ["date"]}],
      "answer": ["..."], "check_calls": true, "rule": "plain"}]}

`tools` may be left out: then all tools are on offer. No `calls`: rightly none. `check_calls` false: only the answer
counts, where many different calls would be right. `rule`: "official", "plain" or "exact", else the recipe's.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from rayplay.errors import EvaluationError
from rayplay.records import Expected, ExpectedCall, Message, Record, Rule, Task, ToolSpec
from rayplay.strict_json import read_json
from rayplay.text_files import read_text


class Case(Record):
    """One case as people write it."""

    id: str
    kind: str
    prompt: str = Field(min_length=1)
    tools: tuple[str, ...] = ()
    calls: tuple[ExpectedCall, ...] = ()
    answer: tuple[str | tuple[str, ...], ...] = ()
    tolerance: float = 1e-6
    check_calls: bool = True
    rule: Rule | None = None


class CaseFile(Record):
    """The whole file."""

    about: str = ""
    licence: str = ""
    cases: tuple[Case, ...]


def read_case_file(path: Path) -> CaseFile:
    """The cases of a file.

    Raises:
        EvaluationError: The file is missing, is no such JSON, or two cases share an id.
    """
    try:
        found = CaseFile.model_validate_json(json.dumps(read_json(read_text(path))))
    except OSError as error:
        raise EvaluationError(
            f"--tasks {path}: {error.strerror}; the shipped cases are configs/test_cases.json"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise EvaluationError(f"--tasks {path}: {where}: {first['msg']}; see configs/test_cases.json") from error
    except ValueError as error:
        raise EvaluationError(f"--tasks {path}: {error}; see configs/test_cases.json") from error
    ids = [case.id for case in found.cases]
    doubled = next((case for case in ids if ids.count(case) > 1), None)
    if doubled:
        raise EvaluationError(f"--tasks {path}: two cases are called {doubled!r}")
    return found


def read_task_file(path: Path, specs: Sequence[ToolSpec]) -> list[Task]:
    """The cases of a file as Tasks.

    Raises:
        EvaluationError: A case names a tool that the recipe does not have.
    """
    known = {spec.name: spec for spec in specs}
    tasks = []
    for case in read_case_file(path).cases:
        wanted = case.tools or tuple(known)
        absent = [name for name in {*wanted, *(call.name for call in case.calls)} if name not in known]
        if absent:
            raise EvaluationError(
                f"--tasks {path}: case {case.id!r} needs {absent[0]!r}; the recipe has {', '.join(known)}"
            )
        tasks.append(
            Task.build(
                "cases",
                (Message(role="user", content=case.prompt),),
                tuple(known[name] for name in wanted),
                kind=case.kind,
                expected=Expected(
                    calls=case.calls,
                    answer=case.answer,
                    tolerance=case.tolerance,
                    check_calls=case.check_calls,
                    rule=case.rule,
                ),
                origin=f"{path.name}:{case.id}",
            )
        )
    return tasks
