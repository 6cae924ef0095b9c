"""What APIs log becomes one conversation, whoever wrote it down; answers that were cut are not imitated."""

import json
from pathlib import Path

import pytest

from rayplay.data.sources import open_source, read_opened
from rayplay.errors import DataError

SCHEMA = {
    "type": "object",
    "properties": {"depot": {"type": "string"}, "crates": {"type": "integer"}},
    "required": ["depot"],
}
OPENAI = [
    {"type": "function", "function": {"name": "stock.level", "description": "Crates held.", "parameters": SCHEMA}}
]
FLAT = [{"type": "function", "name": "stock.level", "description": "Crates held.", "parameters": SCHEMA}]
CLAUDE = [{"name": "stock.level", "description": "Crates held.", "input_schema": SCHEMA}]
GEMINI = [{"functionDeclarations": [{"name": "stock.level", "description": "Crates held.", "parameters": SCHEMA}]}]
BEDROCK = {
    "tools": [{"toolSpec": {"name": "stock.level", "description": "Crates held.", "inputSchema": {"json": SCHEMA}}}]
}
ARGUMENTS = ({"depot": 'Zürich "west"', "crates": 3}, {"depot": "Ōsaka"})
SYSTEM, ASK, RESULTS, SAID = "Count crates.", "How many?", ("7", '{"crates": 0}'), "Seven, and none."
EXPECTED = [
    ("system", SYSTEM, []),
    ("user", ASK, []),
    ("assistant", "", [("stock.level", a) for a in ARGUMENTS]),
    ("tool", RESULTS[0], []),
    ("tool", RESULTS[1], []),
    ("assistant", SAID, []),
]


def call(n, **more):
    function = {"name": "stock.level", "arguments": json.dumps(ARGUMENTS[n])}
    return {"id": f"call_{n}", "type": "function", "function": function, **more}


CHAT = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": ASK},
    {"role": "assistant", "content": None, "tool_calls": [call(0), call(1)]},
    *({"role": "tool", "tool_call_id": f"call_{n}", "content": RESULTS[n]} for n in (1, 0)),
]
FINAL = {"role": "assistant", "content": SAID}
CHOICE = {"index": 0, "message": FINAL, "finish_reason": "stop"}
COMPLETION = {"id": "x", "object": "chat.completion", "choices": [CHOICE], "usage": {"total_tokens": 5}}
CHUNKS = [
    {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    *({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": c}}]} for c in SAID),
    {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"object": "chat.completion.chunk", "choices": [], "usage": {}},
]
EVENTS = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS) + "data: [DONE]\n\n"
REQUEST = {"model": "m", "messages": CHAT, "tools": OPENAI, "temperature": 0}
CLAUDE_CHAT = [
    {"role": "user", "content": ASK},
    {
        "role": "assistant",
        "content": [
            {"type": "tool_use", "id": f"tu_{n}", "name": "stock.level", "input": ARGUMENTS[n]} for n in (0, 1)
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "tu_1", "content": [{"type": "text", "text": RESULTS[1]}]},
            {"type": "tool_result", "tool_use_id": "tu_0", "content": RESULTS[0]},
        ],
    },
]
CLAUDE_REQUEST = {"model": "c", "max_tokens": 9, "messages": CLAUDE_CHAT, "tools": CLAUDE, "system": SYSTEM}
CLAUDE_REPLY = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": SAID}]}
CLAUDE_STREAM = [
    {"type": "message_start", "message": {"role": "assistant", "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": c}} for c in SAID),
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    {"type": "message_stop"},
]
ITEMS = [
    *(
        {"type": "function_call", "call_id": f"c{n}", "name": "stock.level", "arguments": json.dumps(ARGUMENTS[n])}
        for n in (0, 1)
    ),
    *({"type": "function_call_output", "call_id": f"c{n}", "output": RESULTS[n]} for n in (1, 0)),
]  # fmt: skip
MESSAGE_ITEM = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": SAID}]}
INPUT = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": [{"type": "input_text", "text": ASK}]}]
CONTENTS = [
    {"role": "user", "parts": [{"text": ASK}]},
    {"role": "model", "parts": [{"functionCall": {"name": "stock.level", "args": a}} for a in ARGUMENTS]},
    {
        "role": "user",
        "parts": [
            {"functionResponse": {"name": "stock.level", "response": {"result": held}}}
            for held in (RESULTS[0], json.loads(RESULTS[1]))
        ],
    },
]  # fmt: skip
CANDIDATE = {"content": {"role": "model", "parts": [{"text": SAID}]}, "finishReason": "STOP"}


