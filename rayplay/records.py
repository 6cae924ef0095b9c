"""The nouns: Task, Message, ToolCall, ToolResult, Turn, Trajectory, Pair, Demonstration, Preference, Adapter.

Frozen, and the same after a trip through JSON or pickle. Ids are addresses, not counters of arrival: whoever knows a
task, a round and a sample number can name the record and derive its seed: no result depends on who came first.
"""

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Json = dict[str, Any]
Rule = Literal["official", "plain", "exact"]  # of what counts where expected and made calls are compared
DEFAULT_RULE: Rule = "plain"
Pointer = Annotated[str, Field(pattern=r"^/")]  # RFC 6901


class Record(BaseModel):
    """A frozen value; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Status(StrEnum):
    """How a tool call ended. No text that a tool printed decides it; `sandbox.verdict` tells who reports which."""

    OK = "ok"
    INVALID_JSON = "invalid_json"
    UNKNOWN_TOOL = "unknown_tool"
    BAD_ARGUMENTS = "bad_arguments"
    TOOL_ERROR = "tool_error"
    TIMEOUT = "timeout"
    OUTPUT_LIMIT = "output_limit"
    CRASHED = "crashed"
    UNAVAILABLE = "unavailable"  # our fault; never counts against the model


class StopReason(StrEnum):
    """Why an episode ended."""

    ANSWERED = "answered"
    TURN_LIMIT = "turn_limit"
    CALL_LIMIT = "call_limit"
    TOKEN_LIMIT = "token_limit"
    TIME_LIMIT = "time_limit"
    PROMPT_TOO_LONG = "prompt_too_long"
    UNAVAILABLE = "unavailable"


class ToolSpec(Record):
    """What a model and an executor must know of one tool: its schema, and where and how it may run."""

    name: str
    description: str = ""
    parameters: Json = Field(default_factory=lambda: {"type": "object", "properties": {}})
    module: str = ""  # the import name of the file that implements it; "" = no implementation here
    toolset: str = ""  # the class whose method this is, for stateful tools
    idempotent: bool = True
    deadline_s: float = 5.0
    memory_mb: int = 512
    needs: tuple[str, ...] = ()  # of "network", "files": must be allowed by the recipe
    pure: bool = False  # fixed code over plain data, no state: calls may share one confined child, in turn
    original_name: str = ""  # the name in the data, where it was no valid one
    returns: Json = Field(default_factory=dict)  # JSON schema of the result, where a source declares it

    def as_function(self) -> Json:
        """The OpenAI-style definition that chat templates render."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": self.parameters},
        }


class ToolCall(Record):
    """One call as the model wrote it. `problem` is set where it could not even be read."""

    call_id: str
    name: str = ""
    arguments: Json = Field(default_factory=dict)
    raw: str = ""
    problem: Status | None = None


class ToolResult(Record):
    """What the parent process saw of one call. `text` is what the model will read."""

    call_id: str
    name: str = ""
    status: Status
    text: str = ""
    seconds: float = 0.0
    level: str = ""  # the isolation level in force, "L0".."L4"
    state: str | None = None  # JSON of a stateful toolset after the call
    simulated: bool = False


