"""Names, tools and messages as data sets write them -> Demonstration, Tasks: the one place where rows are judged.

A source file only says who spoke; `Builder` makes names valid, fits values to schemas and checks the order of roles.
What does not pass raises `Rejected` with a reason of REASONS.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from rayplay.data.schemas import fit, literal, schema_of_parameters
from rayplay.records import Demonstration, Expected, ExpectedCall, Json, Message, Preference, Task, ToolCall, ToolSpec
from rayplay.toolbox import check_arguments

MAX_CONTENT_CHARS = 200_000
MAX_TOOLS = 128
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")

REASONS: dict[str, str] = {
    "broken_json": "the line or element is no JSON, or nested too deeply",
    "not_utf8": "the line is not UTF-8 text",
    "too_large": "the row is larger than the limit",
    "wrong_format": "the row does not have the fields of this format",
    "empty": "there is no message in the row",
    "broken_tools": "the tool definitions cannot be read",
    "broken_call": "a call cannot be read",
    "unknown_tool": "a call names a tool that the row does not define",
    "bad_arguments": "the arguments of a call violate the tool's schema",
    "roles_out_of_order": "messages come in an order that no conversation has",
    "duplicate_id": "another row of the file has the same id",
    "no_winning_path": "the answer tree has no path that ends in an answer",
    "no_final_answer": "the trace does not end in an answer",
    "unresolved_reference": "a value refers to the result of a call that does not exist",
    "call_as_text": "a call stands in the text of a message, without its result",
    "same_response": "chosen and rejected are the same",
    "unreadable_file": "the file cannot be opened or is damaged",
}


class Rejected(Exception):
    """A row that cannot be used: a reason of REASONS, and what was seen."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail[:300].encode("utf-8", "replace").decode()  # half a surrogate pair cannot be printed


class Toolset:
    """The tools of one row, found by the name in the data or by the valid one.

    Attributes:
        specs: Tools with valid names, in the order of the data; names taken twice get a number.
    """

    def __init__(self, definitions: Iterable[Any]) -> None:
        self.specs: list[ToolSpec] = []
        self._by_name: dict[str, ToolSpec] = {}
        for raw in definitions:
            self.add(raw)

    def add(self, raw: Any) -> ToolSpec:
        """Read one definition in any of the public shapes.

        Raises:
            Rejected: It is not an object, has no name, or there are too many.
        """
        spec = raw if isinstance(raw, ToolSpec) else read_tool(raw)
        written = spec.original_name or spec.name
        if written in self._by_name:
            return self._by_name[written]
        if len(self.specs) >= MAX_TOOLS:
            raise Rejected("too_large", f"more than {MAX_TOOLS} tools")
        taken = {s.name for s in self.specs}
        name, n = spec.name, 2
        while name in taken:
            name, n = f"{spec.name[:60]}_{n}", n + 1
        if name != spec.name:
            spec = spec.model_copy(update={"name": name, "original_name": written})
        self.specs.append(spec)
        self._by_name[written] = spec
        self._by_name.setdefault(spec.name, spec)
        return spec

    def find(self, name: str) -> ToolSpec | None:
        """The tool of that written or valid name."""
        return self._by_name.get(name) or self._by_name.get(name.strip())


