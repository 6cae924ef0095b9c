"""Bad rows are counted with a reason and the line of the first example; nothing crashes, nothing disappears."""

import datetime
import gzip
import json

import pytest

from rayplay.data import reading
from rayplay.data.census import Census
from rayplay.data.reading import rows_of
from rayplay.data.schemas import fit, schema_of_parameters, schema_of_type
from rayplay.data.sources import open_source, read_opened
from rayplay.errors import DataError

TOOL = {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}


def row(*messages, tools=(TOOL,), **rest):
    return json.dumps({"messages": list(messages), "tools": list(tools), **rest})


def said(role, content="x", **rest):
    return {"role": role, "content": content, **rest}


def call(name="add", arguments=None):
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments or {"a": 1})}}


GOOD = row(said("user"), said("assistant", "", tool_calls=[call()]))

BAD = {
    "{broken": "broken_json",
    '{"messages": NaN}': "broken_json",
    "[" * 5000: "broken_json",
    '"text"': "wrong_format",
    "{}": "wrong_format",
    '{"messages": []}': "empty",
    row(said("user"), said("assistant", "", tool_calls=[call("sub")])): "unknown_tool",
    row(said("user"), said("assistant", "", tool_calls=[call(arguments={"a": "one"})])): "bad_arguments",
    row(said("user"), said("assistant", "", tool_calls=[call(arguments={"a": "1"})])): "bad_arguments",
    row(said("user"), said("assistant", "", tool_calls=[call(arguments={"a": 1, "b": 2})])): "bad_arguments",
    row(said("user"), said("assistant", "", tool_calls=["add"])): "broken_call",
    row(said("user"), said("assistant", "", tool_calls=5)): "broken_call",
    row(said("user"), said("assistant", "", tool_calls=[{"name": "add", "arguments": "{"}])): "broken_call",
    row(said("assistant"), said("user")): "roles_out_of_order",
    row(said("user"), said("tool"), said("assistant")): "roles_out_of_order",
    row(said("user"), said("system"), said("assistant")): "roles_out_of_order",
    row(said("user"), said("assistant", "", tool_calls=[call()]), said("user")): "roles_out_of_order",
    row(said("user"), said("assistant"), said("robot")): "wrong_format",
    row(said("user"), said("assistant", 7)): "wrong_format",
    row(said("user"), said("assistant", "")): "empty",
    row(said("user"), said("assistant"), tools=["{"]): "broken_tools",
    row(said("user"), said("assistant"), tools=[{"description": "no name"}]): "broken_tools",
    row(said("user", "y" * 300_000), said("assistant")): "too_large",
}  # fmt: skip


def census_of(path, name=None):
    opened = open_source(path, name)
    census = Census.of(opened)
    for outcome in read_opened(opened):
        census.count(outcome)
    return census


@pytest.mark.parametrize(("line", "reason"), BAD.items(), ids=range(len(BAD)))
def test_a_bad_line_is_rejected_with_its_reason_and_line(tmp_path, line, reason):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([GOOD, "", line, GOOD]) + "\n")
    census = census_of(path)
    assert (census.rows, census.usable, dict(census.rejected)) == (3, 2, {reason: 1})
    assert f"{path}:3" in census.first[reason]


def test_the_second_row_of_an_id_is_rejected(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(row(said("user"), said("assistant"), id=i) for i in ("a", "b", "a")))
    census = census_of(path)
    assert (census.usable, dict(census.rejected)) == (2, {"duplicate_id": 1})
    assert census.first["duplicate_id"].startswith(f"{path}:3")


