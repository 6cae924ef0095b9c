"""Every model family: what is rendered, what is read back, and what an episode's ids are, token by token."""

import asyncio
import json
import os
import random
import re
from pathlib import Path

import pytest
import xgrammar
from trl.chat_template_utils import get_training_chat_template

from rayplay.dialects import Dialect, as_chat, probe, with_system
from rayplay.episode import Completion, EpisodeLimits, play_episode
from rayplay.errors import ModelError
from rayplay.models.tokenizers import make_dialect
from rayplay.models.vllm_parser import call_grammar
from rayplay.records import Message, Status, Task, ToolCall, ToolResult, ToolSpec
from tests.families import FAMILY_FILES, LFM, TEMPLATES, family_dialect, family_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden"
SPEC = ToolSpec(
    name="add",
    description="Add.",
    parameters={"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]},
)
ASK = Message(role="user", content="Add one.")
CALLS = (
    ToolCall(call_id="g/0#0.0", name="add", arguments={"a": 1, "b": 'x, "y"'}),
    ToolCall(call_id="g/0#0.1", name="add", arguments={"a": 2}),
)
DATES = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2} [A-Z][a-z]{2} \d{4}")


@pytest.fixture(scope="module", params=sorted(FAMILY_FILES))
def named(request) -> tuple[str, Dialect]:
    return request.param, family_dialect(request.param)


def conversation(dialect: Dialect) -> list[Message]:
    calls = CALLS if dialect.family.parallel else CALLS[:1]
    results = [
        Message(role="tool", content=f"result {n}", name=call.name, tool_call_id=call.call_id)
        for n, call in enumerate(calls)
    ]
    return [ASK, Message(role="assistant", tool_calls=calls), *results, Message(role="assistant", content="It is 2.")]


def play(dialect: Dialect, said: list[list[int]], limits: EpisodeLimits | None = None):
    turns = iter(said)

    async def speak(prompt_ids, room, seed):
        return Completion(list(next(turns)), "stop")

    async def use(call, state):
        if call.problem:
            return ToolResult(call_id=call.call_id, name=call.name, status=call.problem, text="cannot be read")
        number = 0 if call.arguments.get("a") == 1 else 1
        return ToolResult(call_id=call.call_id, name=call.name, status=Status.OK, text=f"result {number}")

    limits = limits or EpisodeLimits(
        max_turns=len(said), max_calls=99, max_new_tokens=10**6, max_length=10**7, deadline_s=30
    )
    return asyncio.run(
        play_episode(
            Task.build("t", (ASK,), (SPEC,)),
            "g/0",
            dialect=dialect,
            speak=speak,
            use=use,
            limits=limits,
            policy="p",
            seed=1,
        )
    )


