"""What a tool takes is shown by every family's template, and a call with it reads back; what cannot be is named."""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayplay.dialects import FAMILIES, Dialect, Speakable, probe, probe_tool
from rayplay.dialects.samples import sample_arguments, words_of
from rayplay.dialects.shown import MOST_NODES, resolve, shown_schema
from rayplay.errors import ModelError
from rayplay.models.micro import micro_tokenizer, save_chat_model
from rayplay.models.tokenizers import load_dialect, make_dialect
from rayplay.records import Message, Task, ToolSpec
from rayplay.toolbox import check_arguments, spec_of, tool
from tests.families import FAMILY_FILES, TEMPLATES, family_dialect, family_tokenizer


class Metal(Enum):
    COPPER = "copper"
    TIN = "tin"


class Grade(IntEnum):
    LOW = 17
    HIGH = 42


@dataclass
class Kiln:
    chamber: str
    degrees: float | None = None


@dataclass
class Workshop:
    town: str
    kilns: list[Kiln]


@tool
def smelt(
    metal: Metal,
    grade: Grade,
    amount: int | None = None,
    finish: Literal["matt", "polished"] | None = None,
    label: str | int = "",
    shop: Workshop | None = None,
    extra: dict[str, float] | None = None,
    steps: list[Literal["heat", "cool"]] | None = None,
    place: Kiln | str = "",
) -> str:
    """Smelt."""
    return ""


@tool
def idle() -> str:
    """Do nothing."""
    return ""


XML_FAMILIES = {
    f"{file} as {name}": (file, name) for file in ("qwen3_5_nothink", "qwen3_6", "qwen3_8") for name in
    ("qwen3_coder", "qwen3_xml")
} | {"lfm2_2_5 as pythonic": ("lfm2_2_5", "pythonic")}  # fmt: skip


def dialect_of(name: str) -> Dialect:
    if name in FAMILY_FILES:
        return family_dialect(name)
    file, dialect = XML_FAMILIES[name]
    return make_dialect(family_tokenizer((TEMPLATES / f"{file}.jinja").read_text(encoding="utf-8")), dialect)


@pytest.fixture(scope="module", params=[*sorted(FAMILY_FILES), *sorted(XML_FAMILIES)])
def dialect(request) -> Dialect:
    return dialect_of(request.param)


def shown(dialect: Dialect, spec: ToolSpec) -> str:
    text = dialect.tokenizer.decode(dialect.render([Message(role="user", content="q")], [spec]))
    return text[text.find(spec.name) :]


def test_all_of_a_typed_function_is_shown(dialect):
    text = shown(dialect, spec_of(smelt))
    for word in (
        "copper",
        "tin",
        "17",
        "42",
        "matt",
        "polished",
        "town",
        "kilns",
        "chamber",
        "degrees",
        "heat",
        "cool",
    ):
        assert word in text, word
    assert "$ref" not in text and "$defs" not in text


def test_a_call_with_all_of_it_reads_back(dialect):
    probe(dialect, [spec_of(smelt), spec_of(idle)])


@pytest.mark.parametrize("name", ["fetch-page", "shop.cart.add", "a_b-c.d", "_x", "Überweisung", "x1"])
def test_names_with_marks_read_back(dialect, name):
    if dialect.family.read is FAMILIES["pythonic"].read and not name.isascii():
        pytest.skip("not a name that this syntax writes")
    probe_tool(dialect, ToolSpec(name=name, description="d"))


def test_the_sample_satisfies_the_schema():
    spec = spec_of(smelt)
    assert check_arguments(spec, sample_arguments(spec.parameters)) == ""


def test_a_tool_that_a_family_cannot_call_is_refused_by_name():
    spec = ToolSpec(name="get {x}", description="d")
    with pytest.raises(ModelError, match=r"tool 'get \{x\}'.*does not read back.*rename the tool"):
        probe(family_dialect("gemma4"), [spec])
    probe(family_dialect("qwen2.5"), [spec])


def test_a_template_that_hides_arguments_is_refused_by_the_name_of_the_tool():
    tokenizer = micro_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace("tool | tojson", "tool.function.name")
    hidden = ToolSpec(name="f", description="d", parameters={"type": "object", "properties": {"secret": {}}})
    with pytest.raises(ModelError, match=r"tool 'f'.*does not show 'secret'"):
        probe_tool(Dialect(tokenizer, FAMILIES["chatml"]), hidden)


def test_rows_with_a_tool_that_cannot_be_called_are_left_out_and_counted():
    ask = (Message(role="user", content="q"),)
    rows = [Task.build("s", ask, (ToolSpec(name=name, description="d"),)) for name in ("a_1", "b_2", "c {", "d {")]
    speakable = Speakable(family_dialect("gemma4"))
    assert [row.tools[0].name for row in filter(speakable, rows)] == ["a_1", "b_2"]
    assert sum(speakable.left_out.values()) == 2 and "tool 'c {'" in next(iter(speakable.left_out))


