"""What each family writes, by its public documentation and templates, is read; what it only mentions is not."""

import pytest

from rayplay.dialects import Dialect, family_named
from rayplay.records import Status, ToolSpec
from tests.families import family_tokenizer

LOOK_UP = ToolSpec(
    name="look_up",
    description="Look a word up.",
    parameters={
        "type": "object",
        "properties": {
            "word": {"type": "string"},
            "limit": {"type": "integer"},
            "share": {"type": "number"},
            "exact": {"type": "boolean"},
            "page": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "where": {"$ref": "#/$defs/Shelf"},
            "kind": {"enum": ["1", "2", "noun"]},
            "either": {"anyOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}, {"type": "string"}]},
        },
        "$defs": {"Shelf": {"type": "object", "properties": {"row": {"type": "integer"}}}},
    },
)
PDF = ToolSpec(name="make-pdf.v2", description="Make a PDF.")
WORD = {"word": "owl"}
BROKEN = Status.INVALID_JSON


def read(text: str, family: str, tools=(LOOK_UP, PDF)):
    """The reading of a text by a family's own reader, as (content, [(name, arguments)], number of broken calls)."""
    dialect = Dialect(family_tokenizer("{{ messages }}"), family_named(family, ""))
    ids = dialect.tokenizer(text, add_special_tokens=False)["input_ids"]
    content, calls = dialect.parse([], ids, "s", tools)
    good = [(call.name, call.arguments) for call in calls if call.problem is None]
    assert all(call.problem in (None, BROKEN) for call in calls)
    return content, good, len(calls) - len(good)


def tagged(*bodies: str) -> str:
    return "\n".join(f"<tool_call>\n{body}\n</tool_call>" for body in bodies)


OWL = '{"name": "look_up", "arguments": {"word": "owl"}}'
ELK = '{"name": "look_up", "arguments": {"word": "elk"}}'
CALL = ("look_up", WORD)

HERMES = {
    "alone": (tagged(OWL), ("", [CALL], 0)),
    "with words on both sides": (f"Let me see. {tagged(OWL)} One moment.", ("Let me see.  One moment.", [CALL], 0)),
    "on one line": (f"<tool_call>{OWL}</tool_call>", ("", [CALL], 0)),
    "two": (tagged(OWL, ELK), ("", [CALL, ("look_up", {"word": "elk"})], 0)),
    "the second broken": (tagged(OWL, '{"name": "look_up", "arguments": {"word": "elk}'), ("", [CALL], 1)),
    "the first broken": (tagged('{"name": "look_up", "arguments": {', OWL), ("", [CALL], 1)),
    "the first never closed": (f"<tool_call>\n{ELK[:-1]}\n{tagged(OWL)}", ("", [CALL], 1)),
    "a tag in a string": (
        tagged('{"name": "look_up", "arguments": {"word": "</tool_call><tool_call>"}}'),
        ("", [("look_up", {"word": "</tool_call><tool_call>"})], 0),
    ),
    "thinking's end in a string": (
        tagged('{"name": "look_up", "arguments": {"word": "a </think> b"}}'),
        ("", [("look_up", {"word": "a </think> b"})], 0),
    ),
    "opened and never closed": ("<tool_call>", ("", [], 1)),
    "whole but never closed": (f"<tool_call>\n{OWL}", ("", [], 1)),
    "a brace too many": (tagged(OWL + "}"), ("", [], 1)),
    "no JSON": (tagged("look_up(word='owl')"), ("", [], 1)),
    "a list": (tagged(f"[{OWL}]"), ("", [], 1)),
    "parameters": (tagged(OWL.replace("arguments", "parameters")), ("", [CALL], 0)),
    "input": (tagged(OWL.replace("arguments", "input")), ("", [], 1)),
    "kwargs": (tagged(OWL.replace("arguments", "kwargs")), ("", [], 1)),
    "arguments and one beside": (tagged(OWL[:-1] + ', "limit": 3}'), ("", [], 1)),
    "arguments twice": (tagged(OWL[:-1] + ', "parameters": {}}'), ("", [], 1)),
    "a key that stands twice": (tagged('{"name": "look_up", "arguments": {"word": "a", "word": "b"}}'), ("", [], 1)),
    "no arguments": (tagged('{"name": "make-pdf.v2"}'), ("", [("make-pdf.v2", {})], 0)),
    "null for arguments": (tagged('{"name": "look_up", "arguments": null}'), ("", [], 1)),
    "arguments as JSON text": (
        tagged('{"name": "look_up", "arguments": "{\\"word\\": \\"owl\\"}"}'),
        ("", [CALL], 0),
    ),
    "wrapped as the API does": (tagged(f'{{"type": "function", "id": "c1", "function": {OWL}}}'), ("", [CALL], 0)),
    "half a surrogate pair": (tagged('{"name": "look_up", "arguments": {"word": "\\udc9a"}}'), ("", [], 1)),
    "a number beyond all": (tagged('{"name": "look_up", "arguments": {"share": 1e999}}'), ("", [], 1)),
    "thinking with a draft": (f"<think>\n{tagged(ELK)}\n</think>\n{tagged(OWL)}", ("", [CALL], 0)),
    "thinking with a broken draft": (f"<think>maybe <tool_call>{{</think>{tagged(OWL)}", ("", [CALL], 0)),
    "thinking with a draft, no call": (f"<think>{tagged(ELK)}</think>\n\nIt is a bird.", ("It is a bird.", [], 0)),
    "thinking twice": (f"<think>a</think>Now.<think>{tagged(ELK)}</think>{tagged(OWL)}", ("Now.", [CALL], 0)),
    "thinking that the prompt opened": (f"I could {tagged(ELK)} but no.\n</think>\nA bird.", ("A bird.", [], 0)),
    "thinking without an end": (f"<think>\n{tagged(OWL)}", ("", [], 0)),
    "an empty thought": (f"<think>\n\n</think>\n\n{tagged(OWL)}", ("", [CALL], 0)),
    "an answer": ("It is a bird with {braces} and [brackets].", ("It is a bird with {braces} and [brackets].", [], 0)),
}  # fmt: skip

HARMONY = {
    "the recipient in the channel": (
        '<|channel|>commentary to=functions.look_up <|constrain|>json<|message|>{"word": "owl"}<|call|>',
        ("", [CALL], 0),
    ),
    "the recipient behind the role": (
        ' to=functions.look_up<|channel|>commentary <|constrain|>json<|message|>{"word": "owl"}<|call|>',
        ("", [CALL], 0),
    ),
    "as the template renders": (
        ' to=functions.look_up<|channel|>commentary json<|message|>{"word": "owl"}<|call|>',
        ("", [CALL], 0),
    ),
    "no type": ('<|channel|>commentary to=functions.look_up<|message|>{"word": "owl"}<|call|>', ("", [CALL], 0)),
    "in the analysis channel": (
        '<|channel|>analysis to=functions.look_up code<|message|>{"word": "owl"}<|call|>',
        ("", [CALL], 0),
    ),
    "spread over lines": (
        '<|channel|>commentary to=functions.look_up <|constrain|>json<|message|>\n{\n "word": "owl"\n}\n<|call|>',
        ("", [CALL], 0),
    ),
    "without the namespace": (
        '<|channel|>commentary to=look_up json<|message|>{"word": "owl"}<|call|>',
        ("", [CALL], 0),
    ),
    "a name with marks": (
        "<|channel|>commentary to=functions.make-pdf.v2 <|constrain|>json<|message|>{}<|call|>",
        ("", [("make-pdf.v2", {})], 0),
    ),
    "behind an analysis": (
        "<|channel|>analysis<|message|>Use to=functions.look_up<|channel|>commentary? Yes.<|end|><|start|>assistant"
        '<|channel|>commentary to=functions.look_up <|constrain|>json<|message|>{"word": "owl"}<|call|>',
        ("", [CALL], 0),
    ),
    "behind a preamble": (
        "<|channel|>commentary<|message|>I will look.<|end|><|start|>assistant"
        '<|channel|>commentary to=functions.look_up <|constrain|>json<|message|>{"word": "owl"}<|call|>',
        ("I will look.", [CALL], 0),
    ),
    "two": (
        '<|channel|>commentary to=functions.look_up <|constrain|>json<|message|>{"word": "owl"}<|call|>'
        '<|start|>assistant to=functions.look_up<|channel|>commentary json<|message|>{"word": "elk"}<|call|>',
        ("", [CALL, ("look_up", {"word": "elk"})], 0),
    ),
    "one of two broken": (
        '<|channel|>commentary to=functions.look_up json<|message|>{"word": <|call|>'
        '<|start|>assistant<|channel|>commentary to=functions.look_up json<|message|>{"word": "owl"}<|call|>',
        ("", [CALL], 1),
    ),
    "marks in a string": (
        '<|channel|>commentary to=functions.look_up json<|message|>{"word": "<|call|><|message|>"}<|call|>',
        ("", [("look_up", {"word": "<|call|><|message|>"})], 0),
    ),
    "text behind the JSON": (
        '<|channel|>commentary to=functions.look_up json<|message|>{"word": "owl"} and more<|call|>',
        ("", [], 1),
    ),
    "code": ("<|channel|>analysis to=python code<|message|>print(1)<|call|>", ("", [], 1)),
    "a header without its message": ("<|channel|>commentary to=functions.look_up <|constrain|>json", ("", [], 1)),
    "final": (
        "<|channel|>analysis<|message|>to=functions.look_up is not needed.<|end|><|start|>assistant"
        "<|channel|>final<|message|>A bird.<|return|>",
        ("A bird.", [], 0),
    ),
    "analysis alone": ("<|channel|>analysis<|message|>Hm, to=functions.look_up.<|end|>", ("", [], 0)),
    "no header at all": ("A bird.", ("A bird.", [], 0)),
}  # fmt: skip

Q = '<|"|>'
GEMMA = {
    "alone": (f"<|tool_call>call:look_up{{word:{Q}owl{Q}}}<tool_call|>", ("", [CALL], 0)),
    "a name with marks": ("<|tool_call>call:make-pdf.v2{}<tool_call|>", ("", [("make-pdf.v2", {})], 0)),
    "all kinds of values": (
        f"<|tool_call>call:look_up{{exact:true,limit:-3,page:null,share:1e-05,tags:[{Q}a,b{Q},{Q}c{Q}],"
        f"where:{{row:2}},word:{Q}3{Q}}}<tool_call|>",
        ("", [("look_up", {"exact": True, "limit": -3, "page": None, "share": 1e-05, "tags": ["a,b", "c"],
                           "where": {"row": 2}, "word": "3"})], 0),
    ),
    "quoted keys": (f"<|tool_call>call:look_up{{{Q}word{Q}:{Q}owl{Q}}}<tool_call|>", ("", [CALL], 0)),
    "JSON strings": ('<|tool_call>call:look_up{"word": "owl"}<tool_call|>', ("", [CALL], 0)),
    "marks in a string": (
        f"<|tool_call>call:look_up{{word:{Q}}}<tool_call|>{Q}}}<tool_call|>",
        ("", [("look_up", {"word": "}<tool_call|>"})], 0),
    ),
    "two, the first broken": (
        f"<|tool_call>call:look_up{{word:}}<tool_call|><|tool_call>call:look_up{{word:{Q}owl{Q}}}<tool_call|>",
        ("", [CALL], 1),
    ),
    "never closed": (f"<|tool_call>call:look_up{{word:{Q}owl", ("", [], 1)),
    "a key that stands twice": (f"<|tool_call>call:look_up{{word:{Q}a{Q},word:{Q}b{Q}}}<tool_call|>", ("", [], 1)),
    "thinking with a draft": (
        f"<|channel>thought\nMaybe <|tool_call>call:look_up{{word:{Q}elk{Q}}}<tool_call|><channel|>A bird.",
        ("A bird.", [], 0),
    ),
}  # fmt: skip

LLAMA = {
    "bare": ('{"name": "look_up", "parameters": {"word": "owl"}}', ("", [CALL], 0)),
    "as a function": ('{"type": "function", "name": "look_up", "parameters": {"word": "owl"}}', ("", [CALL], 0)),
    "behind the tag": ('<|python_tag|>{"name": "look_up", "parameters": {"word": "owl"}}', ("", [CALL], 0)),
    "several": (
        '{"name": "look_up", "parameters": {"word": "owl"}}; {"name": "make-pdf.v2", "parameters": {}}',
        ("", [CALL, ("make-pdf.v2", {})], 0),
    ),
    "the first broken": (
        '{"name": "look_up", "parameters": {"word": }; {"name": "look_up", "parameters": {"word": "owl"}}',
        ("", [CALL], 1),
    ),
    "behind words": ('Sure:\n{"name": "look_up", "parameters": {"word": "owl"}}', ("Sure:", [CALL], 0)),
    "other keys first": ('{"parameters": {"word": "owl"}, "name": "look_up"}', ("", [CALL], 0)),
    "values beside the name": ('{"name": "look_up", "word": "owl"}', ("", [], 1)),
    "cut": ('{"name": "look_up", "parameters": {"word"', ("", [], 1)),
    "code behind the tag": ("<|python_tag|>print(1)", ("", [], 1)),
    "an answer in JSON": ('{"name": "Strix", "legs": 2}', ('{"name": "Strix", "legs": 2}', [], 0)),
    "JSON in an answer": (
        'The row is {"name": "Strix", "legs": 2}, see.',
        ('The row is {"name": "Strix", "legs": 2}, see.', [], 0),
    ),
}  # fmt: skip

MISTRAL = {
    "a list": (
        f'[TOOL_CALLS][{OWL}, {{"name": "make-pdf.v2", "arguments": {{}}, "id": "123456789"}}]',
        ("", [CALL, ("make-pdf.v2", {})], 0),
    ),
    "one of the list broken": (f'[TOOL_CALLS] [{OWL}, {{"name": 3}}]', ("", [CALL], 1)),
    "named": ('[TOOL_CALLS]look_up[ARGS]{"word": "owl"}', ("", [CALL], 0)),
    "named with an id": ('[TOOL_CALLS]look_up[CALL_ID]a1B2c3D4e[ARGS]{"word": "owl"}', ("", [CALL], 0)),
    "named, short": ('[TOOL_CALLS]make-pdf.v2{}', ("", [("make-pdf.v2", {})], 0)),
    "named twice, the first broken": (
        '[TOOL_CALLS]look_up[ARGS]{"word": [TOOL_CALLS]look_up[ARGS]{"word": "owl"}',
        ("", [CALL], 1),
    ),
    "the mark in a string": (
        '[TOOL_CALLS]look_up[ARGS]{"word": "[TOOL_CALLS]"}',
        ("", [("look_up", {"word": "[TOOL_CALLS]"})], 0),
    ),
    "words before": (f"One moment. [TOOL_CALLS][{OWL}]", ("One moment.", [CALL], 0)),
    "thinking with a draft": (f"[THINK][TOOL_CALLS][{ELK}][/THINK]A bird.", ("A bird.", [], 0)),
    "empty": ("[TOOL_CALLS][]", ("", [], 1)),
}  # fmt: skip

PYTHONIC = {
    "one": ("[look_up(word='owl')]", ("", [CALL], 0)),
    "several with all kinds of values": (
        '[look_up(word="a, (b)", limit=-3, exact=True, page=None, tags=["x", \'y\'], where={"row": 2}), make-pdf.v2()]',
        ("", [("look_up", {"word": "a, (b)", "limit": -3, "exact": True, "page": None, "tags": ["x", "y"],
                           "where": {"row": 2}}), ("make-pdf.v2", {})], 0),
    ),
    "JSON's words": ("[look_up(exact=true, page=null)]", ("", [("look_up", {"exact": True, "page": None})], 0)),
    "between Llama 4's marks": ("<|python_start|>[look_up(word='owl')]<|python_end|>", ("", [CALL], 0)),
    "between LFM2's marks": ("<|tool_call_start|>[look_up(word='owl')]<|tool_call_end|>Done.", ("Done.", [CALL], 0)),
    "brackets in a string": ("[look_up(word='])')]", ("", [("look_up", {"word": "])"})], 0)),
    "one of two broken": ("[look_up(word=owl), look_up(word='owl')]", ("", [CALL], 1)),
    "a key that stands twice": ("[look_up(word='a', word='b')]", ("", [], 1)),
    "without names": ("[look_up('owl')]", ("", [], 1)),
    "never closed": ("[look_up(word='owl'", ("", [], 1)),
    "an expression": ("[look_up(limit=__import__('os').getpid())]", ("", [], 1)),
    "a list as the answer": ("[1, 2, 3]", ("[1, 2, 3]", [], 0)),
    "a link in the answer": ("See [the page](https://example.org) and f[0](1).",
                             ("See [the page](https://example.org) and f[0](1).", [], 0)),
}  # fmt: skip


def xml(name: str, **arguments: str) -> str:
    pairs = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments.items())
    return f"<tool_call>\n<function={name}>\n{pairs}</function>\n</tool_call>"