class Message(Record):
    """A chat message. Tool messages carry the id and name of the call that they answer."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""
    loss: bool = True  # False: its author excluded it from the loss, so it is context and never imitated


class ExpectedCall(Record):
    """A call that should be made.

    An argument is right as it stands in `arguments`, or as one of its `alternatives`; a null among these says that it
    may be left out, as its name in `optional` does. `accepted` lists more right values of any place by JSON pointer
    (RFC 6901): {"/filter/unit": ["km", "m"]}, and here a null is a value. `optional` takes such pointers too, for
    fields of objects that may be absent.
    """

    name: str
    arguments: Json = Field(default_factory=dict)
    alternatives: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    accepted: dict[Pointer, tuple[Any, ...]] = Field(default_factory=dict)
    optional: tuple[str, ...] = ()


class Expected(Record):
    """What a right episode looks like: these calls (none = rightly no call), this answer, this end state.

    `answer` is compared as a number within `tolerance` where it reads as one, else as contained text; every entry of
    `answer` must be found, of an entry that is a list one is enough. Empty = any answer will do. `rule` says how
    arguments are compared (none: the recipe's, and "plain" where there is no recipe).
    """

    calls: tuple[ExpectedCall, ...] = ()
    answer: tuple[str | tuple[str, ...], ...] = ()
    tolerance: float = 1e-6  # relative
    end_state: Json | None = None
    check_calls: bool = True  # False: only the answer or the end state decides
    rule: Rule | None = None

    @property
    def answers(self) -> tuple[tuple[str, ...], ...]:
        """The entries of `answer`, each as the answers of which one is enough."""
        return tuple((entry,) if isinstance(entry, str) else entry for entry in self.answer)


class Task(Record):
    """Messages so far, the tools on offer, and what is expected."""

    task_id: str
    source: str
    kind: str = ""  # e.g. one_call, two_calls, choice, no_tool
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    expected: Expected = Expected()
    state: str | None = None  # initial JSON state of stateful toolsets
    licence: str = ""
    origin: str = ""  # row id, template or file and line it came from

    @classmethod
    def build(cls, source: str, messages: tuple[Message, ...], tools: tuple[ToolSpec, ...], **rest: Any) -> "Task":
        """A task whose id is the address of its content: equal content, equal id."""
        said = [m.model_dump(mode="json", exclude={"loss"}) for m in messages]
        content = [source, said, [t.as_function() for t in tools]]
        return cls(task_id=f"{source}-{digest(content)}", source=source, messages=messages, tools=tools, **rest)


class Demonstration(Record):
    """A whole conversation to imitate: every assistant message in it is right, but for those without loss."""

    row_id: str
    source: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    licence: str = ""
    origin: str = ""
    simulated: bool = False


class Turn(Record):
    """One assistant message: the slice `token_ids[start:end]` of its trajectory was sampled by the model."""

    start: int
    end: int
    content: str = ""
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    finish: str = "stop"  # "stop", or "length" where the model was cut off


class Preference(Record):
    """Two continuations of the same messages, one better, as text: what a data set holds before tokens and masks."""

    row_id: str
    source: str
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    reason: str = "dataset_preference"  # a value of Reason
    licence: str = ""
    origin: str = ""
    simulated: bool = False


class Trajectory(Record):
    """One sampled episode, exact to the token.

    `token_ids` (T,) is all that went through the engine, prompt first; `sampled_mask` (T,) is 1 where the model itself
    chose the token. Text is for people: nothing is tokenised again between sampling and training.
    """

    sample_id: str
    group: str
    task: Task
    policy: str  # version of the weights that sampled it
    seed: int
    prompt_length: int
    token_ids: tuple[int, ...]
    sampled_mask: tuple[int, ...]
    logprobs: tuple[float, ...] = ()  # (T,) where asked for; 0.0 where not sampled
    turns: tuple[Turn, ...] = ()
    stop_reason: StopReason
    seconds: float = 0.0
    end_state: str | None = None
    rewards: dict[str, float] = Field(default_factory=dict)  # by part
    reward: float = 0.0


class Reason(StrEnum):
    """Why the rejected side of a pair is worse, at the first divergent assistant decision."""

    NO_CALL = "no_call"
    SHOULD_NOT_CALL = "should_not_call"
    INVALID_JSON = "invalid_json"
    WRONG_TOOL = "wrong_tool"
    BAD_ARGUMENTS = "bad_arguments"
    WRONG_ARGUMENTS = "wrong_arguments"
    EXECUTION_FAILED = "execution_failed"
    WRONG_ANSWER = "wrong_answer"
    EXTRA_CALLS = "extra_calls"
    MISSING_CALLS = "missing_calls"
    NOT_FINISHED = "not_finished"
    DATASET_PREFERENCE = "dataset_preference"
    OTHER = "other"


class Pair(Record):
    """Chosen and rejected continuations of the same tokens. Masks are 1 where the token carries loss."""

    pair_id: str
    task_id: str
    reason: Reason
    margin: float
    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]
    chosen_mask: tuple[int, ...]
    rejected_mask: tuple[int, ...]
    chosen_sample: str = ""
    rejected_sample: str = ""
    chosen_text: str = ""
    rejected_text: str = ""


class Row(Record):
    """Training tokens of one conversation; `mask` is 1 where the token carries loss.

    `label` is for KTO: desirable or not. `advantage` is for GRPO: reward relative to the group's other samples.
    """

    row_id: str
    token_ids: tuple[int, ...]
    mask: tuple[int, ...]
    label: bool | None = None
    advantage: float | None = None


class Adapter(Record):
    """A version of the policy: its name, and the folder of its files as bytes (they travel by the object store)."""

    version: str
    files: dict[str, bytes] = Field(default_factory=dict)


def digest(value: Any, length: int = 12) -> str:
    """Hex digest of any JSON value; the same on every machine and in every process."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def seed_of(run_seed: int, *address: str | int) -> int:
    """A 31-bit seed from the run's seed and a record's address."""
    return int(digest([run_seed, *address], 8), 16) & 0x7FFFFFFF


def group_id(round_index: int, task_id: str) -> str:
    """Address of all samples of one task in one round."""
    return f"r{round_index:03d}/{task_id}"


def sample_id(group: str, k: int) -> str:
    """Address of the k-th sample of a group."""
    return f"{group}/{k}"