def test_bytes_that_are_no_text_are_rejected(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(GOOD.encode() + b'\n{"messages": "\xff\xfe"}\n' + GOOD.encode())
    assert dict(census_of(path).rejected) == {"not_utf8": 1}


@pytest.mark.parametrize("bad", [b'"\xff\xfe"', b'"\\ud800"'])
def test_text_that_cannot_be_written_again_is_rejected_in_an_array_too(tmp_path, bad):
    path = tmp_path / "rows.json"
    path.write_bytes(b"[" + b",\n".join([GOOD.encode(), GOOD.encode().replace(b'"x"', bad, 1), GOOD.encode()]) + b"]")
    census = census_of(path)
    assert (census.usable, dict(census.rejected)) == (2, {"not_utf8": 1})
    assert json.dumps(census.summary(), ensure_ascii=False).encode()


def test_values_behind_the_end_of_an_array_are_not_lost(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(f"[{GOOD}]\n[{GOOD}]\n{GOOD}")
    assert [type(r.value) for r in rows_of(path)] == [list, list, dict]
    path.write_text(f"[\n{GOOD}\n]\n{GOOD}")
    assert [r.value for r in rows_of(path)] == [json.loads(GOOD)] * 2


@pytest.mark.parametrize("turn", [{"from": ["x"]}, {"from": None}, {"from": {"a": 1}, "value": "x"}, "x", None])
def test_a_turn_without_a_known_role_is_rejected(tmp_path, turn):
    good = [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"conversations": c, "tools": "[]"}) + "\n" for c in (good, [*good, turn])))
    census = census_of(path, "glaive-sharegpt")
    assert (census.usable, dict(census.rejected)) == (1, {"wrong_format": 1})


@pytest.mark.parametrize("shape", ["lines", "array"])
def test_a_gigantic_row_is_skipped_and_reading_goes_on(tmp_path, monkeypatch, shape):
    monkeypatch.setattr(reading, "MAX_ROW_BYTES", 1 << 16)
    monkeypatch.setattr(reading, "_CHUNK", 1 << 12)
    giant = row(said("user", "{x" * (1 << 17)), said("assistant"))
    rows = [GOOD, giant, GOOD]
    path = tmp_path / "rows.json"
    path.write_text("\n".join(rows) if shape == "lines" else f"[{', '.join(rows)}]")
    census = census_of(path)
    assert (census.rows, census.usable, dict(census.rejected)) == (3, 2, {"too_large": 1})


def test_a_broken_element_of_an_array_costs_only_itself(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(f'[{GOOD},\n {{"a": 1,, "b": "]}}"}},\n {GOOD}]')
    census = census_of(path)
    assert (census.rows, census.usable, dict(census.rejected)) == (3, 2, {"broken_json": 1})
    assert f"{path}:2" in census.first["broken_json"]


@pytest.mark.parametrize("damage", [b'"', b"{", b"}", b"]", b",", b"\\"])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_character_too_many_costs_no_more_than_the_rows_it_touches(tmp_path, indent, damage):
    rows = [{"id": i, "text": "a, {b}", "list": [{"n": i}]} for i in range(9)]
    text = json.dumps(rows, indent=indent).encode()
    at = text.index(b"a, {b}", len(text) // 2)
    path = tmp_path / "rows.json"
    path.write_bytes(text[: at - 2] + damage + text[at - 2 :])
    found = list(rows_of(path))
    assert sum(r.value in rows for r in found) >= 7
    assert any(r.problem for r in found)


def test_keys_of_a_mapping_that_span_chunks_are_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_CHUNK", 16)
    values = {f"a query of {n} words": {"n": n, "more": 'x"]}' * n} for n in range(20)}
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(values))
    assert {r.key: r.value for r in rows_of(path)} == values


def test_a_value_that_spans_chunks_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_CHUNK", 16)
    path = tmp_path / "rows.json"
    values = [{"text": 'a\\"]}' * n, "n": n} for n in range(40)]
    path.write_text(json.dumps(values))
    assert [r.value for r in rows_of(path)] == values


def test_gzip_and_parquet_are_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    value = {"id": "a", "query": "q", "answers": "[]", "tools": json.dumps([TOOL])}
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as out:
        out.write(json.dumps(value))
    pandas.DataFrame([value]).to_parquet(tmp_path / "rows.parquet")
    census = census_of(tmp_path)
    assert (census.name, census.rows, census.usable) == ("xlam", 2, 2)


def test_nulls_that_arrow_fills_in_are_no_arguments(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    calls = [{"function": {"name": "add", "arguments": a}} for a in ({"a": 1, "b": None}, {"a": None, "b": "x"})]
    rows = [
        {"messages": [said("user"), said("assistant", tool_calls=[c])], "tools": json.dumps([TOOL]), "when": when}
        for c, when in zip(calls, (None, datetime.date(2030, 1, 1)), strict=True)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    census = census_of(tmp_path)
    assert (census.name, census.usable, dict(census.rejected)) == ("openai-jsonl", 1, {"bad_arguments": 1})


def test_a_damaged_file_is_a_rejected_row(tmp_path):
    (tmp_path / "a.jsonl").write_text(GOOD)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 not really")
    whole = gzip.compress(GOOD.encode() * 50)
    (tmp_path / "c.jsonl.gz").write_bytes(whole[:20] + bytes(9) + whole[29:])
    assert dict(census_of(tmp_path).rejected) == {"unreadable_file": 2}


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(GOOD)
    with pytest.raises(DataError, match=r"none of 1 rows is usable as xlam: 1 wrong_format \(first: .*rows.jsonl:1"):
        census_of(path, "xlam").require_usable(str(path))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "missing.jsonl", "no such file"),
        (lambda p: p, "no data file"),
        (lambda p: _write(p / "a.txt", "hello"), "no known format"),
        (lambda p: _write(p / "a.jsonl", ""), "no known format"),
    ],
)
def test_a_path_without_rows_is_an_error(tmp_path, make, message):
    with pytest.raises(DataError, match=message):
        open_source(make(tmp_path))


