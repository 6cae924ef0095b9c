"""A dialect and the tools at hand -> proof, on the real tokenizer, of what training relies on.

An easy example proves little: each tool of the recipe is rendered and searched for in the prompt, and a call of it,
with values of its own schema, is rendered and read back.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rayplay.dialects.dialect import Dialect
from rayplay.dialects.samples import sample_arguments, shape_of, words_of
from rayplay.errors import ModelError
from rayplay.records import Demonstration, Message, Task, ToolCall, ToolSpec
from rayplay.sandbox.hygiene import is_ordinary

PROBED = {
    "probe_key": ("string", 'probe "value", 3'),
    "probe_digits": ("string", "3"),
    "probe_number": ("integer", 3),
    "probe_share": ("number", 0.25),
    "probe_flag": ("boolean", True),
    "probe_list": ("array", [1, "two"]),
    "probe_object": ("object", {"inner": "3", "flag": False}),
}
USER = Message(role="user", content="probe request")
CALL = ToolCall(call_id="probe", name="probe_tool", arguments={name: value for name, (_, value) in PROBED.items()})
SPEC = ToolSpec(
    name="probe_tool",
    description="probe description",
    parameters={"type": "object", "properties": {name: {"type": kind} for name, (kind, _) in PROBED.items()}},
)
RESULT = "probe result"


def probe(dialect: Dialect, tools: Sequence[ToolSpec] = ()) -> None:
    """Prove what training relies on, with an example of our own and with every one of `tools`.

    Raises:
        ModelError: The template drops tools or results, a rendered call does not parse back, the next prompt does not
            extend what was sampled, a token of the tokenizer's own inside a tool result stays one, or a tool cannot be
            shown or called in this family's syntax; that tool is named.
    """
    _probe_calls(dialect)
    _probe_results(dialect)
    _probe_neutralising(dialect)
    for tool in tools:
        probe_tool(dialect, tool)


def probe_tool(dialect: Dialect, tool: ToolSpec) -> None:
    """Prove that a model of this dialect is shown all of a tool and can call it.

    Raises:
        ModelError: It is not, or cannot.
    """
    without = dialect.tokenizer.decode(dialect.render([USER], []))
    try:
        shown = dialect.tokenizer.decode(dialect.render([USER], [tool]))
    except ModelError as error:
        raise ModelError(f"tool {tool.name!r}: {error}; correct its schema, or leave the tool out") from error
    for word in (tool.name, *words_of(tool.parameters)):
        _require(
            shown.count(word) > without.count(word),
            f"tool {tool.name!r}: this model's chat template does not show {word[:60]!r} of it",
            "rename it, or leave the tool out",
        )
    arguments = sample_arguments(tool.parameters)
    call = ToolCall(call_id="probe", name=tool.name, arguments=arguments)
    found = reads_back(dialect, call, tool)
    _require(
        found == [(tool.name, arguments, None)],
        f"tool {tool.name!r}: a call of it in this model's syntax does not read back: {str(found)[:300]}",
        "rename the tool or its arguments to letters, digits and _, or leave it out",
    )


class Speakable:
    """Whether a record's tools can be shown and called in a dialect; what cannot is counted by its reason.

    Data sets bring tools by the ten thousand: those that are alike in what templates and readers stumble over (types,
    and characters of names) share one proof.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.left_out: Counter[str] = Counter()
        self._problems: dict[tuple, str] = {}

    def __call__(self, record: Task | Demonstration) -> bool:
        """False, and counted, where one of the record's tools cannot."""
        problem = next(filter(None, map(self.problem_of, record.tools)), "")
        self.left_out.update([problem] if problem else [])
        return not problem

    def problem_of(self, tool: ToolSpec) -> str:
        """Why not, with the name of the first tool that was so; "" where it can."""
        shape = shape_of(tool)
        if shape not in self._problems:
            try:
                probe_tool(self.dialect, tool)
                self._problems[shape] = ""
            except ModelError as error:
                self._problems[shape] = str(error)
        return self._problems[shape]


def reads_back(dialect: Dialect, call: ToolCall, spec: ToolSpec) -> list[tuple[str, dict[str, Any], Any]]:
    """What is read of a call that the template rendered, as (name, arguments, problem)."""
    prompt = dialect.render([USER], [spec])
    ids, mask = dialect.supervise([USER, Message(role="assistant", tool_calls=(call,))], [spec])
    start = mask.index(1) if 1 in mask else len(ids)
    _, calls = dialect.parse(prompt, ids[start:], "probe", [spec])
    return [(c.name, c.arguments, c.problem) for c in calls]


def _probe_calls(dialect: Dialect) -> None:
    prompt = dialect.render([USER], [SPEC])
    _require("probe_tool" in dialect.tokenizer.decode(prompt), "the chat template does not render tools")
    whole, _ = dialect.supervise([USER, Message(role="assistant", tool_calls=(CALL,))], [SPEC])
    _require(whole[: len(prompt)] == prompt, "a rendered call does not extend its prompt")
    for call, spec in ((CALL, SPEC), _bare()):
        found = reads_back(dialect, call, spec)
        _require(
            found == [(call.name, call.arguments, None)],
            f"a call rendered by the template does not parse back: {found}",
        )


def _bare() -> tuple[ToolCall, ToolSpec]:
    """A tool without parameters."""
    return CALL.model_copy(update={"arguments": {}}), SPEC.model_copy(
        update={"parameters": {"type": "object", "properties": {}}}
    )


def _probe_results(dialect: Dialect) -> None:
    spoken = Message(role="assistant", tool_calls=(CALL,))
    suffix = dialect.results_suffix((CALL,), [RESULT])
    _require(RESULT in dialect.tokenizer.decode(suffix), "the chat template drops tool results")
    answer = Message(role="tool", content=RESULT, name="probe_tool", tool_call_id="probe")
    sampled, _ = dialect.supervise([USER, spoken], [SPEC])
    followed = [*sampled, *dialect.results_suffix((CALL,), [RESULT], sampled)]
    rendered = dialect.render([USER, spoken, answer], [SPEC])
    # what was sampled may be parted into other tokens than the template's text, never be another text
    same = followed == rendered or dialect.tokenizer.decode(followed) == dialect.tokenizer.decode(rendered)
    _require(same, "the prompt after a tool result is not what the chat template renders")


def _probe_neutralising(dialect: Dialect) -> None:
    """Every token of the tokenizer's own, one by one and then all together in a rendered result."""
    own = {i: t.content for i, t in dialect.tokenizer.added_tokens_decoder.items() if not is_ordinary(t.content)}
    special = set(dialect.tokenizer.all_special_ids)
    for number, text in own.items():
        ids = dialect.tokenizer(dialect.neutralise(f"a{text}b {text}"), add_special_tokens=False)["input_ids"]
        _require(number not in ids, f"the token {text!r} inside a tool result stays a token")
    hostile = "".join(own.values()) + "\n".join(own.values()) + RESULT
    suffix, clean = (dialect.results_suffix((CALL,), [text]) for text in (hostile, RESULT))
    counts = [sum(token in special or token in own for token in ids) for ids in (suffix, clean)]
    _require(counts[0] == counts[1], "special tokens inside a tool result stay special")


def _require(holds: bool, what: str, advice: str = "") -> None:
    if not holds:
        raise ModelError(f"{what}; {advice or 'choose another model, or name a vLLM tool parser in model.dialect'}")
