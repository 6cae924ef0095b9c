"""Which arguments of a call are right: types as schemas spell them, null, what is required, what may be left out."""

import pytest

from rayplay.matching import argument_score, judged_by, match_calls
from rayplay.pairs import reason_of
from rayplay.records import Expected, ExpectedCall, Message, Reason, Task, ToolCall, ToolSpec, Turn

INTEGER, STRING, NULL = {"type": "integer"}, {"type": "string"}, {"type": "null"}
WHOLE_NUMBERS = [
    INTEGER,
    {"type": ["null", "integer"]},
    {"anyOf": [INTEGER, NULL]},
    {"oneOf": [STRING, INTEGER]},
    {"allOf": [{}, INTEGER]},
    {"$ref": "#/$defs/count"},
    {"$ref": "#/%24defs/count"},
    {"$ref": "#/$defs/several/anyOf/1"},
    {"anyOf": [{"$ref": "#/$defs/count"}, NULL]},
    {"enum": [3, 4]},
    {"const": 3},
    {"type": "integer", "nullable": True},
]
ANY_NUMBERS = [
    {"type": "number"},
    {"type": ["integer", "number"]},
    {"anyOf": [{"type": "number"}, NULL]},
    {"anyOf": [INTEGER, {"type": "number"}]},
    {"enum": [3.0, 4.5]},
    {},
    {"$ref": "#/$defs/nowhere"},
    {"$ref": "https://example.com/elsewhere.json"},
    {"$ref": "#/$defs/circle"},
    {"$ref": "#anchor"},
]
AROUND = [
    lambda schema, value: (schema, value),
    lambda schema, value: ({"type": "array", "items": schema}, [value]),
    lambda schema, value: ({"type": "array", "prefixItems": [STRING, schema]}, ["a", value]),
    lambda schema, value: ({"type": "array", "items": [STRING, schema]}, ["a", value]),
    lambda schema, value: ({"type": "object", "properties": {"n": schema}}, {"n": value}),
    lambda schema, value: ({"type": "object", "additionalProperties": schema}, {"n": value}),
    lambda schema, value: ({"anyOf": [STRING, {"type": "array", "items": schema}]}, [value]),
]


def tool(required: tuple[str, ...] = (), **properties) -> ToolSpec:
    defs = {"count": INTEGER, "several": {"anyOf": [STRING, INTEGER]}, "circle": {"$ref": "#/$defs/circle"}}
    return ToolSpec(name="f", parameters={"properties": properties, "required": list(required), "$defs": defs})


def made(**arguments) -> ToolCall:
    return ToolCall(call_id="c", name="f", arguments=arguments)


def is_right(want: ExpectedCall, given: dict, spec: ToolSpec, rule: str = "plain") -> bool:
    return match_calls(Expected(calls=(want,), rule=rule), [made(**given)], [spec]).exact


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("schema", WHOLE_NUMBERS)
def test_no_float_stands_for_an_integer_however_the_schema_spells_it(schema, around):
    (outer, whole), (_, as_float) = around(schema, 3), around(schema, 3.0)
    want = ExpectedCall(name="f", arguments={"x": whole})
    assert is_right(want, {"x": whole}, tool(x=outer)) and not is_right(want, {"x": as_float}, tool(x=outer))


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("schema", ANY_NUMBERS)
def test_an_integer_and_a_float_are_one_number_where_the_schema_takes_both(schema, around):
    (outer, whole), (_, as_float) = around(schema, 3), around(schema, 3.0)
    for expected, given in ((whole, as_float), (as_float, whole)):
        assert is_right(ExpectedCall(name="f", arguments={"x": expected}), {"x": given}, tool(x=outer))


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("schema", [*WHOLE_NUMBERS, *ANY_NUMBERS])
def test_true_is_never_one(schema, around):
    for expected, given in ((1, True), (True, 1), (0, False), (1.0, True)):
        (outer, wanted), (_, said) = around(schema, expected), around(schema, given)
        assert not is_right(ExpectedCall(name="f", arguments={"x": wanted}), {"x": said}, tool(x=outer))