XML = {
    "a string": (xml("look_up", word="owl"), ("", [CALL], 0)),
    "a string of digits": (xml("look_up", word="3"), ("", [("look_up", {"word": "3"})], 0)),
    "a string that looks like JSON": (xml("look_up", word='{"a": 1}'), ("", [("look_up", {"word": '{"a": 1}'})], 0)),
    "numbers": (xml("look_up", limit="3", share="0.5"), ("", [("look_up", {"limit": 3, "share": 0.5})], 0)),
    "an integer for a number": (xml("look_up", share="2"), ("", [("look_up", {"share": 2})], 0)),
    "a flag": (xml("look_up", exact="true"), ("", [("look_up", {"exact": True})], 0)),
    "Python's flag": (xml("look_up", exact="False"), ("", [("look_up", {"exact": False})], 0)),
    "nothing": (xml("look_up", page="null"), ("", [("look_up", {"page": None})], 0)),
    "a list": (xml("look_up", tags='["a", "3"]'), ("", [("look_up", {"tags": ["a", "3"]})], 0)),
    "an object behind a reference": (xml("look_up", where='{"row": 2}'), ("", [("look_up", {"where": {"row": 2}})], 0)),
    "an enum of strings": (xml("look_up", kind="1"), ("", [("look_up", {"kind": "1"})], 0)),
    "an object where text may be": (xml("look_up", either='{"a": 1}'), ("", [("look_up", {"either": {"a": 1}})], 0)),
    "text where an object may be": (xml("look_up", either="a: 1"), ("", [("look_up", {"either": "a: 1"})], 0)),
    "what fits no type stays text": (xml("look_up", limit="three"), ("", [("look_up", {"limit": "three"})], 0)),
    "several lines": (xml("look_up", word="a\n\n b\n"), ("", [("look_up", {"word": "a\n\n b\n"})], 0)),
    "tags in a string": (
        xml("look_up", word="</parameter> and </function></tool_call>", limit="1"),
        ("", [("look_up", {"word": "</parameter> and </function></tool_call>", "limit": 1})], 0),
    ),
    "no arguments": (xml("make-pdf.v2"), ("", [("make-pdf.v2", {})], 0)),
    "without the outer tag": (xml("look_up", word="owl").removeprefix("<tool_call>\n"), ("", [CALL], 0)),
    "words before": (f"I will.\n\n{xml('look_up', word='owl')}", ("I will.", [CALL], 0)),
    "two, the first broken": (
        "<tool_call>\n<function=look_up>\n<parameter=word>\nowl\n</tool_call>\n" + xml("look_up", word="owl"),
        ("", [CALL], 1),
    ),
    "an argument that stands twice": (
        "<tool_call>\n<function=look_up>\n" + "<parameter=word>\na\n</parameter>\n" * 2 + "</function>\n</tool_call>",
        ("", [], 1),
    ),
    "never closed": ("<tool_call>\n<function=look_up>\n<parameter=word>\nowl", ("", [], 1)),
    "opened alone": ("<tool_call>", ("", [], 1)),
    "thinking with a draft": (f"<think>{xml('look_up', word='elk')}</think>\nA bird.", ("A bird.", [], 0)),
}  # fmt: skip


