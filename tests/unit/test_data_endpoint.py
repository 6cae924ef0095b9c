import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from rayplay.data.endpoint import endpoint
from rayplay.data.prepare import wants_teacher
from rayplay.errors import DataError
from rayplay.recipe import Data
from rayplay.records import Message, Status, ToolCall, ToolSpec

CALCULATOR = ToolSpec(name="calculator", description="Compute.")
ASKED = ToolCall(call_id="c0", name="calculator", arguments={"expression": "6*7"})
CONVERSATION = [
    Message(role="user", content="What is 6 times 7?"),
    Message(role="assistant", tool_calls=(ASKED,)),
    Message(role="tool", content="42", tool_call_id="c0", name="calculator"),
]


@contextmanager
def server(message: dict, status: int = 200):
    """An OpenAI-compatible server that always says the same, and the requests that it got."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
            body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}/v1", got
    finally:
        listening.shutdown()
        listening.server_close()


def test_a_served_teacher_gets_the_conversation_the_tools_and_the_temperature():
    calls = [
        {"id": "a", "type": "function", "function": {"name": "calculator", "arguments": '{"expression": "1+1"}'}},
        {"id": "b", "type": "function", "function": {"name": "calculator", "arguments": "{"}},
    ]
    with server({"content": "So:", "tool_calls": calls}) as (url, got):
        said = endpoint(url, "m", temperature=0.3)(CONVERSATION, [CALCULATOR], 5)
    assert said.content == "So:"
    assert [(c.name, c.arguments, c.problem) for c in said.tool_calls] == [
        ("calculator", {"expression": "1+1"}, None),
        ("calculator", {}, Status.INVALID_JSON),
    ]
    assert (got[0]["temperature"], got[0]["seed"], got[0]["model"]) == (0.3, 5, "m")
    assert got[0]["tools"] == [CALCULATOR.as_function()]
    asked, answered = got[0]["messages"][1:]
    assert json.loads(asked["tool_calls"][0]["function"]["arguments"]) == ASKED.arguments
    assert (answered["role"], answered["tool_call_id"], answered["content"]) == ("tool", "c0", "42")


def test_a_server_that_refuses_is_an_error_of_the_data():
    with server({"content": ""}, status=404) as (url, _), pytest.raises(DataError, match="check the address"):
        endpoint(url, "m", temperature=0.3)(CONVERSATION, [], 5)


@pytest.mark.parametrize(
    ("source", "options", "wanted"),
    [
        ("teacher", {}, True),
        ("teacher", {"base_url": "ignored"}, True),
        ("teacher_chat", {}, True),
        ("teacher_chat", {"base_url": "http://127.0.0.1:1/v1", "model": "m"}, False),
        ("templates", {}, False),
    ],
)
def test_who_needs_a_teacher_of_ours(source, options, wanted):
    assert wants_teacher(Data.model_validate({"sources": ({"source": source, "options": options},)})) is wanted