def test_an_expected_float_under_an_integer_schema_is_right_as_it_stands():
    want = ExpectedCall(name="f", arguments={"x": 3.0})
    assert is_right(want, {"x": 3.0}, tool(x=INTEGER)) and is_right(want, {"x": 3}, tool(x=INTEGER))


@pytest.mark.parametrize(
    ("schema", "takes"),
    [
        *(
            (STRING, False),
            (INTEGER, False),
            ({"type": ["string", "integer"]}, False),
            ({"anyOf": [STRING, INTEGER]}, False),
        ),
        *(
            ({"enum": ["a", "b"]}, False),
            ({"type": "string", "default": None}, False),
            ({"$ref": "#/$defs/count"}, False),
        ),
        *(({"type": ["string", "null"]}, True), ({"anyOf": [STRING, NULL]}, True), ({"enum": ["a", None]}, True)),
        *(({"type": "string", "nullable": True}, True), ({}, True), ({"const": None}, True)),
    ],
)
def test_null_is_right_only_where_the_schema_takes_it(schema, takes):
    for want in (
        ExpectedCall(name="f", arguments={"x": None}),
        ExpectedCall(name="f", alternatives={"x": ("a", None)}),
        ExpectedCall(name="f", arguments={"x": "a"}, accepted={"/x": (None,)}),
    ):
        assert is_right(want, {"x": None}, tool(x=schema)) is takes
    inside = ExpectedCall(name="f", arguments={"o": {"x": None}})
    assert is_right(inside, {"o": {"x": None}}, tool(o={"type": "object", "properties": {"x": schema}})) is takes


def test_an_expected_null_has_to_be_said():
    spec = tool(x={"type": ["string", "null"]}, y={"type": ["string", "null"], "default": None})
    assert not is_right(ExpectedCall(name="f", arguments={"x": None}), {}, spec)
    assert not is_right(ExpectedCall(name="f", arguments={"x": "a"}, accepted={"/x": (None,)}), {}, spec)
    assert is_right(ExpectedCall(name="f", arguments={"y": None}), {}, spec)


def test_what_may_be_left_out_is_named_by_null_among_alternatives_or_as_optional():
    spec = tool(x=STRING)
    for want in (
        ExpectedCall(name="f", alternatives={"x": ("a", None)}),
        ExpectedCall(name="f", arguments={"x": "a"}, optional=("x",)),
        ExpectedCall(name="f", arguments={"x": "a"}, optional=("/x",)),
    ):
        assert is_right(want, {}, spec) and is_right(want, {"x": "a"}, spec)
        assert not is_right(want, {"x": None}, spec) and not is_right(want, {"x": "b"}, spec)


def test_what_the_schema_requires_must_be_given():
    spec = tool(("x",), x={"type": "string", "default": "a"})
    for want in (
        ExpectedCall(name="f", arguments={"x": "a"}),
        ExpectedCall(name="f", arguments={"x": "a"}, optional=("x",)),
        ExpectedCall(name="f", alternatives={"x": ("a", None)}),
        ExpectedCall(name="f"),
    ):
        assert argument_score(want, made(), spec) == 0.0 and argument_score(want, made(x="a"), spec) == 1.0


def test_an_argument_that_is_not_expected_may_say_its_default_but_officially_may_not():
    spec = tool(x={"type": "string", "default": "a"})
    want = ExpectedCall(name="f")
    assert is_right(want, {"x": "a"}, spec) and not is_right(want, {"x": "b"}, spec)
    assert not is_right(want, {"x": "a"}, spec, "official")
    assert not is_right(ExpectedCall(name="f", arguments={"x": "a"}), {}, spec, "official")


