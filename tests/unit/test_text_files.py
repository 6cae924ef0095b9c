"""One reader for what people write: marks, other encodings, keys that stand twice, numbers that are none."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayplay.call_lines import read_line
from rayplay.cli.tools import read_raw_lines
from rayplay.errors import EvaluationError, RecipeError, ToolboxError
from rayplay.evaluation.task_file import read_case_file
from rayplay.recipe import Pairs
from rayplay.recipe_text import load_recipe, parse_recipe
from rayplay.records import Status
from rayplay.strict_json import read_json
from rayplay.text_files import TextError, decode_text

BOM = b"\xef\xbb\xbf"
RECIPE = '{"model": {"name": "m"}%s}'
CASES = '{"cases": [{"id": "é", "kind": "k", "prompt": "p"%s}]}'


@given(st.text(min_size=4))
def test_any_text_comes_back_with_or_without_a_mark(text: str) -> None:
    if not text.startswith("\ufeff") and "\0" not in text:
        assert decode_text(text.encode()) == decode_text(BOM + text.encode()) == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_named(encoding: str) -> None:
    with pytest.raises(TextError, match=encoding[:6].upper()):
        decode_text((RECIPE % "").encode(encoding))


def test_bytes_that_are_no_text_are_placed() -> None:
    with pytest.raises(TextError, match="byte 3"):
        decode_text(b"abc\xff\xfe\xfd")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[1, NaN]", "1: nan"),
        ('{"a": {"b": [0, -Infinity]}}', "a.b.1: -inf"),
        ('{"a": 1e999}', "a: inf"),
        ("NaN", "nan"),
    ],
)
def test_numbers_that_are_none_are_named_by_their_key(text: str, named: str) -> None:
    with pytest.raises(ValueError, match="not a finite number") as caught:
        read_json(text)
    assert str(caught.value).startswith(named)


def test_a_key_that_stands_twice_is_named() -> None:
    with pytest.raises(ValueError, match="'b' stands twice"):
        read_json('{"a": {"b": 1, "c": 2, "b": 3}}')


def test_recipes_are_read_with_a_mark_and_refused_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_bytes(BOM + (RECIPE % "").encode())
    assert load_recipe(path).model.name == "m"
    path.write_bytes((RECIPE % "").encode("utf-16"))
    with pytest.raises(RecipeError, match="UTF-16 text; save it as UTF-8"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ('"rewards": {"answer": NaN}', "rewards.answer"),
        ('"pairs": {"min_margin": 1e400}', "pairs.min_margin"),
        ('"sandbox": {"deadline_s": Infinity}', "sandbox.deadline_s"),
        (
            '"data": {"sources": [{"source": "templates", "options": {"share": [NaN]}}]}',
            "data.sources.0.options.share.0",
        ),
        ('"training": {"compare": {"dpo": {"beta": Infinity}}}', "training.compare.dpo.beta"),
        ('"model": {"name": "m", "chat_template_kwargs": {"x": -1e999}}', "model.chat_template_kwargs.x"),
    ],
)
def test_a_recipe_holds_finite_numbers_wherever_it_holds_numbers(part: str, key: str) -> None:
    with pytest.raises(RecipeError, match=key):
        parse_recipe("{" + part + ("" if '"model"' in part else ', "model": {"name": "m"}') + "}", "r.json")


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999"])
def test_set_gives_finite_numbers_too(text: str) -> None:
    with pytest.raises(RecipeError, match=r"rollout\.temperature"):
        parse_recipe(RECIPE % "", "r.json", (f"rollout.temperature={text}",))


def test_recipes_built_in_code_hold_finite_numbers() -> None:
    with pytest.raises(ValueError, match="finite"):
        Pairs(min_margin=float("inf"))


def test_cases_are_read_with_a_mark_and_hold_finite_numbers(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    path.write_bytes(BOM + (CASES % "").encode())
    assert read_case_file(path).cases[0].id == "é"
    for content, named in (
        ((CASES % ', "tolerance": NaN').encode(), "cases.0.tolerance"),
        ((CASES % "").encode("utf-16"), "UTF-16"),
        ((CASES % "").encode("latin-1"), "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        ((CASES % ', "id": "b"').encode(), "'id' stands twice"),
        (b"{", "line 1"),
    ):
        path.write_bytes(content)
        with pytest.raises(EvaluationError, match=named):
            read_case_file(path)


def test_a_mark_belongs_to_no_call_and_stands_only_at_the_start(tmp_path: Path) -> None:
    line = b'{"name": "add", "arguments": {"a": 1}}\r'
    assert read_line(BOM + line, 1)[0].arguments == {"a": 1}
    assert read_line(BOM + line, 2)[0].problem is Status.INVALID_JSON
    path = tmp_path / "calls.jsonl"
    path.write_bytes(line.decode().encode("utf-16"))
    with pytest.raises(ToolboxError, match="UTF-16"):
        read_raw_lines(path)


def test_numbers_that_are_none_make_a_line_no_call() -> None:
    for text in ('"arguments": {"a": [1, NaN]}', '"arguments": "{\\"a\\": 1e999}"', '"state": {"n": Infinity}'):
        assert read_line(b'{"name": "add", %s}' % text.encode(), 1)[0].problem is Status.INVALID_JSON
