"""ToolBench answer trees (DFSDT) -> demonstrations of the winning path, and preference pairs at its branchings.

A tree's nodes are Thought, Action and Action Input; a chain of them is one decision of the assistant. The child on the
winning path is preferred to each failed or pruned attempt that begins at a sibling: chosen is the rest of the winning
path, rejected the attempt down to where it failed (the decision at which both part is the first message of each).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rayplay.data.normal import Builder, Rejected, Toolset, preference, read_tools, tasks_of
from rayplay.data.reading import RawRow
from rayplay.data.source import Context, Source, Usable, has, row_id, text_of
from rayplay.records import Json, Message, Preference, ToolCall

FINISH = "Finish"
_MAX_NODES = 5000


@dataclass(frozen=True)
class Step:
    """One decision of the assistant and what came back. `name` is "" for a thought that leads to no action."""

    thought: str
    name: str
    arguments: Any
    observation: str


def matches(value: Any) -> bool:
    """A tree, or the chains of a search without branching, and the answer that was generated with it."""
    return has(value, answer_generation=dict) and isinstance(value.get("tree", value.get("trys")), dict | list)


def read(row: RawRow, context: Context) -> Usable:
    """The winning path as a demonstration and tasks, and the preferences along it."""
    if not matches(row.value):
        raise Rejected("wrong_format", "no 'tree' with 'answer_generation'")
    answer = row.value["answer_generation"]
    root = _root(row.value)
    path = winning_path(root)
    if path is None:
        raise Rejected("no_winning_path", f"win is {row.value.get('win')}")
    query = _query(answer)
    if not query:
        raise Rejected("wrong_format", "answer_generation has neither a query nor train_messages with one")
    definitions = answer.get("function", row.value.get("functions"))
    keep_finish = context.options.get("finish", "answer") == "call"
    listed = definitions if isinstance(definitions, list) else []
    tools = read_tools([t for t in listed if keep_finish or not (has(t) and t.get("name") == FINISH)])
    player = Player(tools, query, keep_finish)
    demonstration = player.builder(steps_of(path)).demonstration(context.source, _id(row), **context.about(row))
    return Usable((demonstration,), tuple(tasks_of(demonstration)), tuple(_preferences(path, player, row, context)))


def _query(answer: Json) -> str:
    """What the user asked; older files have it in their training messages alone, before a line that says `Begin!`."""
    if isinstance(answer.get("query"), str):
        return answer["query"].strip()
    chains = answer.get("train_messages")
    chain = chains[0] if isinstance(chains, list) and chains and isinstance(chains[0], list) else []
    asked = next((m["content"] for m in chain if has(m, role=str, content=str) and m["role"] == "user"), "")
    return asked.strip().removesuffix("Begin!").strip()


def _root(value: Json) -> Json:
    """The tree's root; chains that were tried one after another are the branches of one."""
    if has(value.get("tree"), tree=dict):
        root = value["tree"]["tree"]
    else:
        tried = value["trys"] if isinstance(value.get("trys"), list) else []
        root = {"children": [node for t in tried if has(t, chain=list) and (node := _nested(t["chain"]))]}
    if not has(root, children=list):
        raise Rejected("wrong_format", "the tree has no children")
    return root


def _nested(chain: list[Any]) -> Json:
    """Nodes in a row -> the first, each with the next as its only child."""
    below: list[Json] = []
    for node in reversed([n for n in chain if isinstance(n, dict)]):
        below = [{**node, "children": below}]
    return below[0] if below else {}


@dataclass(frozen=True)
class Player:
    """Turns steps into messages."""

    tools: Toolset
    query: str
    keep_finish: bool

    def builder(self, steps: list[Step]) -> Builder:
        """Query and steps as judged messages. Calls that ToolBench's model made up and then gave up are left out."""
        builder = Builder(self.tools)
        builder.user(self.query)
        for step in (s for s in steps if self._holds(s)):
            if step.name == FINISH and not self.keep_finish:
                builder.assistant(final_answer(step.arguments))
            elif step.name:
                builder.assistant(step.thought, [(step.name, step.arguments)])
                if step.name != FINISH:
                    builder.result(step.observation, step.name)
            else:
                builder.assistant(step.thought)
        return builder

    def _holds(self, step: Step) -> bool:
        """Whether a step has no call, or one to a tool that there is."""
        return not step.name or step.name == FINISH or self.tools.find(step.name) is not None

    def attempt(self, steps: list[Step]) -> list[Message]:
        """A failed attempt as messages, unjudged: what is wrong with it is the point of it."""
        messages: list[Message] = []
        for n, step in enumerate(steps):
            spec = self.tools.find(step.name) if step.name else None
            arguments = _read_arguments(step.arguments)
            if step.name == FINISH and not self.keep_finish:
                messages.append(Message(role="assistant", content=final_answer(step.arguments) or "I give up."))
                break
            if not step.name:
                messages.append(Message(role="assistant", content=step.thought))
                break
            call = ToolCall(call_id=f"call_{n}_0", name=spec.name if spec else step.name, arguments=arguments)
            messages.append(Message(role="assistant", content=step.thought, tool_calls=(call,)))
            messages.append(Message(role="tool", content=step.observation, tool_call_id=call.call_id, name=call.name))
        while messages and messages[-1].role == "tool":
            messages.pop()
        return messages