def test_places_inside_have_alternatives_and_fields_that_may_be_absent():
    want = ExpectedCall(
        name="f",
        arguments={"o": {"unit": "km", "steps": [{"to": "A"}, {"to": "B"}]}},
        accepted={"/o/unit": ("m", None), "/o/steps/1/to": ("C",), "/o/a~1b": (1,)},
        optional=("/o/unit", "/o/a~1b"),
    )
    right = [
        {"unit": "km", "steps": [{"to": "A"}, {"to": "C"}]},
        {"unit": None, "steps": [{"to": "A"}, {"to": "B"}]},
        {"steps": [{"to": "A"}, {"to": "B"}], "a/b": 1},
    ]
    wrong = [
        {"unit": "mi", "steps": [{"to": "A"}, {"to": "B"}]},
        {"unit": "km", "steps": [{"to": "C"}, {"to": "B"}]},
        {"unit": "km", "steps": [{"to": "A"}]},
        {"unit": "km", "steps": [{"to": "A"}, {"to": "B"}], "a/b": 2},
        {"unit": "km", "steps": [{"to": "A"}, {}]},
    ]
    assert all(is_right(want, {"o": o}, tool(o={})) for o in right)
    assert not any(is_right(want, {"o": o}, tool(o={})) for o in wrong)


@pytest.mark.parametrize(
    ("expected", "given"),
    [(6.7e-11, 0.0), (6.7e-11, -6.7e-11), (3e-10, 8e-10), (0, 1e-12), (1e-310, 2e-310), (0.0, -1e-20)],
)
def test_small_numbers_differ_as_large_ones_do(expected, given):
    assert not is_right(ExpectedCall(name="f", arguments={"x": expected}), {"x": given}, tool(x={"type": "number"}))


def test_floats_are_equal_up_to_what_computing_loses_and_whole_numbers_wholly():
    spec = tool(x={"type": "number"})
    near = ExpectedCall(name="f", arguments={"x": 0.1 * 3})
    assert is_right(near, {"x": 0.3}, spec) and not is_right(near, {"x": 0.3}, spec, "exact")
    assert not is_right(ExpectedCall(name="f", arguments={"x": 8812345678}), {"x": 8812345679.0}, spec)


def test_the_task_s_rule_comes_before_the_recipe_s():
    task = Task.build("t", (Message(role="user", content="q"),), ())
    ruled = task.model_copy(update={"expected": Expected(rule="exact")})
    assert judged_by(task, "official").expected.rule == "official"
    assert judged_by(ruled, "official").expected.rule == "exact" and judged_by(task, "plain") is task


@pytest.mark.parametrize(("rule", "right"), [("official", True), ("plain", False), ("exact", False), (None, False)])
def test_the_rule_decides_what_counts_of_strings(rule, right):
    expected = Expected(calls=(ExpectedCall(name="f", arguments={"x": "9 - 4"}),), rule=rule)
    assert match_calls(expected, [made(x="9 * 4")], [tool(x=STRING)]).exact is right


def test_records_of_before_load_and_mean_what_they_meant():
    old = '{"name": "f", "arguments": {"a": 1}, "alternatives": {"x": ["b", null]}}'
    want = ExpectedCall.model_validate_json(old)
    assert is_right(want, {"a": 1}, tool(a=INTEGER, x=STRING)) and want.optional == () and want.accepted == {}
    assert Expected.model_validate_json('{"calls": [], "tolerance": 0.01}').rule is None
    assert ExpectedCall.model_validate_json(want.model_dump_json()) == want


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (("f",), ("f", "f"), Reason.EXTRA_CALLS),
        (("f", "g"), ("g",), Reason.MISSING_CALLS),
        (("f", "g"), ("g", "f"), Reason.OTHER),
        (("f",), ("g",), Reason.WRONG_TOOL),
    ],
)
def test_reasons_compare_the_calls_whatever_their_order(chosen, rejected, reason):
    better, worse = (
        Turn(
            start=0,
            end=1,
            calls=tuple(ToolCall(call_id=str(i), name=n, arguments={"x": "a"}) for i, n in enumerate(names)),
        )
        for names in (chosen, rejected)
    )
    assert reason_of(better, worse) is reason


def test_arguments_that_say_the_same_are_no_wrong_arguments():
    sides = [Turn(start=0, end=1, calls=(made(x=text),)) for text in ("Bodø, Norway", "bodø norway", "Oslo")]
    assert reason_of(sides[0], sides[1]) is Reason.OTHER and reason_of(sides[0], sides[2]) is Reason.WRONG_ARGUMENTS
