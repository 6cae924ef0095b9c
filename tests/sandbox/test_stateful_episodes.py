"""The tasks of configs/stateful.json through the real tool worker: the demonstration succeeds, idling does not."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest
from trl import add_response_schema

from rayplay.actors.tools import ToolWorker
from rayplay.checking import load_tools, mcp_servers, tool_modules
from rayplay.data.templates import build_tasks
from rayplay.dialects import FAMILIES, Dialect
from rayplay.episode import Completion, EpisodeLimits, play_episode
from rayplay.models.micro import micro_tokenizer
from rayplay.models.scripted_policy import call
from rayplay.recipe_text import load_recipe
from rayplay.records import Demonstration, Task, ToolCall, ToolResult, Trajectory
from rayplay.rewards import success

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(180)]

RECIPE = load_recipe("configs/stateful.json")
DIALECT = Dialect(add_response_schema(micro_tokenizer()), FAMILIES["chatml"])
LIMITS = EpisodeLimits(max_turns=4, max_calls=6, max_new_tokens=2000, max_length=30000, deadline_s=60)


@pytest.fixture(scope="module")
def worker() -> Iterator[ToolWorker]:
    opened = ToolWorker(tool_modules(RECIPE), "L1", mcp_servers=mcp_servers(RECIPE), size=2)
    yield opened
    opened.close()


async def said(texts: Iterator[str], prompt_ids: list[int], room: int, seed: int) -> Completion:
    return Completion(DIALECT.tokenizer(next(texts))["input_ids"], "stop")


def texts_of(task: Task, row: Demonstration) -> list[str]:
    """What the model would have to say, one text per assistant message."""
    texts = []
    for message in (m for m in row.messages[len(task.messages) :] if m.role == "assistant"):
        calls = [call(c.name, c.arguments).removesuffix("<|im_end|>") for c in message.tool_calls]
        texts.append(("\n".join(calls) or message.content) + "<|im_end|>")
    return texts


async def play_all(worker: ToolWorker) -> list[tuple[Task, Trajectory, Trajectory]]:
    loop = asyncio.get_running_loop()

    def execute(name: str, arguments: dict, state: str | None = None) -> ToolResult:
        made = ToolCall(call_id="label", name=name, arguments=arguments)
        return asyncio.run_coroutine_threadsafe(worker.call(made, state), loop).result(60)

    build = partial(build_tasks, load_tools(RECIPE), execute, count=36, split="held_out", seed=2)
    pairs = await loop.run_in_executor(None, partial(build, kinds=RECIPE.data.sources[0].kinds))
    played = []
    for task, row in pairs:
        play = partial(play_episode, task, dialect=DIALECT, use=worker.call, limits=LIMITS, policy="base", seed=1)
        right = await play("g/0", speak=partial(said, iter(texts_of(task, row))))
        idle = await play("g/1", speak=partial(said, iter(["I did it.<|im_end|>"])))
        played.append((task, right, idle))
    return played


def test_demonstrations_succeed_in_the_sandbox_and_idling_fails(worker: ToolWorker) -> None:
    played = asyncio.run(play_all(worker))
    assert {task.kind for task, _, _ in played} == {"stateful", "one_call", "no_tool"}
    for task, right, idle in played:
        assert success(right) == 1.0, (task.messages[0].content, right.turns)
        if task.kind != "no_tool":
            assert success(idle) == 0.0, task.messages[0].content
    assert any(len(right.turns) == 3 for _, right, _ in played)  # call, call again on its result, answer
    assert any(len(task.messages) > 1 for task, _, _ in played)  # a conversation, of which this is the last request