def lc(kind, **fields):
    return {"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", kind], "kwargs": fields}


def lc_calls():
    return [{"name": "stock.level", "args": a, "id": f"c{n}", "type": "tool_call"} for n, a in enumerate(ARGUMENTS)]


LC_ASKED = [
    lc("SystemMessage", content=SYSTEM),
    lc("HumanMessage", content=ASK, additional_kwargs={}),
    lc("AIMessageChunk", content="", tool_calls=lc_calls(), invalid_tool_calls=[]),
    *(lc("ToolMessage", content=RESULTS[n], tool_call_id=f"c{n}", name="stock.level") for n in (1, 0)),
]
LC_SAID = lc("AIMessage", content=SAID)
LC_DUMP = [
    {"type": "system", "content": SYSTEM},
    {"type": "human", "content": ASK},
    {"type": "ai", "content": "", "tool_calls": lc_calls()},
    *({"type": "tool", "content": RESULTS[n], "tool_call_id": f"c{n}"} for n in (1, 0)),
    {"type": "ai", "content": SAID},
]
BEDROCK_CHAT = [
    {"role": "user", "content": [{"text": ASK}]},
    {
        "role": "assistant",
        "content": [{"toolUse": {"toolUseId": f"t{n}", "name": "stock.level", "input": ARGUMENTS[n]}} for n in (0, 1)],
    },
    {
        "role": "user",
        "content": [
            {"toolResult": {"toolUseId": "t1", "content": [{"json": json.loads(RESULTS[1])}], "status": "success"}},
            {"toolResult": {"toolUseId": "t0", "content": [{"text": RESULTS[0]}]}},
        ],
    },
    {"role": "assistant", "content": [{"text": SAID}]},
]