def test_a_model_folder_is_refused_for_a_tool_at_hand(tmp_path):
    folder = save_chat_model(tmp_path / "model")
    load_dialect(folder, tools=[spec_of(smelt)])
    template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template.replace("tool_call.name", "tool_call.name[:8] or '_'"))
    assert "name[:8]" in (folder / "chat_template.jinja").read_text(encoding="utf-8")
    with pytest.raises(ModelError, match="tool"):
        load_dialect(folder, tools=[spec_of(idle).model_copy(update={"name": "a_long_name"})])


def test_auto_finds_the_reader_of_an_untyped_syntax(tmp_path):
    folder = save_chat_model(tmp_path / "model")
    template = (TEMPLATES / "qwen3_5_nothink.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    assert load_dialect(folder).family is FAMILIES["qwen3_coder"]


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"type": ["integer", "null"]}),
        ({"oneOf": [{"type": "string"}, {"type": ["number", "null"]}]}, {"type": ["string", "number", "null"]}),
        (
            {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "description": "d"},
            {"type": ["integer", "null"], "minimum": 1, "description": "d"},
        ),
        (
            {"anyOf": [{"enum": ["a", "b"], "type": "string"}, {"type": "null"}]},
            {"enum": ["a", "b"], "type": "string", "nullable": True},
        ),
        ({"$ref": "#/$defs/N", "description": "d"}, {"type": "integer", "description": "d"}),
        ({"allOf": [{"$ref": "#/$defs/N"}], "default": 3}, {"type": "integer", "default": 3}),
        ({"const": "x"}, {"type": "string", "enum": ["x"]}),
        ({"enum": [1, None]}, {"type": ["integer", "null"], "enum": [1, None]}),
        ({"$ref": "#/$defs/nowhere"}, {}),
        ({"type": "array", "items": {"$ref": "#/$defs/N"}}, {"type": "array", "items": {"type": "integer"}}),
        (
            {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"a": {"$ref": "#/$defs/N"}}}]},
            {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"a": {"type": "integer"}}}]},
        ),
    ],
)
def test_a_schema_in_the_form_that_templates_read(schema, form):
    whole = {"type": "object", "properties": {"p": schema}, "$defs": {"N": {"type": "integer"}}}
    assert shown_schema(whole) == {"type": "object", "properties": {"p": form}}
    assert whole["properties"]["p"] is schema


def test_a_circle_of_references_ends():
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "value": {"type": "integer"}}}
    form = shown_schema({"type": "object", "properties": {"n": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}})
    assert form["properties"]["n"]["properties"] == {"next": {"type": "object"}, "value": {"type": "integer"}}
    loop = {"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}}
    assert resolve({"$ref": "#/$defs/A"}, loop) == {}


def test_references_that_double_are_bounded():
    defs = {f"D{n}": {"type": "object", "properties": {k: {"$ref": f"#/$defs/D{n + 1}"} for k in "ab"}}
            for n in range(40)} | {"D40": {"type": "integer"}}  # fmt: skip
    form = shown_schema({"type": "object", "properties": {"p": {"$ref": "#/$defs/D0"}}, "$defs": defs})
    assert len(str(form)) < 200 * MOST_NODES


NAMES = st.sampled_from(["a", "b", "type", "description", "items", "properties", "$ref", "x-y", "enum"])
ANY_SCHEMA = st.recursive(
    st.sampled_from([{}, True, {"type": "string"}, {"type": "integer"}, {"type": ["number", "null"]},
                     {"enum": [1, "a"], "default": 1}, {"const": None, "default": None},
                     {"$ref": "#/$defs/D"}, {"$ref": "#"}, {"type": 3}, {"enum": "no"}, None, []]),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=3)}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"allOf": st.lists(inner, max_size=2), "additionalProperties": inner}),
        st.dictionaries(NAMES, inner, max_size=2),
    ),
    max_leaves=10,
)  # fmt: skip
DIALECTS = {name: family_dialect(name) for name in ("qwen2.5", "gemma4", "gpt-oss")}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(NAMES, ANY_SCHEMA, max_size=3), ANY_SCHEMA)
def test_any_schema_is_shown_or_refused_by_name(properties, definition):
    schema = {"type": "object", "properties": properties, "$defs": {"D": definition}}
    spec = ToolSpec(name="any_tool", description="d", parameters=schema)
    words_of(schema)
    for dialect in DIALECTS.values():
        try:
            probe_tool(dialect, spec)
        except ModelError as error:
            assert "any_tool" in str(error)