class Builder:
    """Collects one conversation and judges it.

    Args:
        tools: The row's tools.
        strict: Refuse values of the wrong JSON type instead of reading "3" as 3.
    """

    def __init__(self, tools: Toolset, strict: bool = False) -> None:
        self.tools = tools
        self.strict = strict
        self.messages: list[Message] = []
        self._pending: list[ToolCall] = []
        self._by_id: dict[str, ToolCall] = {}
        self._turn = 0

    def system(self, text: str) -> None:
        """The system message; only first."""
        if self.messages:
            raise Rejected("roles_out_of_order", "system message after others")
        if text.strip():
            self.messages.append(Message(role="system", content=text))

    def user(self, text: str) -> None:
        """What the user says. Refused after another user message or unanswered calls."""
        if self._pending:
            raise Rejected("roles_out_of_order", "user message while calls wait for results")
        if self.messages and self.messages[-1].role == "user":
            raise Rejected("roles_out_of_order", "two user messages in a row")
        self.messages.append(Message(role="user", content=text))

    def assistant(self, text: str, calls: Sequence[tuple[Any, Any]] = (), ids: Sequence[str] = ()) -> None:
        """What the assistant says, and the (name, arguments) that it calls with it; `ids` are the data's own."""
        if self._pending:
            raise Rejected("roles_out_of_order", "assistant message while calls wait for results")
        if not self.messages or self.messages[-1].role == "system":
            raise Rejected("roles_out_of_order", "the assistant speaks first")
        if self.messages[-1].role == "assistant":
            if self.messages[-1].tool_calls or not calls:
                raise Rejected("roles_out_of_order", "two assistant messages in a row")
            text = "\n".join(part for part in (self.messages.pop().content, text) if part)
        made = tuple(self._call(name, arguments, n) for n, (name, arguments) in enumerate(calls))
        if not made and not text.strip():
            raise Rejected("empty", "assistant message without text and calls")
        self._pending = list(made)
        self._by_id = dict(zip(ids, made, strict=False))
        self._turn += 1
        self.messages.append(Message(role="assistant", content=text, tool_calls=made))

    def result(self, text: Any, name: str = "", call_id: str = "") -> None:
        """The result of the call of that id, or of the oldest unanswered one (of that name, where one is given)."""
        if not self._pending:
            raise Rejected("roles_out_of_order", "a tool result that no call asked for")
        spec = self.tools.find(name) if name else None
        call = next((c for c in self._pending if spec and c.name == spec.name), self._pending[0])
        if call_id and self._by_id:
            call = self._by_id.get(call_id)
            if call not in self._pending:
                raise Rejected("roles_out_of_order", f"a tool result for call {call_id!r}, which waits for none")
        self._pending.remove(call)
        content = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
        self.messages.append(Message(role="tool", content=content, tool_call_id=call.call_id, name=call.name))

    def waiting(self) -> int:
        """How many calls of the last message have no result yet."""
        return len(self._pending)

    def trim(self) -> None:
        """Drop a tail that no assistant message follows (for sources whose dialogues break off)."""
        while self.messages and self.messages[-1].role != "assistant":
            self.messages.pop()
        if self._pending and self.messages and len(self._pending) < len(self.messages[-1].tool_calls):
            raise Rejected("roles_out_of_order", "some calls of a message have no result")
        self._pending = []

    def demonstration(self, source: str, row_id: str, **rest: Any) -> Demonstration:
        """The conversation, checked as a whole."""
        check_whole(self.messages)
        if self._pending and self._pending != list(self.messages[-1].tool_calls):
            raise Rejected("roles_out_of_order", "some calls of the last message have no result")
        return Demonstration(
            row_id=row_id, source=source, messages=tuple(self.messages), tools=tuple(self.tools.specs), **rest
        )

    def _call(self, name: Any, arguments: Any, n: int) -> ToolCall:
        if not isinstance(name, str) or not name.strip():
            raise Rejected("broken_call", f"no name in call {str(name)[:80]}")
        spec = self.tools.find(name)
        if spec is None:
            raise Rejected("unknown_tool", name)
        return ToolCall(
            call_id=f"call_{self._turn}_{n}", name=spec.name, arguments=checked(spec, arguments, self.strict)
        )


def checked(spec: ToolSpec, arguments: Any, strict: bool = False) -> Json:
    """Arguments as their schema wants them.

    Raises:
        Rejected: They are no object, or violate the schema.
    """
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            read = None if strict else literal(arguments)
            if not isinstance(read, dict):
                raise Rejected("broken_call", f"arguments of {spec.name} are no JSON: {arguments[:120]}") from None
            arguments = read
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise Rejected("bad_arguments", f"{spec.name}: arguments are a {type(arguments).__name__}, not an object")
    if not strict:
        required = spec.parameters.get("required", [])
        arguments = {k: v for k, v in arguments.items() if v is not None or k in required}
        arguments = fit(arguments, spec.parameters)
    problem = check_arguments(spec, arguments)
    if problem:
        raise Rejected("bad_arguments", f"{spec.name}: {problem}")
    return arguments


def check_whole(messages: Sequence[Message]) -> None:
    """Raise Rejected unless the messages hold a user's request and end with the assistant, within the size limit."""
    if not messages:
        raise Rejected("empty", "no messages")
    if messages[-1].role != "assistant":
        raise Rejected("roles_out_of_order", f"the last message is the {messages[-1].role}'s")
    if not any(m.role == "user" for m in messages):
        raise Rejected("roles_out_of_order", "no user message")
    size = sum(len(m.content) for m in messages)
    if size > MAX_CONTENT_CHARS:
        raise Rejected("too_large", f"{size} characters of messages; the limit is {MAX_CONTENT_CHARS}")


