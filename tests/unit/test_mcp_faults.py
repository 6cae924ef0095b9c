"""Faulty MCP servers: each complaint costs the tool, the block or the call that it is about, and nothing is left
running.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rayplay import mcp_descriptions, mcp_stdio
from rayplay.errors import ToolboxError
from rayplay.mcp_descriptions import MAX_SKIPPED, MORE, ToolList, allowed
from rayplay.mcp_results import BLOCKS_MAX, read_result
from rayplay.mcp_stdio import failed, parse
from rayplay.mcp_tools import McpToolbox
from rayplay.records import Status, ToolCall, ToolResult

SERVER = str(Path(__file__).with_name("mcp_plan_server.py"))
PLAIN = {"type": "object", "properties": {"q": {"type": "string"}}}
ADD = {"name": "add", "inputSchema": PLAIN}

pytestmark = pytest.mark.timeout(90)


def opened(tmp_path: Path, plan: dict[str, Any], **options: Any) -> McpToolbox:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"tools": [ADD], **plan}))
    options = {"deadline_s": 10.0, "start_deadline_s": 20.0, **options}
    return McpToolbox(command=sys.executable, args=[SERVER, str(path)], **options)


def use(box: McpToolbox, name: str = "add", **arguments: Any) -> ToolResult:
    spec = next(spec for spec in box.describe() if spec.name == name)
    return box.run(spec, ToolCall(call_id="c", name=name, arguments=arguments))


def listed(*entries: Any, allow: list[str] | None = None) -> tuple[list[str], dict[str, str]]:
    tools = ToolList(allow)
    tools.add(list(entries))
    return [spec.name for spec in tools.specs("s", 1.0, False)], tools.skipped


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"name": "b"}, "inputSchema is missing"),
        ({"name": "b", "inputSchema": None}, "inputSchema is missing"),
        ({"name": "b", "inputSchema": "object"}, "inputSchema is a str"),
        ({"name": "b", "inputSchema": [PLAIN]}, "inputSchema is a list"),
        ({"name": "b", "inputSchema": {"type": "array"}}, "describes 'array'"),
        ({"name": "b", "inputSchema": {"type": "object", "properties": {"q": {"type": "str"}}}}, "properties.q.type"),
        ({"name": "b", "inputSchema": {"type": "object", "properties": ["q"]}}, "its schema is none"),
        ({"name": "b", "inputSchema": {"type": "object", "description": "d" * 300_000}}, "characters"),
        ({"name": "b", "inputSchema": {"enum": list(range(30_000))}}, "more than 20000 values"),
        (ADD, "the same name"),
        ({"inputSchema": PLAIN}, "no name"),
        ({"name": 7, "inputSchema": PLAIN}, "no name"),
        ({"name": "n" * 300, "inputSchema": PLAIN}, "no name of 1 to 200"),
        ("add", "no name"),
        (None, "no name"),
    ],
)
def test_an_entry_that_cannot_be_offered_costs_itself_alone(bad: Any, reason: str) -> None:
    names, skipped = listed(ADD, bad, {"name": "last", "inputSchema": {}})
    assert names == ["add", "last"] and len(skipped) == 1
    assert reason in next(iter(skipped.values()))


def test_schemas_nested_beyond_all_measure_or_doubling_are_left_out() -> None:
    deep: Any = {"type": "string"}
    for _ in range(400):
        deep = {"type": "object", "properties": {"a": deep}}
    doubling = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}
    bomb = {"type": "object", "properties": {"q": {"$ref": "#/$defs/d0"}}, "$defs": {**doubling, "d60": {}}}
    names, skipped = listed({"name": "deep", "inputSchema": deep}, {"name": "bomb", "inputSchema": bomb}, ADD)
    assert names == ["add"] and set(skipped) == {"deep", "bomb"}


def test_what_stands_beside_name_and_schema_is_taken_where_it_has_its_type() -> None:
    odd = {"description": 5, "title": ["t"], "annotations": "none", "outputSchema": 3}
    tools = ToolList()
    tools.add([{**ADD, **odd}, {"name": "b", "inputSchema": PLAIN, "annotations": {"readOnlyHint": True}}])
    first, second = tools.specs("s", 1.0, False)
    assert (first.description, first.returns, first.idempotent, second.idempotent) == ("add", {}, False, True)


def test_lists_of_any_length_are_bounded_and_say_what_is_left_out() -> None:
    many = [{"name": f"t{n}", "inputSchema": PLAIN} for n in range(6000)]
    names, skipped = listed(*many)
    assert len(names) == mcp_descriptions.MAX_TOOLS and len(skipped) == MAX_SKIPPED + 1
    assert skipped[MORE].startswith(f"{5000 - MAX_SKIPPED} more")
    assert listed(*many, allow=["t5999"]) == (["t5999"], {})
    assert len(listed(*[ADD] * 12_000)[0]) == 1
    tools = ToolList()
    tools.add({"add": ADD})
    assert "not an array" in tools.skipped["(list)"]


def test_judging_ends_at_its_time() -> None:
    tools = ToolList()
    tools.add([ADD] * 50, until=time.monotonic() - 1)
    assert tools.specs("s", 1.0, False) == () and "50 tools" in tools.skipped["(rest)"]


CLASHING = [{"name": name, "inputSchema": PLAIN} for name in ("drop.table", "drop_table", "drop table")]


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_that_is_allowed_allows_that_tool_alone(order: int) -> None:
    for allow, own in (("drop_table", "drop_table"), ("drop.table", "drop.table"), ("drop table", "drop table")):
        tools = ToolList([allow])
        tools.add(CLASHING[::order])
        found = allowed(tools.specs("s", 1.0, False), [allow], "s", tools.names)
        assert [spec.original_name or spec.name for spec in found] == [own]
    names, _ = listed(*CLASHING[::order])
    assert sorted(names) == ["drop_table", "drop_table_2", "drop_table_3"]


def test_a_name_made_valid_serves_only_where_no_tool_really_has_it() -> None:
    tools = ToolList(["drop_table"])
    tools.add(CLASHING[:1])
    assert [s.name for s in allowed(tools.specs("s", 1.0, False), ["drop_table"], "s", tools.names)] == ["drop_table"]
    broken = ToolList(["drop_table"])
    broken.add([CLASHING[0], {"name": "drop_table"}])
    with pytest.raises(ToolboxError, match="cannot be offered"):
        allowed(broken.specs("s", 1.0, False), ["drop_table"], "s", broken.names)


@pytest.mark.parametrize(
    ("result", "failed_there", "text"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "text"}, {"type": "odd"}, 5, None]}, False, "a\n[text"),
        ({"content": "plain"}, False, "plain"),
        ({"content": None, "structuredContent": {"n": "x"}}, False, '{"n": "x"}'),
        ({"content": [], "structuredContent": [1]}, False, "[1]"),
        ({"content": {"type": "text", "text": "one"}, "isError": True}, True, "one"),
        ({"content": [{"type": "text", "text": "a"}], "isError": "maybe"}, False, "a"),
        ({"resultType": "input_required"}, True, "the server asks for more input"),
        ({"content": [{"type": "image", "data": 5}]}, False, "[image: None, 0 bytes"),
        ({"content": [{"type": "resource", "resource": {"uri": "u", "blob": "AAAA"}}]}, False, "[file: u, 3 bytes"),
        ({}, False, ""),
    ],
)
def test_results_are_read_block_by_block(result: dict, failed_there: bool, text: str) -> None:
    assert read_result(result, 1000)[0] is failed_there
    assert read_result(result, 1000)[1].startswith(text)


def test_results_of_any_length_are_read_up_to_a_bound() -> None:
    blocks = [{"type": "text", "text": ""}, *[{"type": "text", "text": "z" * 9}] * 300_000]
    assert len(read_result({"content": blocks}, 1000)[1]) < 1100
    assert "more blocks" in read_result({"content": blocks}, 1 << 30)[1][-60:]
    assert read_result({"content": blocks}, 1 << 30)[1].count("\n") == BLOCKS_MAX - 1


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc": "2.0", "id": 4, "result": [1]}',
        b'{"jsonrpc": "1.0", "id": 4, "result": {}}',
        b'{"jsonrpc": "2.0", "id": 4, "error": {"code": "x", "message": 5}}',
        b'{"jsonrpc": "2.0", "id": 4, "result": {"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}}",
        b'{"jsonrpc": "2.0", "id": 4, "result": {"a": tru',
    ],
)
def test_an_answer_that_cannot_be_read_is_the_error_of_its_request(line: bytes) -> None:
    message = parse(line)
    assert message.id == 4 and "cannot be read" in message.error.message


def test_what_is_no_message_is_passed_over() -> None:
    for line in (b"", b"Listening", b"{'a': 1}", b"[]", b"\xff\xfe", b'{"a": 1}'):
        assert parse(line) is None
    assert failed(b'{"id": "a1", "result": ', "why").id == "a1"
    assert parse(b'{"jsonrpc":"2.0","id":1,"result":{"t":"\\ud800"}}').result == {"t": "\ud800"}


ANSWER = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}


def test_answers_that_fit_no_output_schema_are_answers(tmp_path: Path) -> None:
    tools = [{"name": name, "inputSchema": PLAIN, "outputSchema": ANSWER} for name in ("plain", "other", "none")]
    results = {
        "plain": {"content": [{"type": "text", "text": "n is 4"}]},
        "other": {"content": [], "structuredContent": {"n": "four"}},
        "none": {"content": [], "structuredContent": None},
    }
    with opened(tmp_path, {"tools": [ADD, *tools], "results": results}) as box:
        assert use(box).text == "add 1"
        found = [(use(box, name).status, use(box, name).text) for name in ("plain", "other", "none")]
        assert found == [(Status.OK, "n is 4"), (Status.OK, '{"n": "four"}'), (Status.OK, "")]
        assert use(box).text == "add 8" and box.starts == 1


def test_one_bad_entry_leaves_a_server_usable(tmp_path: Path) -> None:
    with opened(tmp_path, {"tools": [{"name": "bad"}, 5, ADD]}) as box:
        assert use(box).status is Status.OK and set(box.skipped) == {"bad", "(number 2)"}
        assert box.report()["skipped"] == box.skipped


def test_a_server_that_offers_nothing_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        ToolboxError, match=r"no tool that can be offered \(bad: its inputSchema is missing\)"
    ) as caught:
        opened(tmp_path, {"tools": [{"name": "bad"}]})
    assert "\n" not in str(caught.value)


def test_a_list_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayplay.mcp_tools.MAX_PAGES", 7)
    with opened(tmp_path, {"pages": True}) as box:
        assert len(box.describe()) == 7 and "no end within 7 pages" in box.skipped["(rest)"]


def test_a_list_that_never_comes_is_refused_in_time(tmp_path: Path) -> None:
    with pytest.raises(ToolboxError, match="list of tools did not come within 3 s"):
        opened(tmp_path, {"late": ["tools/list"]}, start_deadline_s=3.0)


def test_unreadable_and_overlong_answers_cost_their_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_stdio, "MESSAGE_BYTES_MAX", 1 << 17)
    head = '{"jsonrpc": "2.0", "id": {id}, "result": '
    raw = {"torn": head + "{", "list": head + "[]}", "long": head + '{"content": "' + "y" * (1 << 18) + '"}}'}
    tools = [ADD, *({"name": name, "inputSchema": PLAIN} for name in raw)]
    with opened(tmp_path, {"tools": tools, "raw": raw, "first": "hello\n{\x00\n\udcff\udcfe\n"}) as box:
        results = [use(box, name) for name in raw]
        assert [r.status for r in results] == [Status.TOOL_ERROR] * 3
        assert "larger than" in results[2].text and use(box).text == "add 4" and box.starts == 1


def test_a_slow_call_ends_at_its_time_and_the_server_is_looked_at_afterwards(tmp_path: Path) -> None:
    with opened(tmp_path, {"late": ["tools/call"]}) as box:
        result = box.run(box.describe()[0], ToolCall(call_id="c", name="add"), deadline_s=0.5)
        assert result.status is Status.TIMEOUT and not box._checking.done()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_what_a_server_started_ends_with_it_also_in_a_session_of_its_own(tmp_path: Path) -> None:
    with opened(tmp_path, {"child": str(tmp_path / "pid")}) as box:
        assert use(box).status is Status.OK
        pid = int((tmp_path / "pid").read_text())
        assert alive(pid)
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


def test_a_hostile_pattern_of_a_server_holds_nobody_up(tmp_path: Path) -> None:
    evil = {"type": "object", "properties": {"q": {"type": "string", "pattern": r"^(([a-z ])+.)+[A-Z]$"}}}
    with opened(tmp_path, {"tools": [{"name": "add", "inputSchema": evil}]}) as box:
        assert use(box, q="a" * 5000).status is Status.BAD_ARGUMENTS
        assert use(box, q="ab cX").status is Status.OK