def test_an_unknown_format_names_the_known_ones(tmp_path):
    with pytest.raises(DataError, match=r"'toolbank' is unknown; known: .*toolbench-answers"):
        open_source(_write(tmp_path / "a.jsonl", GOOD), "toolbank")


def _write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "schema", "optional"),
    [
        ("str", {"type": "string"}, False),
        ("int, optional", {"type": "integer"}, True),
        ("NUMBER", {"type": "number"}, False),
        ("List[int]", {"type": "array", "items": {"type": "integer"}}, False),
        ("List[List[float]]", {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}, False),
        ("List[Union[int, float]]", {"type": "array", "items": {"type": ["integer", "number"]}}, False),
        ("Tuple[float, float]", {"type": "array", "items": {"type": "number"}}, False),
        ("Dict[str, int]", {"type": "object"}, False),
        ("Optional[int]", {"type": "integer"}, True),
        ("Literal['a', 'b']", {"enum": ["a", "b"]}, False),
        ("int | None", {"type": ["integer", "null"]}, False),
        ("list of strings", {"type": "array", "items": {}}, False),
        ("HashMap", {"type": "object"}, False),
        ("Callable[[float], float]", {"type": "string"}, False),
        ("str, optional, default is 'x'", {"type": "string"}, True),
        ("any", {}, False),
        ("no such type", {"type": "string"}, False),
    ],
)
def test_type_words_become_schemas(text, schema, optional):
    assert schema_of_type(text) == (schema, optional)


@pytest.mark.parametrize(
    ("value", "schema", "fitted"),
    [
        ("63", {"type": "integer"}, 63),
        ("19.0", {"type": "number"}, 19.0),
        ("6.0", {"type": "integer"}, 6),
        (5.0, {"type": "integer"}, 5),
        ("true", {"type": "boolean"}, True),
        (0.92, {"type": "string"}, "0.92"),
        ("[1, 2]", {"type": "array", "items": {"type": "integer"}}, [1, 2]),
        ({"n": "3"}, {"type": "object", "properties": {"n": {"type": "integer"}}}, {"n": 3}),
        ("seven", {"type": "integer"}, "seven"),
        (True, {"type": "string"}, True),
        ("9" * 400, {"type": "integer"}, "9" * 400),
    ],
)
def test_values_are_read_as_their_schema_wants_where_only_the_spelling_differs(value, schema, fitted):
    assert fit(value, schema) == fitted


def test_wild_parameter_descriptions_give_valid_schemas():
    jsonschema = pytest.importorskip("jsonschema")
    wild = [
        {"a": {"type": "weird thing", "enum": "x", "minimum": "low", "items": 3, "required": True}},
        {
            "type": "object",
            "properties": {"a": "str", "b": None, "c": {"$ref": "#/nowhere"}},
            "required": ["a", "z", 3],
        },
        [{"name": "a", "type": "int"}, "junk", {"type": "no name"}],
        {"a": {"type": ["string", "null"], "pattern": "("}, "required": ["a"]},
        "nonsense",
        None,
    ]
    for raw in wild:
        schema = schema_of_parameters(raw)
        jsonschema.Draft202012Validator.check_schema(schema)
        list(jsonschema.Draft202012Validator(schema).iter_errors({"a": 1}))
