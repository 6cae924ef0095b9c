"""A teacher in a rollout worker says what a forward pass of its model says, writes calls, and answers."""

import math
import os
from contextlib import closing
from unittest import mock

import pytest
import torch
from simpleeval import simple_eval
from transformers import AutoModelForCausalLM

from rayplay.actors.cluster import open_cluster
from rayplay.actors.pool import PoolSettings
from rayplay.actors.rollout import EngineSettings
from rayplay.actors.teacher import RemoteTeacher
from rayplay.data.teacher import losses_of
from rayplay.data.teacher_source import EXAMPLES, notation_of, teacher_entries
from rayplay.episode import EpisodeLimits
from rayplay.errors import DataError
from rayplay.models.resolve import resolve_model
from rayplay.records import Message, Status, ToolResult, ToolSpec

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(280)]
LEAST = 0.01
TEXT = "Question: What do 14 tickets at 6 dollars cost?\nAnswer: They cost [calculator(14*6) -> 84] 84 dollars."
CALCULATOR = ToolSpec(
    name="calculator",
    description="Work out an arithmetic expression.",
    parameters={"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
)


@pytest.fixture(scope="module")
def model_dir():
    return str(resolve_model("smollm2-135m-instruct"))


@pytest.fixture(scope="module")
def teacher(model_dir):
    with (
        mock.patch.dict(os.environ, CXX="/nonexistent"),  # log probabilities need no compiler
        open_cluster(None, num_cpus=2),
        closing(RemoteTeacher(PoolSettings(), EngineSettings(model_dir), EpisodeLimits())) as started,
    ):
        yield started


@pytest.fixture(scope="module")
def logprobs(model_dir, teacher):
    """(T, V) of TEXT by a plain forward pass."""
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    with torch.inference_mode():
        return torch.log_softmax(model(torch.tensor([teacher.tokenizer(TEXT)["input_ids"]])).logits[0], dim=-1)


def test_scores_and_starts_of_calls_are_those_of_a_forward_pass(teacher, logprobs):
    ids = teacher.tokenizer(TEXT)["input_ids"]
    wanted = [0.0, *(logprobs[j, token].item() for j, token in enumerate(ids[1:]))]
    assert teacher.score(ids) == pytest.approx(wanted, abs=1e-3)
    start = notation_of(teacher.tokenizer).start_id
    found = teacher.next_logprobs(ids, start, LEAST)
    assert len(found) == len(ids)
    for mine, theirs in zip(found, logprobs[:, start].tolist(), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-3) or (mine == -math.inf and theirs < math.log(LEAST))
    assert max(found) > -math.inf


def test_it_writes_calls_up_to_their_end(teacher):
    notation = notation_of(teacher.tokenizer)
    prompt = notation.encode("\n\n".join(EXAMPLES["calculator"]) + "\n\nQuestion: 9 boxes at 4?\nAnswer: They cost")
    calls = teacher.continue_until([*prompt, notation.start_id], 6, 24, notation.end_id, seed=1)
    assert calls == teacher.continue_until([*prompt, notation.start_id], 6, 24, notation.end_id, seed=1)
    assert any("calculator(" in notation.decode(ids) for ids in calls)
    assert all(notation.end_id not in ids and len(ids) < 24 for ids in calls)


def test_what_is_kept_lowers_the_loss(teacher):
    def execute(name, arguments, state=None):
        try:
            text, status = str(simple_eval(arguments["expression"])), Status.OK
        except Exception as error:
            text, status = str(error), Status.TOOL_ERROR
        return ToolResult(call_id="c", name=name, status=status, text=text)

    told = []
    options = {"tau_s": LEAST, "tau_f": 0.05, "top_positions": 2, "texts": 8}
    entries = teacher_entries(
        (CALCULATOR,), execute, count=1, seed=3, options=options, load=lambda name: Lent(teacher), say=told.append
    )
    messages = entries[0].demonstration.messages
    assert [m.role for m in messages] == ["user", "assistant", "tool", "assistant"]
    assert "executed" in told[0] and ", 1 kept" in told[0]
    notation = notation_of(teacher.tokenizer)
    text = notation.encode(f" {messages[1].content} {messages[3].content}".replace("  ", " "))
    call = f"calculator({messages[1].tool_calls[0].arguments['expression']})"
    context = notation.encode(f"Question: {messages[0].content}\nAnswer:")
    index = len(notation.encode(f" {messages[1].content}")) if messages[1].content else 0
    assert losses_of(teacher, notation, context, text, index, call, messages[2].content).gain > 0


def test_it_answers_a_conversation_and_says_so_where_there_is_no_room(teacher):
    said = teacher.say([Message(role="user", content="Say hello.")], [], seed=5, temperature=0.8)
    assert said.role == "assistant" and said.content
    assert said == teacher.say([Message(role="user", content="Say hello.")], [], seed=5, temperature=0.8)
    assert teacher.say([Message(role="user", content="word " * 4000)], [], seed=5, temperature=0.8).content == ""


def test_a_teacher_that_has_ended_is_an_error_of_the_data(teacher):
    teacher.close()
    with pytest.raises(DataError, match="teacher"):
        teacher.score([1, 2, 3])


class Lent:
    """A teacher that outlives those who close it."""

    def __init__(self, teacher):
        self._teacher = teacher

    def __getattr__(self, name):
        return getattr(self._teacher, name)

    def close(self):
        """Not ours to end."""
