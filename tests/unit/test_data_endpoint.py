import contextlib
import gzip
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer

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


class Raw(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        if self.server.body.startswith(b"\x1f\x8b"):
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        with contextlib.suppress(OSError):  # the asker hangs up on what is too long
            for _ in range(self.server.times):
                self.wfile.write(self.server.body)
            time.sleep(self.server.pause_s)

    def log_message(self, *_):
        pass


@contextmanager
def raw_server(body: bytes, times: int = 1, pause_s: float = 0.0):
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Raw)
    listening.body, listening.times, listening.pause_s, listening.asked = body, times, pause_s, 0
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}/v1", listening
    finally:
        listening.shutdown()
        listening.server_close()


@pytest.mark.parametrize(
    ("body", "times", "pause_s"),
    [
        (b" " * (1 << 20), 600, 0.0),
        (gzip.compress(b" " * (50 << 20)), 1, 0.0),
        (b'{"choices": [', 1, 5.0),
        (b"[" * 200_000, 1, 0.0),
        (b'{"choices": []}', 1, 0.0),
        (b'{"choices": [{"message": "text"}]}', 1, 0.0),
        (b"null", 1, 0.0),
        (b"\xff\xfe", 1, 0.0),
    ],
)
def test_an_answer_without_end_or_sense_is_an_error_of_the_data(body, times, pause_s, monkeypatch):
    monkeypatch.setattr("rayplay.data.endpoint.PAUSES_S", (0.0,))
    with raw_server(body, times, pause_s) as (url, server):
        with pytest.raises(DataError, match="check the address"):
            endpoint(url, "m", temperature=0.3, timeout_s=1.0)(CONVERSATION, [], 5)
        assert server.asked == 2


@pytest.mark.parametrize(
    ("calls", "problems"),
    [
        ("nothing", []),
        ([None, 3, {}, {"function": 1}, {"function": {"name": 1}}], [Status.INVALID_JSON] * 5),
        ([{"function": {"name": "f", "arguments": "[" * 100_000}}], [Status.INVALID_JSON]),
        ([{"function": {"name": "f", "arguments": {"a": 1}}}], [None]),
        ([{"function": {"name": "f"}}] * 500, [None] * 9),
    ],
)
def test_calls_of_any_shape_are_read_or_said_to_be_unreadable(calls, problems):
    with server({"content": None, "tool_calls": calls}) as (url, _):
        said = endpoint(url, "m", temperature=0.3)(CONVERSATION, [CALCULATOR], 5)
    assert (said.content, [call.problem for call in said.tool_calls]) == ("", problems)