ROWS = {
    "chat-log": {
        "request and response": {"request": REQUEST, "response": COMPLETION},
        "bodies": {"request_body": REQUEST, "response_body": COMPLETION, "status": 200},
        "texts": {"request": json.dumps(REQUEST), "response": json.dumps(COMPLETION)},
        "batch": {"custom_id": "b", "body": REQUEST, "response": {"status_code": 200, "body": COMPLETION}},
        "nested body": {"request": {"method": "POST", "body": REQUEST}, "response": {"body": COMPLETION}},
        "kwargs": {"kwargs": REQUEST, "result": COMPLETION},
        "observer": {"input": {"messages": CHAT, "tools": OPENAI}, "output": FINAL},
        "observer, messages alone": {"input": CHAT, "output": FINAL, "tools": OPENAI},
        "beside": {"messages": CHAT, "tools": OPENAI, "choices": [CHOICE]},
        "proxy": {"messages": CHAT, "model_parameters": {"tools": OPENAI}, "response": COMPLETION, "call_type": "a"},
        "names of its own": {"prompt_messages": CHAT, "tools": OPENAI, "completion_message": FINAL},
        "local server": {"request": REQUEST, "response": {"model": "m", "message": FINAL, "done": True}},
        "chunks": {"request": REQUEST, "response": CHUNKS},
        "events": {"request": REQUEST, "response": EVENTS},
        "several choices": {"request": REQUEST, "response": {"choices": [CHOICE, {**CHOICE, "index": 1}]}},
        "claude": {"request": CLAUDE_REQUEST, "response": {**CLAUDE_REPLY, "stop_reason": "end_turn"}},
        "claude, system of blocks": {
            "request": {**CLAUDE_REQUEST, "system": [{"type": "text", "text": SYSTEM, "cache_control": {}}]},
            "response": CLAUDE_REPLY,
        },
        "claude, streamed": {"request": CLAUDE_REQUEST, "response": CLAUDE_STREAM},
    },
    "openai-jsonl": {
        "claude": {"system": SYSTEM, "messages": [*CLAUDE_CHAT, CLAUDE_REPLY], "tools": CLAUDE},
        "messages of LangChain": {"messages": LC_DUMP, "tools": OPENAI},
    },
    "responses-log": {
        "stored": {"object": "response", "input": [*INPUT, *ITEMS], "output": [MESSAGE_ITEM], "tools": FLAT},
        "instructions": {"instructions": SYSTEM, "input": ASK, "output": [*ITEMS, MESSAGE_ITEM], "tools": FLAT},
        "request and response": {
            "request": {"input": [*INPUT, *ITEMS], "tools": FLAT},
            "response": {"object": "response", "status": "completed", "output": [MESSAGE_ITEM]},
        },
        "rollout": {
            "responses_create_params": {"input": INPUT, "tools": FLAT, "parallel_tool_calls": True},
            "response": {"output": [{"type": "reasoning", "summary": []}, *ITEMS, MESSAGE_ITEM]},
            "reward": 1.0,
        },
    },
    "gemini": {
        "tuning": {
            "systemInstruction": {"role": "system", "parts": [{"text": SYSTEM}]},
            "contents": [*CONTENTS, CANDIDATE["content"]],
            "tools": GEMINI,
        },
        "snake": {
            "system_instruction": {"parts": [{"text": SYSTEM}]},
            "contents": [*CONTENTS, CANDIDATE["content"]],
            "tools": [{"function_declarations": GEMINI[0]["functionDeclarations"]}],
        },
        "log": {
            "request": {"contents": CONTENTS, "config": {"system_instruction": SYSTEM, "tools": GEMINI}},
            "response": {"candidates": [CANDIDATE], "usageMetadata": {}},
        },
    },
    "langchain-runs": {
        "run of a model": {
            "inputs": {"messages": [LC_ASKED]},
            "outputs": {"generations": [[{"text": SAID, "message": LC_SAID}]]},
            "extra": {"invocation_params": {"tools": OPENAI}},
        },
        "run of a graph": {
            "inputs": {"messages": LC_ASKED},
            "outputs": {"messages": [*LC_ASKED, LC_SAID]},
            "extra": {"invocation_params": {"tools": OPENAI}},
        },
        "state": {"values": {"messages": LC_DUMP, "tools": OPENAI}},
        "constructors": {"messages": [*LC_ASKED, LC_SAID], "tools": OPENAI},
    },
    "bedrock": {"converse": {"system": [{"text": SYSTEM}], "messages": BEDROCK_CHAT, "toolConfig": BEDROCK}},
}  # fmt: skip
CASES = [(source, name) for source, rows in ROWS.items() for name in rows]


def outcomes_of(folder, *rows):
    path = Path(folder) / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    opened = open_source(path)
    return opened.source.name, list(read_opened(opened))


def told(messages):
    return [(m.role, m.content, [(c.name, c.arguments) for c in m.tool_calls]) for m in messages]


@pytest.mark.parametrize(("source", "name"), CASES)
def test_every_log_gives_the_same_conversation(tmp_path, source, name):
    found, (outcome,) = outcomes_of(tmp_path, ROWS[source][name])
    assert outcome.usable, outcome.rejected
    (shown,) = outcome.usable.demonstrations
    assert [*told(shown.messages)[:3], *told(shown.messages)[5:]] == [*EXPECTED[:3], *EXPECTED[5:]]
    answers = {m.tool_call_id: m.content for m in shown.messages[3:5]}
    assert [answers[c.call_id] for c in shown.messages[2].tool_calls] == list(RESULTS)
    assert [(t.name, t.description) for t in shown.tools] == [("stock.level", "Crates held.")]
    assert found == source


def asked(**response):
    return {"request": {"messages": CHAT[:2], "tools": OPENAI}, "response": response}