def glm(name: str, **arguments: str) -> str:
    pairs = "".join(f"<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n" for key, value in arguments.items())
    return f"<tool_call>{name}\n{pairs}</tool_call>"


GLM = {
    "typed by the schema": (glm("look_up", word="3", limit="3"), ("", [("look_up", {"word": "3", "limit": 3})], 0)),
    "no arguments": (glm("make-pdf.v2"), ("", [("make-pdf.v2", {})], 0)),
    "two": (glm("look_up", word="owl") + "\n" + glm("look_up", word="elk"),
            ("", [CALL, ("look_up", {"word": "elk"})], 0)),
    "on one line": ("<tool_call>look_up<arg_key>word</arg_key><arg_value>owl</arg_value></tool_call>", ("", [CALL], 0)),
    "never closed": ("<tool_call>look_up\n<arg_key>word</arg_key>\n<arg_value>owl", ("", [], 1)),
    "thinking with a draft": (f"\n<think>{glm('look_up')}</think>\nA bird.", ("A bird.", [], 0)),
}  # fmt: skip

BEGIN, END, SEP = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
ALL, ALL_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
DEEPSEEK = {
    "V3": (
        f'{ALL}{BEGIN}function{SEP}look_up\n```json\n{{"word": "owl"}}\n```{END}{ALL_END}',
        ("", [CALL], 0),
    ),
    "V3, two": (
        f'Two.{ALL}{BEGIN}function{SEP}look_up\n```json\n{{"word": "owl"}}\n```{END}\n'
        f"{BEGIN}function{SEP}make-pdf.v2\n```json\n{{}}\n```{END}{ALL_END}",
        ("Two.", [CALL, ("make-pdf.v2", {})], 0),
    ),
    "V3.1": (f'{ALL}{BEGIN}look_up{SEP}{{"word": "owl"}}{END}{ALL_END}', ("", [CALL], 0)),
    "V3.1, the first broken": (
        f'{ALL}{BEGIN}look_up{SEP}{{"word": {END}{BEGIN}look_up{SEP}{{"word": "owl"}}{END}{ALL_END}',
        ("", [CALL], 1),
    ),
    "marks in a string": (
        f'{ALL}{BEGIN}look_up{SEP}{{"word": "{END}"}}{END}{ALL_END}',
        ("", [("look_up", {"word": END})], 0),
    ),
    "opened alone": (ALL, ("", [], 1)),
    "behind thinking with a draft": (f"<think>{BEGIN}x{END}</think>A bird.", ("A bird.", [], 0)),
}  # fmt: skip

WRITTEN = {
    "hermes": HERMES, "openai": HARMONY, "gemma4": GEMMA, "llama3_json": LLAMA, "mistral": MISTRAL,
    "pythonic": PYTHONIC, "qwen3_coder": XML, "qwen3_xml": XML, "glm45": GLM, "deepseek_v3": DEEPSEEK,
}  # fmt: skip
CASES = [(family, name) for family, cases in WRITTEN.items() for name in cases]


@pytest.mark.parametrize(("family", "name"), CASES, ids=[f"{family}: {name}" for family, name in CASES])
def test_what_a_family_writes_is_read(family, name):
    text, wanted = WRITTEN[family][name]
    assert read(text, family) == wanted
