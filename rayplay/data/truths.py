"""What a row says is right, under any of the usual names -> Expected: calls, or an answer in one form or several."""

import re
from typing import Any

from rayplay.data.calltext import calls_of
from rayplay.data.normal import Rejected, Toolset, checked
from rayplay.data.schemas import literal
from rayplay.data.syntaxes import marked_calls
from rayplay.records import Expected, ExpectedCall, Json

_NAMES = (
    "solution", "answer", "ground_truth", "final_answer", "golden_answers", "gold_answer", "expected_answer", "target",
    "answers", "expected_calls", "expected_tool_calls",
)  # fmt: skip
_WHOLE = ("solution", "answer", "final_answer")
_FINAL = re.compile(r"####\s*([^\n]+)\s*\Z")  # how GSM8K ends its solutions
_BOXED = re.compile(r"\\boxed\{([^{}]+)\}")


def truth_in(value: Json) -> Any:
    """The field of a row that says what is right; None where there is none."""
    judged = value.get("reward_model")
    held = judged.get("ground_truth") if isinstance(judged, dict) else None
    if held is None:
        held = next((value[name] for name in _NAMES if value.get(name) not in (None, "", [])), None)
    if isinstance(held, dict) and set(held) & {"target", "answer", "answers"}:
        held = next(held[key] for key in ("target", "answer", "answers") if key in held)
    return held


def expected_of(value: Json, tools: Toolset) -> Expected:
    """What a right episode of a row does; anything will do where the row says nothing.

    Calls of the row's own tools are expected as such. A list under a singular name (`answer`) is an answer in parts,
    under a plural one (`golden_answers`) or as a ground truth it is one answer in several forms. A solution ends with
    its answer where it says `#### 72` or `\\boxed{72}`.

    Raises:
        Rejected: Expected calls do not fit their schema.
    """
    truth = truth_in(value)
    calls = calls_said(truth, tools)
    if calls:
        return Expected(calls=tuple(calls))
    forms = tuple(dict.fromkeys(filter(None, map(_plain, truth if isinstance(truth, list) else [truth]))))
    answer = forms if len(forms) < 2 or _is_whole(value) else (forms,)
    return Expected(answer=answer, check_calls=False)


def _is_whole(value: Json) -> bool:
    """Whether a list of answers is one answer in parts, not one in several forms: it stands under a singular name."""
    return any(isinstance(value.get(name), list) for name in _WHOLE)


def calls_said(truth: Any, tools: Toolset) -> list[ExpectedCall]:
    """The calls that a truth consists of, as objects, JSON text or marked text; [] where it is something else."""
    if isinstance(truth, str) and "<" in truth:
        _, marked = marked_calls(truth)
        found = marked
    else:
        read = literal(truth) if isinstance(truth, str) else truth
        items = read if isinstance(read, list) else [read]
        if not items or not all(isinstance(item, dict) for item in items):
            return []
        try:
            found = calls_of(items)
        except Rejected:
            return []
    made = []
    for name, arguments in found:
        spec = tools.find(name) if isinstance(name, str) else None
        if spec is None:
            return []
        made.append(ExpectedCall(name=spec.name, arguments=checked(spec, arguments)))
    return made


def _plain(answer: Any) -> str:
    """An answer as the text to look for; "" where it is none."""
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        return ""
    text = str(answer).strip()
    ending = _FINAL.search(text)
    boxed = _BOXED.findall(text)
    return ending[1].strip() if ending else boxed[-1].strip() if boxed else text
