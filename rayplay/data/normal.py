"""Names, tools and messages as data sets write them -> Demonstration, Tasks: the one place where rows are judged.

A source file only says who spoke; `Builder` makes names valid, fits values to schemas and checks the order of roles.
What does not pass raises `Rejected` with a reason of REASONS.
"""

import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from rayplay.data.schemas import NAMING, fit, literal, schema_of_parameters, without_filled
from rayplay.dialects.xml_calls import typed
from rayplay.records import Demonstration, Expected, ExpectedCall, Json, Message, Preference, Task, ToolCall, ToolSpec
from rayplay.toolbox import check_arguments

MAX_CONTENT_CHARS = 200_000
MAX_TOOLS = 128
_MOST_WRAPPINGS = 2  # JSON text of JSON text is what careless exports write
_NAME_KEYS = ("name", "api_name", "Name", "apiName")
_PARAMETER_KEYS = (
    "parameters", "input_parameters", "arguments", "inputSchema", "input_schema", "parametersJsonSchema",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,63}")

REASONS: dict[str, str] = {
    "broken_json": "the line or element is no JSON, or nested too deeply",
    "broken_csv": "the line is no row of a CSV with that header",
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
    "call_as_text": "a call stands in the text of a message, where it cannot be told from what is said",
    "marked_bad": "its author marked the row as wrong, failed or not wanted",
    "not_text": "the row holds images, audio, video or files; only text can be learned here",
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
        repairs: What was left out to make the list usable.
    """

    def __init__(self, definitions: Iterable[Any]) -> None:
        self.specs: list[ToolSpec] = []
        self.repairs: set[str] = set()
        self._by_name: dict[str, list[ToolSpec]] = {}
        self._unsaid: set[str] = set()
        for raw in definitions:
            if _is_built_in(raw):
                self.repairs.add("built_in_tool_left_out")
            else:
                self.add(raw)

    def add(self, raw: Any) -> ToolSpec:
        """Read one definition in any of the public shapes.

        Raises:
            Rejected: It is not an object, has no name, or there are too many.
        """
        spec = raw if isinstance(raw, ToolSpec) else read_tool(raw)
        written = spec.original_name or spec.name
        for known in self._by_name.get(written, ()):
            if _defines(known) == _defines(spec):
                return known
        if len(self.specs) >= MAX_TOOLS:
            raise Rejected("too_large", f"more than {MAX_TOOLS} tools")
        taken = {s.name for s in self.specs}
        name, n = spec.name, 2
        while name in taken:
            name, n = f"{spec.name[:60]}_{n}", n + 1
        if name != spec.name:
            spec = spec.model_copy(update={"name": name, "original_name": written})
        if not isinstance(raw, ToolSpec) and _says_nothing(_parameters_of(_function_of(raw))):
            self._unsaid.add(spec.name)
        self.specs.append(spec)
        for key in dict.fromkeys((written, spec.name)):
            self._by_name.setdefault(key, []).append(spec)
        return spec

    def opened(self, spec: ToolSpec) -> ToolSpec | None:
        """The same tool taking any argument from now on, where its definition has no word of what it takes; else None.

        `{"type": "object"}` is what free-form tools and those without parameters both write: a call with arguments
        tells which it is.
        """
        if spec.name not in self._unsaid:
            return None
        self._unsaid.remove(spec.name)
        wide = spec.model_copy(update={"parameters": {**spec.parameters, "additionalProperties": True}})
        for found in (self.specs, *self._by_name.values()):
            found[:] = [wide if known is spec else known for known in found]
        return wide

    def find(self, name: str) -> ToolSpec | None:
        """The tool of that written or valid name; the first where the data define several."""
        return next(iter(self.all_of(name)), None)

    def all_of(self, name: str) -> Sequence[ToolSpec]:
        """Every tool of that written or valid name."""
        bare = name.strip()
        return next(
            (found for key in (name, bare, bare.removeprefix("functions.")) if (found := self._by_name.get(key))), ()
        )


class Builder:
    """Collects one conversation and judges it.

    Args:
        tools: The row's tools.
        strict: Refuse values of the wrong JSON type instead of reading "3" as 3.

    Attributes:
        repairs: What was changed to make the conversation usable.
    """

    def __init__(self, tools: Toolset, strict: bool = False) -> None:
        self.tools = tools
        self.strict = strict
        self.messages: list[Message] = []
        self.repairs: set[str] = set(tools.repairs)
        self._pending: list[ToolCall] = []
        self._by_id: dict[str, ToolCall] = {}
        self._turn = 0

    def copy(self) -> "Builder":
        """Another builder that goes on from here, of the same tools."""
        other = Builder(self.tools, self.strict)
        other.messages, other.repairs = list(self.messages), set(self.repairs)
        other._pending, other._by_id, other._turn = list(self._pending), dict(self._by_id), self._turn
        return other

    def system(self, text: str) -> None:
        """The system message; only first. A second one is joined to it."""
        if not text.strip():
            return
        if self.messages and self.messages[-1].role == "system":
            text = self._joined(text)
        elif self.messages:
            raise Rejected("roles_out_of_order", "system message after others")
        self.messages.append(Message(role="system", content=text))

    def user(self, text: str) -> None:
        """What the user says; joined to the user's message before it. Refused after unanswered calls."""
        if self._pending:
            raise Rejected("roles_out_of_order", "user message while calls wait for results")
        if self.messages and self.messages[-1].role == "user":
            text = self._joined(text)
        self.messages.append(Message(role="user", content=text))

    def assistant(
        self, text: str, calls: Sequence[tuple[Any, Any]] = (), ids: Sequence[str] = (), loss: bool = True
    ) -> None:
        """What the assistant says, and the (name, arguments) that it calls with it.

        A message that follows another of the assistant is joined to it: further text, or further parallel calls.

        Args:
            text: What is said.
            calls: (name, arguments); arguments of kind `TextArguments` are read by the tool's schema.
            ids: The data's own ids of the calls, as many as there are calls.
            loss: False where the message's author excluded it from training.
        """
        if not self.messages or self.messages[-1].role == "system":
            raise Rejected("roles_out_of_order", "the assistant speaks first")
        made = tuple(self._call(name, arguments, n) for n, (name, arguments) in enumerate(calls))
        if not made and not text.strip():
            raise Rejected("empty", "assistant message without text and calls")
        if self._pending and (text.strip() or not made):
            raise Rejected("roles_out_of_order", "assistant message while calls wait for results")
        if self._pending and len(self._pending) < len(self.messages[-1].tool_calls):
            raise Rejected("roles_out_of_order", "further calls while some wait for results")
        earlier: tuple[ToolCall, ...] = ()
        if self.messages[-1].role == "assistant":
            earlier, loss = self.messages[-1].tool_calls, loss and self.messages[-1].loss
            text = self._joined(text)
        self._pending = [*earlier, *made]
        known = self._by_id if earlier else {}
        self._by_id = {**known, **(dict(zip(ids, made, strict=False)) if len(set(ids)) == len(made) else {})}
        self._turn += 1
        self.messages.append(Message(role="assistant", content=text, tool_calls=(*earlier, *made), loss=loss))

    def result(self, text: Any, name: str = "", call_id: str = "") -> None:
        """The result of the call of that id, or of the oldest unanswered one (of that name, where one is given)."""
        if not self._pending:
            raise Rejected("roles_out_of_order", "a tool result that no call asked for")
        named = {spec.name for spec in self.tools.all_of(name)} if name else set()
        call = next((c for c in self._pending if c.name in named), self._pending[0])
        if call_id and self._by_id:
            call = self._by_id.get(call_id)
            if call not in self._pending:
                raise Rejected("roles_out_of_order", f"a tool result for call {call_id!r}, which waits for none")
        self._pending.remove(call)
        content = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
        self.messages.append(Message(role="tool", content=content, tool_call_id=call.call_id, name=call.name))

    def _joined(self, text: str) -> str:
        """The last message taken back, its text with `text` under it."""
        before = self.messages.pop().content
        if before and text:
            self.repairs.add("messages_joined")
        return "\n".join(part for part in (before, text) if part)

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
        specs = self.tools.all_of(name)
        if not specs:
            raise Rejected("unknown_tool", name)
        spec, held = self._accepting(specs, arguments)
        return ToolCall(call_id=f"call_{self._turn}_{n}", name=spec.name, arguments=held)

    def _accepting(self, specs: Sequence[ToolSpec], arguments: Any) -> tuple[ToolSpec, Json]:
        """The first of several tools of one name whose schema accepts the arguments, and these as it wants them."""
        for spec in specs[:-1]:
            with contextlib.suppress(Rejected):
                return spec, checked(spec, arguments, self.strict)
        try:
            return specs[-1], checked(specs[-1], arguments, self.strict)
        except Rejected:
            wide = self.tools.opened(specs[-1])
            if wide is None:
                raise
        return wide, checked(wide, arguments, self.strict)


class TextArguments(dict[str, str]):
    """Arguments whose values stand as bare text, as XML-like syntaxes write them: their schema says what they are."""

    def read(self, schema: Json) -> Json:
        """The values that the texts stand for, by an object's schema."""
        known = schema.get("properties", {})
        return {name: typed(text, known.get(name, {}), schema) for name, text in self.items()}


def checked(spec: ToolSpec, arguments: Any, strict: bool = False) -> Json:
    """Arguments as their schema wants them.

    Raises:
        Rejected: They are no object, or violate the schema.
    """
    if isinstance(arguments, TextArguments):
        arguments = arguments.read(spec.parameters)
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
            arguments = json.loads(arguments) if isinstance(arguments, str) else arguments  # written twice as JSON
        except (ValueError, RecursionError):
            read = None if strict else literal(str(arguments))
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
        arguments = without_filled(arguments, spec.parameters)
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
    raw = _function_of(raw)
    if not isinstance(raw, dict):
        raise Rejected("broken_tools", f"a definition is a {type(raw).__name__}")
    name = next((raw[k] for k in _NAME_KEYS if isinstance(raw.get(k), str)), "")
    if not name.strip():
        raise Rejected("broken_tools", "a definition has no name")
    described = next((raw[k] for k in ("description", "api_description", "desc") if isinstance(raw.get(k), str)), "")
    parameters = _parameters_of(raw)
    required = raw.get("required") if isinstance(raw.get("required"), list) else None
    results = ("responses", "output_parameters", "returns", "results")
    result = next((raw[k] for k in results if isinstance(raw.get(k), dict)), {})
    valid = valid_name(name)
    try:
        takes, returns = schema_of_parameters(parameters, required), schema_of_parameters(result) if result else {}
    except ValueError as error:
        raise Rejected("broken_tools", f"the schema of {valid}: {error}") from None
    return ToolSpec(
        name=valid,
        description=described,
        parameters=takes,
        original_name=name if valid != name else "",
        returns=returns,
    )


def _function_of(raw: Any) -> Any:
    """A definition without its wrapping, and out of its JSON text."""
    if isinstance(raw, str):
        raw = _read_text(raw)
    if isinstance(raw, dict) and isinstance(raw.get("function"), dict | str):
        raw = raw["function"] if isinstance(raw["function"], dict) else _read_text(raw["function"])
    return raw


def _parameters_of(raw: Json) -> Any:
    parameters = next((raw[k] for k in _PARAMETER_KEYS if raw.get(k) is not None), {})
    if isinstance(parameters, str):
        return _read_text(parameters) if parameters.strip() else {}
    return parameters


def _says_nothing(parameters: Any) -> bool:
    """Whether parameters are an object without a word of what it holds."""
    if not isinstance(parameters, dict) or str(parameters.get("type")).lower() not in ("object", "dict"):
        return False
    return not (NAMING | {"properties", "additionalProperties"}) & set(parameters)


def _is_built_in(raw: Any) -> bool:
    """`{"type": "code_interpreter"}`, `{"google_search": {}}`: a service of an API, which has no definition."""
    if not isinstance(raw, dict) or raw.get("function"):
        return False
    kind = raw.get("type")
    if any(isinstance(raw.get(k), str) for k in _NAME_KEYS):
        described = any(raw.get(k) is not None for k in (*_PARAMETER_KEYS, "description"))
        return isinstance(kind, str) and kind not in ("function", "custom", "object", "tool") and not described
    if isinstance(kind, str):
        return kind != "function"
    return len(raw) == 1 and isinstance(next(iter(raw.values())), dict)


def _defines(spec: ToolSpec) -> tuple[str, Json]:
    return spec.description, spec.parameters


def valid_name(name: str) -> str:
    """A name that every API accepts: letters, digits, `_`, `.`, `-`, at most 64, not starting with a digit."""
    if _NAME.fullmatch(name):
        return name
    clean = re.sub(r"[^A-Za-z0-9_.\-]+", "_", name.strip()).strip("_") or "tool"
    return (clean if not clean[0].isdigit() and clean[0] not in ".-" else f"_{clean}")[:64]


def read_tools(raw: Any) -> Toolset:
    """A list of definitions, or its JSON text, or a list of JSON texts -> Toolset."""
    for _ in range(_MOST_WRAPPINGS):
        if isinstance(raw, str):
            raw = _read_text(raw) if raw.strip() else []
    if isinstance(raw, dict):
        raw = _named(raw) or [raw]
    if raw is None:
        raw = []
    if not isinstance(raw, list):
        raise Rejected("broken_tools", f"tools are a {type(raw).__name__}")
    return Toolset(tool for item in raw for tool in _declared(item))


def _named(raw: Json) -> list[Json]:
    """A mapping of names to definitions as a list; [] where it is a definition itself."""
    if any(k in raw for k in (*_NAME_KEYS, "function", "type")) or not all(isinstance(v, dict) for v in raw.values()):
        return []
    if not any(k in v for v in raw.values() for k in (*_PARAMETER_KEYS, "description")):
        return []
    return [{"name": name, **definition} for name, definition in raw.items()]


def _declared(item: Any) -> list[Any]:
    """The definitions of one entry: Gemini lists several under `functionDeclarations`."""
    found = [item[k] for k in ("functionDeclarations", "function_declarations") if has_list(item, k)]
    return found[0] if found else [item]


def has_list(value: Any, key: str) -> bool:
    """Whether `value` is an object with a list under that key."""
    return isinstance(value, dict) and isinstance(value.get(key), list)


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
        is_right = all(m.loss for m in rest[:end])  # what its author excluded is nothing to expect
        held = tuple(ExpectedCall(name=c.name, arguments=c.arguments) for c in calls if is_right)
        tasks.append(
            Task(
                task_id=f"{demonstration.source}/{demonstration.row_id}/{len(tasks)}",
                source=demonstration.source,
                kind=_kind(len(calls)) if is_right else "open",
                messages=messages[: i + 1],
                tools=demonstration.tools,
                expected=Expected(calls=held, check_calls=is_right),
                licence=demonstration.licence,
                origin=demonstration.origin,
            )
        )
    return tasks


def _kind(calls: int) -> str:
    return ("no_tool", "one_call")[calls] if calls < 2 else "many_calls"


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