CUT = {
    "length": asked(choices=[{"message": FINAL, "finish_reason": "length"}]),
    "filter": asked(choices=[{"message": FINAL, "finish_reason": "content_filter"}]),
    "failed": asked(error={"message": "overloaded"}, choices=[]),
    "unfinished stream": {"request": {"messages": CHAT[:2]}, "response": CHUNKS[:4]},
    "claude": {"request": CLAUDE_REQUEST, "response": {**CLAUDE_REPLY, "stop_reason": "max_tokens"}},
    "claude's stream": {"request": CLAUDE_REQUEST, "response": CLAUDE_STREAM[:-2]},
    "response": {"object": "response", "status": "incomplete", "input": ASK, "output": [MESSAGE_ITEM]},
    "item": {"input": ASK, "output": [{**ITEMS[0], "status": "incomplete"}], "tools": FLAT},
    "gemini": {
        "request": {"contents": CONTENTS},
        "response": {"candidates": [{**CANDIDATE, "finishReason": "MAX_TOKENS"}]},
    },
}


@pytest.mark.parametrize("name", CUT)
def test_an_answer_that_was_cut_is_not_imitated(tmp_path, name):
    _, (outcome,) = outcomes_of(tmp_path, CUT[name])
    assert outcome.rejected and outcome.rejected.reason == "no_final_answer", outcome


def test_calls_of_a_stream_are_put_together(tmp_path):
    pieces = [{"index": n, "id": f"c{n}", "function": {"name": "stock.level", "arguments": ""}} for n in (0, 1)] + [
        {"index": n, "function": {"arguments": c}} for n in (0, 1) for c in json.dumps(ARGUMENTS[n])
    ]
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]} for piece in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    _, (outcome,) = outcomes_of(tmp_path, {"request": {"messages": CHAT[:2], "tools": OPENAI}, "response": chunks})
    assert told(outcome.usable.demonstrations[0].messages)[2] == EXPECTED[2]


def test_tools_of_the_api_leave_no_result_and_a_rest_of_a_conversation_is_none(tmp_path):
    search = {"input": ASK, "output": [{"type": "web_search_call", "status": "completed"}, MESSAGE_ITEM]}
    rest = {"input": ASK, "output": [MESSAGE_ITEM], "previous_response_id": "resp_1"}
    _, outcomes = outcomes_of(tmp_path, search, rest)
    assert [o.rejected.reason for o in outcomes] == ["unknown_tool", "wrong_format"]
    assert "web_search_call" in outcomes[0].rejected.detail and "previous_response_id" in outcomes[1].rejected.detail


def test_calls_that_the_api_made_at_mcp_servers_stand_with_their_results(tmp_path):
    listed = {"type": "mcp_list_tools", "server_label": "s", "tools": [{"name": "stock.level", "input_schema": SCHEMA}]}
    made = {
        "type": "mcp_call", "id": "m1", "name": "stock.level", "arguments": json.dumps(ARGUMENTS[0]), "output": "7",
    }  # fmt: skip
    row = {"input": ASK, "output": [listed, made, MESSAGE_ITEM], "tools": [{"type": "mcp", "server_label": "s"}]}
    _, (outcome,) = outcomes_of(tmp_path, row)
    roles = [m.role for m in outcome.usable.demonstrations[0].messages]
    assert roles == ["user", "assistant", "tool", "assistant"]


def test_prompts_of_rollouts_and_batches_are_tasks(tmp_path):
    gym = {"responses_create_params": {"input": INPUT, "tools": FLAT}, "expected_answer": 7}
    batch = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": CHAT[:2]}}
    _, (outcome,) = outcomes_of(tmp_path, gym)
    assert outcome.usable.tasks[0].expected.answer == ("7",)
    name, (outcome,) = outcomes_of(tmp_path, batch)
    assert name == "chat-log" and not outcome.usable.demonstrations and len(outcome.usable.tasks) == 1


def test_a_batch_of_answers_alone_says_what_is_missing(tmp_path):
    answers = {"id": "b1", "custom_id": "a", "response": {"status_code": 200, "body": COMPLETION}, "error": None}
    with pytest.raises(DataError, match=r"answers.*without what was asked"):
        outcomes_of(tmp_path, answers)


def test_a_run_that_failed_is_not_imitated(tmp_path):
    run = {**ROWS["langchain-runs"]["run of a model"], "error": "ToolException"}
    _, (outcome,) = outcomes_of(tmp_path, run)
    assert outcome.rejected.reason == "marked_bad"