def read_tool(raw: Any) -> ToolSpec:
    """A tool definition in any of the public shapes (OpenAI, bare function, Seal-Tools, API-Bank, xLAM) -> ToolSpec."""
    if isinstance(raw, str):
        raw = _read_text(raw)
    if isinstance(raw, dict) and isinstance(raw.get("function"), dict):
        raw = raw["function"]
    if not isinstance(raw, dict):
        raise Rejected("broken_tools", f"a definition is a {type(raw).__name__}")
    name = next((raw[k] for k in ("name", "api_name", "Name", "apiName") if isinstance(raw.get(k), str)), "")
    if not name.strip():
        raise Rejected("broken_tools", "a definition has no name")
    described = next((raw[k] for k in ("description", "api_description", "desc") if isinstance(raw.get(k), str)), "")
    parameters = next((raw[k] for k in ("parameters", "input_parameters", "arguments", "inputSchema") if k in raw), {})
    required = raw.get("required") if isinstance(raw.get("required"), list) else None
    results = ("responses", "output_parameters", "returns", "results")
    result = next((raw[k] for k in results if isinstance(raw.get(k), dict)), {})
    valid = valid_name(name)
    return ToolSpec(
        name=valid,
        description=described,
        parameters=schema_of_parameters(parameters, required),
        original_name=name if valid != name else "",
        returns=schema_of_parameters(result) if result else {},
    )


def valid_name(name: str) -> str:
    """A name that every API accepts: letters, digits, `_`, `.`, `-`, at most 64, not starting with a digit."""
    if _NAME.fullmatch(name):
        return name
    clean = re.sub(r"[^A-Za-z0-9_.\-]+", "_", name.strip()).strip("_") or "tool"
    return (clean if not clean[0].isdigit() and clean[0] not in ".-" else f"_{clean}")[:64]


def read_tools(raw: Any) -> Toolset:
    """A list of definitions, or its JSON text, or a list of JSON texts -> Toolset."""
    if isinstance(raw, str):
        raw = _read_text(raw) if raw.strip() else []
    if isinstance(raw, dict):
        raw = [raw]
    if raw is None:
        raw = []
    if not isinstance(raw, list):
        raise Rejected("broken_tools", f"tools are a {type(raw).__name__}")
    return Toolset(raw)


def _read_text(text: str) -> Any:
    """Tool definitions that stand as JSON or Python text."""
    read = literal(text)
    if read is None and text.strip() not in ("null", "None"):
        raise Rejected("broken_tools", f"no JSON: {text[:120]}")
    return read


def tasks_of(demonstration: Demonstration) -> list[Task]:
    """One Task for each request of the user: the messages up to it, and all calls made before the next one."""
    tasks = []
    messages = demonstration.messages
    for i, message in enumerate(messages):
        if message.role != "user":
            continue
        rest = messages[i + 1 :]
        end = next((j for j, m in enumerate(rest) if m.role == "user"), len(rest))
        calls = [call for m in rest[:end] for call in m.tool_calls]
        expected = Expected(calls=tuple(ExpectedCall(name=c.name, arguments=c.arguments) for c in calls))
        tasks.append(
            Task(
                task_id=f"{demonstration.source}/{demonstration.row_id}/{len(tasks)}",
                source=demonstration.source,
                kind=("no_tool", "one_call")[len(calls)] if len(calls) < 2 else "many_calls",
                messages=messages[: i + 1],
                tools=demonstration.tools,
                expected=expected,
                licence=demonstration.licence,
                origin=demonstration.origin,
            )
        )
    return tasks


def preference(
    source: str, row_id: str, prompt: Builder, chosen: Sequence[Message], rejected: Sequence[Message], **rest: Any
) -> Preference:
    """A preference after the prompt's messages; refused where both sides are the same."""
    if [(m.content, _bare(m)) for m in chosen] == [(m.content, _bare(m)) for m in rejected]:
        raise Rejected("same_response", "chosen equals rejected")
    return Preference(
        row_id=row_id,
        source=source,
        prompt=tuple(prompt.messages),
        chosen=tuple(chosen),
        rejected=tuple(rejected),
        tools=tuple(prompt.tools.specs),
        **rest,
    )


def _bare(message: Message) -> list[tuple[str, Json]]:
    return [(c.name, c.arguments) for c in message.tool_calls]
