"""Questions of the Berkeley leaderboard, with its answers in `possible_answer/` beside them -> Tasks.

A possible answer lists the right values of each argument; "" among them says that it may be left out. Questions of
irrelevance expect no call. Questions of several turns are played by `rayplay evaluate --bfcl`, and are no rows here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rayplay.data.conversation import read_conversation
from rayplay.data.normal import Rejected, Toolset, read_tools
from rayplay.data.reading import RawRow, rows_of
from rayplay.data.source import Context, Source, Usable, has, row_id
from rayplay.data.syntaxes import python_calls
from rayplay.records import Expected, ExpectedCall, Json, Task
from rayplay.values import pointer

ANSWERS = "possible_answer"


def matches(value: Any) -> bool:
    """A question of turns, and functions."""
    return has(value, question=list, function=(list, dict)) and all(isinstance(t, list) for t in value["question"])


def is_answers(path: Path) -> bool:
    """Whether a file holds answers, not questions."""
    return path.parent.name == ANSWERS


def prepare(files: Sequence[Path], options: Json) -> dict[str, list[Any]]:
    """Possible answers by the id of their question."""
    rows = (row.value for file in files if is_answers(file) for row in rows_of(file) if not row.problem)
    return {value["id"]: value["ground_truth"] for value in rows if has(value, id=str, ground_truth=list)}


def read(row: RawRow, context: Context) -> Usable:
    """One question of one turn."""
    value = row.value
    if not matches(value):
        raise Rejected("wrong_format", "no question of turns with functions")
    if len(value["question"]) != 1:
        raise Rejected("wrong_format", f"a question of {len(value['question'])} turns; run it by evaluate --bfcl")
    tools = read_tools(value["function"])
    builder = read_conversation(value["question"][0], tools, strict=True)
    if not builder.messages or builder.messages[-1].role != "user":
        raise Rejected("roles_out_of_order", "the question does not end with what the user asks")
    truth = (context.support or {}).get(value.get("id"), value.get("ground_truth"))
    expected = _expected(truth, tools, str(value.get("id", "")))
    kind = "open" if not expected.check_calls else ("no_tool", "one_call")[min(len(expected.calls), 1)]
    task = Task(
        task_id=f"{context.source}/{row_id(row)}",
        source=context.source,
        kind="many_calls" if len(expected.calls) > 1 else kind,
        messages=tuple(builder.messages),
        tools=tuple(tools.specs),
        expected=expected,
        **context.about(row),
    )
    return Usable(tasks=(task,), repairs=tuple(sorted(builder.repairs)))


def _expected(truth: Any, tools: Toolset, question: str) -> Expected:
    """The calls of a possible answer, by BFCL's own rule; nothing is known of a question without one."""
    if truth is None:
        return Expected(check_calls="irrelevance" in question, rule="official")
    if isinstance(truth, list) and truth and all(isinstance(call, str) for call in truth):  # `f(a=1)` each
        made = python_calls("\n".join(truth)) or []
        truth = [{name: {key: [value] for key, value in arguments.items()}} for name, arguments in made]
    if not isinstance(truth, list) or not all(isinstance(call, dict) and len(call) == 1 for call in truth):
        raise Rejected("broken_call", f"a possible answer is {str(truth)[:120]}")
    return Expected(calls=tuple(_call(*next(iter(call.items())), tools) for call in truth), rule="official")


def _call(name: str, values: Any, tools: Toolset) -> ExpectedCall:
    spec = tools.find(name)
    if spec is None:
        raise Rejected("unknown_tool", name)
    if not isinstance(values, dict) or not all(isinstance(listed, list) for listed in values.values()):
        raise Rejected("broken_call", f"the arguments of {name} are {str(values)[:120]}")
    forms = _Forms({}, [])
    arguments = {}
    for key, listed in values.items():
        is_left_out, value = forms.add(pointer(key), listed)
        if not (is_left_out and key not in spec.parameters.get("required", [])):
            arguments[key] = value
    return ExpectedCall(name=spec.name, arguments=arguments, accepted=forms.accepted, optional=tuple(forms.optional))


class _Forms(NamedTuple):
    """The right values of every place of a call, and the places that may be absent."""

    accepted: dict[str, tuple[Any, ...]]
    optional: list[str]

    def add(self, place: str, listed: Sequence[Any]) -> tuple[bool, Any]:
        """Note what is right at a place -> (whether it may be left out, its first right value)."""
        right = [value for value in listed if value != ""] or list(listed)
        is_left_out = "" in listed
        if is_left_out:
            self.optional.append(place)
        others = [_first_of_each(value) for value in right]
        if len(others) > 1 or is_left_out:
            self.accepted[place] = tuple(others)
        return is_left_out, self._inside(place, right[0]) if right else ""

    def _inside(self, place: str, value: Any) -> Any:
        """A value whose objects list the right values of each of their fields, with the first of each."""
        if isinstance(value, list):
            return [self._inside(f"{place}/{n}", item) for n, item in enumerate(value)]
        if not isinstance(value, dict):
            return value
        made = {}
        for key, listed in value.items():
            if not isinstance(listed, list):
                made[key] = listed
                continue
            is_left_out, first = self.add(f"{place}{pointer(key)}", listed)
            if not is_left_out:
                made[key] = first
        return made


def _first_of_each(value: Any) -> Any:
    return _Forms({}, [])._inside("", value)


SOURCE = Source("bfcl", matches, read, gives="tasks", is_support=is_answers, prepare=prepare)