def winning_path(root: Json) -> list[Json] | None:
    """Nodes from the root to the `Finish` that gave an answer; None where no path does."""
    stack: list[tuple[Json, tuple]] = [(root, ())]
    visited = 0
    while stack and visited < _MAX_NODES:
        node, above = stack.pop()
        visited += 1
        if _gives_answer(node, above[0] if above else {}):
            nodes = [node]
            while above:
                nodes.append(above[0])
                above = above[1]
            return nodes[::-1]
        for child in reversed(_children(node)):
            stack.append((child, (node, above)))
    return None


def steps_of(nodes: list[Json]) -> list[Step]:
    """A chain of nodes -> decisions: thoughts gather until an action and its input close one."""
    steps: list[Step] = []
    thought, name = "", ""
    for node in nodes:
        kind, text = node.get("node_type"), text_of(node.get("description"))
        if kind == "Thought":
            thought = "\n".join(t for t in (thought, text) if t)
        elif kind == "Action":
            name = text.strip()
        elif kind == "Action Input" and name:
            observation = node.get("observation")
            steps.append(
                Step(thought, name, text, observation if isinstance(observation, str) else json.dumps(observation))
            )
            thought, name = "", ""
    if thought:
        steps.append(Step(thought, name, "{}", "") if name else Step(thought, "", None, ""))
    return steps


def final_answer(arguments: Any) -> str:
    """The text that `Finish` gives, also where its JSON is slightly broken; "" where it gives up."""
    read = _read_arguments(arguments)
    if isinstance(read.get("final_answer"), str):
        return read["final_answer"]
    found = re.search(r'"final_answer"\s*:\s*"(.*?)"?\s*\}?\s*$', str(arguments), re.DOTALL)
    return found[1].strip() if found else ""


def _preferences(path: list[Json], player: Player, row: RawRow, context: Context) -> Iterator[Preference]:
    """Every distinct failed attempt beside the winning path against the rest of that path."""
    seen: set[str] = set()
    for depth in range(1, len(path)):
        parent = path[depth - 1]
        if parent.get("node_type") not in ("Action Input", None) and len(_children(parent)) > 1:
            continue  # siblings between a thought and its action share the thought: no decision parts there
        for sibling in (c for c in _children(parent) if c is not path[depth]):
            before = steps_of(path[:depth])
            prompt = player.builder(before)
            chosen = player.builder(steps_of(path)).messages[len(prompt.messages) :]
            for leaf in _attempts(sibling):
                attempt = player.attempt(steps_of(leaf))
                key = json.dumps([depth, [m.model_dump(mode="json", exclude={"tool_call_id"}) for m in attempt]])
                if not attempt or key in seen:
                    continue
                seen.add(key)
                yield preference(
                    context.source, f"{_id(row)}/{len(seen) - 1}", prompt, chosen, attempt,
                    reason=_why(leaf), **context.about(row),
                )  # fmt: skip


def _attempts(node: Json) -> Iterator[list[Json]]:
    """All paths from a node down to a leaf."""
    stack = [(node, [node])]
    while stack:
        at, path = stack.pop()
        children = _children(at)
        if not children:
            yield path
        stack.extend((c, [*path, c]) for c in reversed(children))


def _why(leaf: list[Json]) -> str:
    """A Reason for the failed attempt, from ToolBench's observation codes (1: no tool, 4: gave up, others: errors)."""
    codes = {n.get("observation_code") for n in leaf if isinstance(n.get("observation_code"), int)}
    if 1 in codes:
        return "wrong_tool"
    if 4 in codes:
        return "not_finished"
    return "execution_failed" if codes - {0, 3} else "not_finished"


def _gives_answer(node: Json, action: Json) -> bool:
    return (
        node.get("node_type") == "Action Input"
        and action.get("node_type") == "Action"
        and text_of(action.get("description")).strip() == FINISH
        and "give_answer" in text_of(node.get("description"))
        and bool(final_answer(node.get("description")))
    )


def _read_arguments(arguments: Any) -> Json:
    if isinstance(arguments, dict):
        return arguments
    try:
        read = json.loads(str(arguments) or "{}", strict=False)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}


def _id(row: RawRow) -> str:
    name = row.file.replace("\\", "/").rsplit("/", 2)[-2:]
    return "/".join(name).removesuffix(".json") if row.line <= 1 and not row.key else row_id(row)


def _children(node: Json) -> list[Json]:
    """The nodes below one."""
    below = node.get("children")
    return [child for child in below if isinstance(child, dict)] if isinstance(below, list) else []


SOURCE = Source("toolbench-answers", matches, read)
