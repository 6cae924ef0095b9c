"""The model server's gate: without the key nothing answers, with it only what is offered."""

import asyncio
from urllib.parse import unquote

import pytest

from rayplay.actors import key_gate
from rayplay.actors.key_gate import OPEN, KeyGate

KEY = "0123456789abcdef"
BEARER = [("Authorization", f"Bearer {KEY}")]
ROUTES = [
    *("/", "/invocations", "/ping", "/tokenize", "/detokenize", "/metrics", "/docs", "/redoc", "/openapi.json"),
    *("/version", "/load", "/server_info", "/pause", "/sleep", "/collective_rpc", "/score", "/pooling", "/classify"),
    *("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/embeddings", "/v1/responses", "/v2/rerank"),
]
SPELLINGS = [
    *("//v1/chat/completions", "/v1//chat/completions", "/V1/chat/completions", "/v1/chat/completions/"),
    *("/v1/%63hat/completions/..", "/v1/../v1/chat/completions", "/v1/chat/completions%00", "/v1/models;x"),
    *("/./v1/models", "/health/../metrics", "/health%2f..%2fmetrics", "/v1/models%3f/metrics", "/%2e%2e/metrics"),
]
METHODS = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "X"]


class Client:
    """Asks the gate in front of an application that says yes to everything, as a server would pass requests on."""

    def __init__(self):
        async def application(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"yes"})

        self.gate = KeyGate(application)

    def ask(self, method, path, headers, kind="http"):
        """What the gate sends back."""
        sent = []
        fields = [(name.lower().encode(), value.encode()) for name, value in headers]
        scope = {"type": kind, "method": method, "path": unquote(path), "raw_path": path.encode(), "headers": fields}

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message)

        asyncio.run(self.gate(scope, receive, send))
        return sent


@pytest.fixture
def client(monkeypatch):
    monkeypatch.setenv(key_gate.KEY, KEY)
    return Client()


def status(client, method, path, headers):
    return client.ask(method, path, headers)[0]["status"]


WRONG = [
    *([], [("Authorization", "")], [("Authorization", f"Bearer {KEY}x")], [("Authorization", f"Bearer {KEY[:-1]}")]),
    *([("Authorization", KEY)], [("Authorization", f"Basic {KEY}")], [("X-Api-Key", KEY)], [("Cookie", f"key={KEY}")]),
    [("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")],
    [*BEARER, ("Authorization", "Bearer other")],
]


@pytest.mark.parametrize("path", [*(path for _, path in sorted(OPEN)), *ROUTES, *SPELLINGS])
def test_nothing_answers_without_the_key(client, path):
    for method in METHODS:
        for headers in WRONG:
            start, *_ = client.ask(method, path, headers)
            assert start["status"] == 401, (method, headers)
            assert not [name for name, _ in start["headers"] if name.startswith(b"access-control")]


@pytest.mark.parametrize("path", [*ROUTES, *SPELLINGS])
def test_what_is_not_offered_is_closed_to_holders_of_the_key_too(client, path):
    assert {status(client, method, path, BEARER) for method in METHODS} == {404}


@pytest.mark.parametrize(("method", "path"), sorted(OPEN))
def test_what_is_offered_answers_to_the_key(client, method, path):
    assert client.ask(method, path, BEARER)[-1]["body"] == b"yes"
    assert status(client, "OPTIONS", path, BEARER) == 404


@pytest.mark.parametrize("path", ["/v1/realtime", "/v1/chat/completions", "/"])
def test_websockets_are_closed(client, path):
    assert client.ask("GET", path, BEARER, kind="websocket") == [{"type": "websocket.close", "code": 1008}]


def test_other_protocols_get_no_answer_but_the_servers_own_start(client):
    assert client.ask("GET", "/", BEARER, kind="webtransport") == []
    assert client.ask("GET", "/", [], kind="lifespan")[0]["status"] == 200


def test_there_is_no_server_without_a_key(monkeypatch):
    monkeypatch.delenv(key_gate.KEY, raising=False)
    with pytest.raises(RuntimeError, match="does not start without a key"):
        KeyGate(None)