def assistant_runs(ids: list[int], mask: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for n, (token, on) in enumerate(zip(ids, mask, strict=True)):
        if on and not (n and mask[n - 1]):
            runs.append([])
        if on:
            runs[-1].append(token)
    return runs


def test_the_probe_holds(named):
    probe(named[1])


def test_an_episode_has_the_ids_and_mask_of_the_same_demonstration(named):
    """Token in, token out: a policy that says what the demonstration says leaves exactly its ids, results included."""
    _, dialect = named
    ids, mask = dialect.supervise(conversation(dialect), [SPEC])
    said = assistant_runs(ids, mask)
    played = play(dialect, said)
    assert list(played.token_ids) == ids and list(played.sampled_mask) == mask
    made = [(call.name, call.arguments) for call in played.turns[0].calls]
    assert made == [(c.name, c.arguments) for c in (CALLS if dialect.family.parallel else CALLS[:1])]
    assert played.turns[1].content.endswith("It is 2.") and not played.turns[1].calls


# What TRL's templates give loss beside: text that the template writes and no policy ever samples.
NEVER_SAMPLED = {
    "qwen2.5": "\n\n\n",
    "qwen3": "\n",
    "qwen3-2507": "\n",
    "qwen3-no-thinking": "<think>\n\n</think>\n\n" * 2 + "\n",
    "gpt-oss": "<|start|>assistant" * 2,
}


@pytest.mark.parametrize("name", sorted(NEVER_SAMPLED))
def test_the_mask_is_that_of_trls_training_template_but_for_what_is_never_sampled(name):
    dialect = family_dialect(name)
    messages = conversation(dialect)
    ids, mask = dialect.supervise(messages, [SPEC])
    theirs = dialect.tokenizer.apply_chat_template(
        [as_chat(message) for message in with_system(messages)],
        tools=[SPEC.as_function()],
        chat_template=get_training_chat_template(dialect.tokenizer) or dialect.tokenizer.chat_template,
        return_dict=True,
        return_assistant_tokens_mask=True,
        **dialect.template_kwargs,
    )
    assert theirs["input_ids"][: len(ids)] == ids
    pairs = list(zip(ids, mask, theirs["assistant_masks"], strict=False))
    assert all(their for _, our, their in pairs if our)
    only_theirs = dialect.tokenizer.decode([token for token, our, their in pairs if their and not our])
    assert sorted(only_theirs) == sorted(NEVER_SAMPLED[name])


def test_the_rendering_is_the_golden_one(named):
    """Text of the whole conversation, what carries loss between ⟦ and ⟧; RENEW=1 writes the files anew."""
    name, dialect = named
    ids, mask = dialect.supervise(conversation(dialect), [SPEC])
    text = ""
    for n, token in enumerate(ids):
        before = n and mask[n - 1]
        text += "⟦" if mask[n] and not before else "⟧" if before and not mask[n] else ""
        text += dialect.tokenizer.decode([token])
    text = DATES.sub("DATE", text) + "⟧" * mask[-1] + f"\n{len(ids)} tokens, {sum(mask)} with loss\n"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("RENEW"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_mask_and_ids_are_what_was_sampled_whatever_was_sampled(named):
    _, dialect = named
    rng = random.Random(7)
    ids, mask = dialect.supervise(conversation(dialect), [SPEC])
    call = assistant_runs(ids, mask)[0]
    end = dialect.tokenizer.eos_token_id
    for _ in range(40):
        said = []
        for _ in range(3):
            turn = list(call)
            for _ in range(rng.randrange(4)):
                turn.insert(rng.randrange(len(turn)), rng.randrange(len(dialect.tokenizer)))
            said.append([*turn, end] if rng.random() < 0.5 else turn)
        played = play(dialect, said)
        spoken = [t for t, m in zip(played.token_ids, played.sampled_mask, strict=True) if m]
        assert spoken == [t for turn in said[: len(played.turns)] for t in turn]
        for turn, tokens in zip(played.turns, said, strict=False):
            assert list(played.token_ids[turn.start : turn.end]) == tokens


def test_an_empty_completion_is_an_empty_answer(named):
    _, dialect = named
    assert dialect.parse(dialect.render([ASK], [SPEC]), [], "g/0#0") == ("", ())


def test_special_tokens_in_a_result_stay_text(named):
    _, dialect = named
    hostile = "".join(dialect.tokenizer.all_special_tokens) + "".join(dialect.family.role_marks)
    special = set(dialect.tokenizer.all_special_ids)
    counts = [sum(t in special for t in dialect.results_suffix(CALLS[:1], [text])) for text in (hostile, "harmless")]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("name", ["llama3.1", "gpt-oss"])
def test_a_model_that_calls_in_parallel_where_its_template_cannot_is_answered_all_the_same(name):
    dialect = family_dialect(name)
    suffix = dialect.tokenizer.decode(dialect.results_suffix(CALLS, ["result 0", "result 1"]))
    assert "result 0" in suffix and "result 1" in suffix
    with pytest.raises(ModelError, match="one call a message"):
        dialect.supervise([ASK, Message(role="assistant", tool_calls=CALLS)], [SPEC])


OWN_TEMPLATE = """{%- if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif -%}
{%- for m in messages -%}
{%- if m.role in ("system", "user") -%}[INST]{{ m.content }}[/INST]
{%- elif m.role == "assistant" -%}
{%- if m.tool_calls -%}[TOOL_CALLS][
{%- for c in m.tool_calls -%}
{%- if c.id | length != 9 -%}{{ raise_exception("ids have 9 letters") }}{%- endif -%}
{{ {"name": c.function.name, "arguments": c.function.arguments} | tojson }}{{ ", " if not loop.last }}
{%- endfor -%}]{%- else -%}{{ m.content }}{%- endif -%}</s>
{%- else -%}[TOOL_RESULTS]{{ {"content": m.content, "call_id": m.tool_call_id} | tojson }}[/TOOL_RESULTS]
{%- endif -%}
{%- endfor -%}"""
MISTRAL = ("</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[AVAILABLE_TOOLS]")
PYTHONIC_TEMPLATE = """{%- for m in messages -%}
{{- "<|im_start|>" + m.role + "\\n" + (tools | tojson if loop.first and tools else "") -}}
{%- if m.tool_calls -%}[
{%- for c in m.tool_calls -%}{{ c.function.name }}(
{%- for k, v in c.function.arguments.items() -%}{{ k }}={{ v | tojson }}{{ ", " if not loop.last }}{%- endfor -%}
){{ ", " if not loop.last }}{%- endfor -%}]
{%- else -%}{{ m.content }}{%- endif -%}{{- "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- "<|im_start|>assistant\\n" -}}{%- endif -%}"""


@pytest.mark.parametrize(
    ("template", "special", "name"),
    [
        (PYTHONIC_TEMPLATE, (), "pythonic"),
        (OWN_TEMPLATE, MISTRAL, "auto"),
        ("{# ours #}" + family_dialect("qwen2.5").tokenizer.chat_template, (), "auto"),
        ("{# ours #}" + family_dialect("qwen2.5").tokenizer.chat_template, (), "hermes"),
    ],
    ids=["pythonic", "mistral", "chatml", "hermes"],
)
def test_a_template_that_trl_does_not_know_is_read_by_vllms_parser(template, special, name):
    dialect = make_dialect(family_tokenizer(template, special), name)
    assert dialect.parser is not None
    probe(dialect)
    messages = conversation(dialect)
    ids, mask = dialect.supervise(messages, [SPEC])
    played = play(dialect, assistant_runs(ids, mask))
    assert list(played.token_ids) == ids
    assert [(c.name, c.arguments) for c in played.turns[0].calls] == [(c.name, c.arguments) for c in CALLS]


@pytest.mark.parametrize(
    ("file", "special", "lost"),
    [("qwen3_5_nothink", (), "'probe_number': '3'"), ("lfm2_2_5", LFM, "'probe_flag': 'True'")],
)
def test_a_parser_that_loses_types_is_refused(file, special, lost):
    template = (TEMPLATES / f"{file}.jinja").read_text(encoding="utf-8")
    with pytest.raises(ModelError, match=f"does not parse back: .*{lost}"):
        probe(make_dialect(family_tokenizer(template, special)))


@pytest.mark.parametrize(
    ("call", "fits"),
    [
        ('{"name": "add", "arguments": {"a": 1}}', True),
        ('{"name": "add", "arguments": {"a": 1, "b": "x"}}', True),
        ('{"name": "add", "arguments": {"a": "one"}}', False),
        ('{"name": "add", "arguments": {}}', False),
        ('{"name": "subtract", "arguments": {"a": 1}}', False),
    ],
)
def test_a_constrained_call_is_well_formed_and_free_text_stays_free(call, fits):
    dialect = family_dialect("qwen2.5")
    info = xgrammar.TokenizerInfo.from_huggingface(dialect.tokenizer, vocab_size=len(dialect.tokenizer))
    tag = call_grammar("hermes", dialect.tokenizer, [SPEC])
    grammar = xgrammar.GrammarCompiler(info).compile_structural_tag(xgrammar.StructuralTag.model_validate_json(tag))
    assert xgrammar.GrammarMatcher(grammar).accept_string("Let me see. 1 < 2")
    assert xgrammar.GrammarMatcher(grammar).accept_string(f"Sure.<tool_call>\n{call}\n</tool_call>") is fits


def test_a_syntax_without_structural_tags_is_refused():
    with pytest.raises(ModelError, match="no structural tags for 'pythonic'"):
        call_grammar("pythonic", family_tokenizer(PYTHONIC_TEMPLATE), [SPEC])


INVOKE_TEMPLATE = """{%- for m in messages -%}
{{- "<|im_start|>" + m.role + "\\n" + (tools | tojson if loop.first and tools else "") -}}
{%- for c in m.tool_calls or () -%}<minimax:tool_call>
<invoke name="{{ c.function.name }}">
{% for k, v in c.function.arguments.items() -%}
<parameter name="{{ k }}">{{ v if v is string else v | tojson }}</parameter>
{% endfor %}</invoke>
</minimax:tool_call>{%- endfor -%}
{{- m.content + "<|im_end|>\\n" -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- "<|im_start|>assistant\\n" -}}{%- endif -%}"""


def test_a_syntax_that_only_vllm_reads_is_typed_by_the_tools_and_its_attempts_are_seen():
    dialect = make_dialect(family_tokenizer(INVOKE_TEMPLATE), "minimax_m2")
    probe(dialect, [SPEC])
    prompt = dialect.render([ASK], [SPEC])

    def read(text: str) -> tuple[str, list]:
        ids = dialect.tokenizer(f"{text}<|im_end|>", add_special_tokens=False)["input_ids"]
        content, calls = dialect.parse(prompt, ids, "s", [SPEC])
        return content, [(call.name, call.arguments, call.problem) for call in calls]

    call = (
        '<minimax:tool_call>\n<invoke name="add">\n<parameter name="b">3</parameter>\n</invoke>\n</minimax:tool_call>'
    )
    assert read(call) == ("", [("add", {"b": "3"}, None)])
    assert read(f"<think>{call}</think>It is 2.") == ("It is 2.", [])
    assert read('<minimax:tool_call>\n<invoke name="add')[1] == [("add", {}, Status.INVALID_JSON)]
    assert read("<minimax:tool_call>add(3)</minimax:tool_call>")[1] == [("", {}, Status.INVALID_JSON)]


def test_an_unknown_parser_is_refused_with_the_known_names():
    with pytest.raises(ModelError, match=r"no vLLM tool parser: .*hermes"):
        make_dialect(family_tokenizer(PYTHONIC_TEMPLATE), "hermess")


PIECES = (
    *("<tool_call>", "</tool_call>", '{"name": "add", "arguments": {"a": 1}}', "<|im_end|>", "<|python_tag|>"),
    *("<think>", "</think>", "[add(a=1)]", "[TOOL_CALLS]", "<|channel|>commentary to=functions.add", "\u202e\ufffd",
      "\ud83d\ude00", "{" * 400, "[" * 2000, "null", "NaN", "<tool_response>", "\x00", "x" * 3000, "𝔘ñï", '{"name": ',
      "<|tool_call>call:add{a:1}<tool_call|>", "<tool_call>add\n<arg_key>a</arg_key>", "\\", '"', ",", "}", "]"),
)  # fmt: skip


def test_twenty_thousand_mutated_completions_are_classified(named):
    """Over all families together; an episode ends in every case, and whatever is no call is text or an invalid call."""
    _, dialect = named
    rng = random.Random(20)
    ids, mask = dialect.supervise(conversation(dialect), [SPEC])
    call = assistant_runs(ids, mask)[0]
    encoded = [dialect.tokenizer(p.encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
                                 add_special_tokens=False)["input_ids"] for p in PIECES]  # fmt: skip
    prompt = dialect.render([ASK], [SPEC])
    for number in range(20_000 // len(FAMILY_FILES) + 1):
        said = list(call)
        for _ in range(rng.randrange(1, 5)):
            at, until = sorted((rng.randrange(len(said) + 1), rng.randrange(len(said) + 1)))
            said[at : min(until, at + 6)] = rng.choice(encoded) if rng.random() < 0.7 else []
        if number % 40 == 0:
            played = play(dialect, [said])
            assert len(played.turns) == 1 and sum(played.sampled_mask) == len(said)
            continue
        content, calls = dialect.parse(prompt, said, "g/0#0")
        assert isinstance(content, str)
        for found in calls:
            assert found.problem is Status.INVALID_JSON or isinstance(found.arguments, dict)
            json.dumps(found.model_dump(mode="json"), ensure_ascii=False).encode()
