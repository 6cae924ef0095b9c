"""The chat teacher keeps what executes and agrees, and counts why the rest is not kept."""

from rayplay.data.teacher_chat import ChatFunnel, ChatSettings, solve, teach, write_requests
from rayplay.records import Message, Status, ToolCall, ToolResult, ToolSpec

ADD = ToolSpec(
    name="add",
    description="Add numbers.",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)
SETTINGS = ChatSettings(requests_per_tool=4, samples=4, agree=0.5)


def execute(name, arguments):
    return ToolResult(call_id="", name=name, status=Status.OK, text=str(arguments["a"] + arguments["b"]))


class Teacher:
    """Plays scripted samples in turn: each a list of messages to say."""

    def __init__(self, *samples, requests=""):
        self.samples, self.requests, self.turns = [list(s) for s in samples], requests, []

    def __call__(self, messages, tools, seed):
        if not tools:
            return Message(role="assistant", content=self.requests)
        if len(messages) == 1:
            self.turns = self.samples.pop(0)
        return self.turns.pop(0)


def calls(a, b, name="add"):
    call = ToolCall(call_id="call_0", name=name, arguments={"a": a, "b": b})
    return Message(role="assistant", tool_calls=(call,))


def words(text):
    return Message(role="assistant", content=text)


def test_samples_that_call_the_same_agree_however_they_say_it():
    teacher = Teacher(
        [calls(1, 2), words("3")], [calls(1, 2), words("It is 3.")], [calls(2, 2), words("4")], [words("3")]
    )
    funnel = ChatFunnel()
    shown = solve(teacher, "What is 1 plus 2?", [ADD], execute, SETTINGS, funnel)
    assert [m.role for m in shown.messages] == ["user", "assistant", "tool", "assistant"]
    assert shown.messages[1].tool_calls[0].arguments == {"a": 1, "b": 2}
    assert shown.origin == "2 of 4 samples agree"
    assert (funnel.samples, funnel.executed) == (4, 3)


def test_samples_that_all_differ_are_dropped():
    funnel = ChatFunnel()
    teacher = Teacher(*([calls(n, 2), words("x")] for n in range(4)))
    assert solve(teacher, "q", [ADD], execute, SETTINGS, funnel) is None
    assert funnel.dropped == {"samples_disagree": 1}


def test_calls_that_cannot_be_executed_never_count():
    for sample, reason in (
        ([calls(1, 2, "sub")], "unknown_tool"),
        ([calls("one", 2)], "bad_arguments"),
        ([words("3")], "no_call"),
        ([calls(1, 2), words("")], "no_answer"),
        ([calls(1, 2)] * 9, "turn_limit"),
    ):
        funnel = ChatFunnel()
        assert solve(Teacher(*[sample] * 4), "q", [ADD], execute, SETTINGS, funnel) is None
        assert (funnel.dropped, funnel.executed) == ({reason: 1}, 0)


def test_simulated_results_never_make_a_label():
    def simulated(name, arguments):
        return ToolResult(call_id="", name=name, status=Status.OK, text="5", simulated=True)

    funnel = ChatFunnel()
    assert solve(Teacher(*[[calls(1, 2), words("3")]] * 4), "q", [ADD], simulated, SETTINGS, funnel) is None
    assert funnel.dropped == {"simulated": 1}


def test_requests_are_read_line_by_line_without_repeats():
    teacher = Teacher(requests="1. Add 1 and 2.\n- add 1 AND 2.\n\nok\n* What is 3 plus 4?\n")
    funnel = ChatFunnel()
    assert write_requests(teacher, ADD, SETTINGS, funnel) == ["add 1 AND 2.", "What is 3 plus 4?"]
    assert (funnel.requests, funnel.dropped) == (3, {"repeated_request": 1})


def test_teaching_says_what_became_of_everything():
    good = [[calls(1, 2), words("3")]] * 4
    teacher = Teacher(*good, *[[words("no")]] * 4, requests="Add 1 and 2.\nSing a nice song.")
    funnel = ChatFunnel()
    shown = teach(teacher, [ADD], execute, SETTINGS, funnel)
    assert len(shown) == funnel.kept == 1
    assert funnel.told() == ("2 requests proposed, 8 samples, 4 executed, 1 requests kept; not kept: 1 no_call")
