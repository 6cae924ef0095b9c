"""Cases with known answers -> an OpenAI-compatible endpoint on loopback that gives exactly these answers.

It stands where a model's server would stand, so that everything else of a BFCL run is the real thing. An answer is
found by what the request says: the conversation so far and the names of its tools.
"""

import hmac
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from rayplay.records import Json

MAX_REQUEST_BYTES = 8_000_000
DONE = "There is nothing more to call."


class Endpoint(NamedTuple):
    """Where an OpenAI-compatible server listens, and its key."""

    base_url: str
    key: str


class AnswerBook:
    """Right calls by conversation; with `empty` every answer is an empty text instead."""

    def __init__(self, cases: list[Json], *, empty: bool = False) -> None:
        self.empty = empty
        self._cases: dict[str, list[Json]] = {}
        for case in cases:
            self._cases.setdefault(case["turns"][0][0]["content"], []).append(case)

    def answer(self, messages: list[Json], tools: list[Json]) -> list[Json] | None:
        """The calls for a request; [] = answer in words; None = no case has this conversation and these tools."""
        if self.empty:
            return []
        names = {tool["function"]["name"] for tool in tools}
        for case in self._cases.get(messages[0]["content"], ()):
            later = _later_turns(case["turns"], messages)
            offered = {tool["function"]["name"] for tool in case["tools"]}
            # Later turns may add functions; a case of one turn shows exactly its own.
            if later is not None and (offered == names if len(case["turns"]) == 1 else offered <= names):
                # All calls of a turn are made at once, so their results end the turn.
                return [] if messages[-1]["role"] == "tool" else case["gold"][later]
        return None


def _later_turns(turns: list[list[Json]], messages: list[Json]) -> int | None:
    """How many turns of a case after its first have begun in a conversation; None where it is not this case's."""
    opening = [(m["role"], m["content"]) for m in turns[0]]
    if [(m["role"], m.get("content")) for m in messages[: len(opening)]] != opening:
        return None
    spoken = [m["content"] for m in messages[len(opening) :] if m["role"] == "user"]
    if len(spoken) >= len(turns):
        return None
    # A turn without a message is where BFCL hands out further functions in words of its own.
    fits = all(not turn or turn[-1]["content"] == said for turn, said in zip(turns[1:], spoken, strict=False))
    return len(spoken) if fits else None


def completion(model: str, calls: list[Json], text: str) -> Json:
    """A chat completion with these calls, or with the text where there are none."""
    message: Json = {"role": "assistant", "content": text}
    if calls:
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [_as_tool_call(n, c) for n, c in enumerate(calls)],
        }
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return {
        "id": "answer",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def _as_tool_call(number: int, call: Json) -> Json:
    function = {"name": call["name"], "arguments": json.dumps(call["arguments"])}
    return {"id": f"call_{number}", "type": "function", "function": function}


@contextmanager
def answering_endpoint(book: AnswerBook) -> Iterator[Endpoint]:
    """Serve a book's answers on a free loopback port, to holders of the key, until the block ends."""
    key = secrets.token_hex(16)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60  # seconds a client may keep a connection idle

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if length > MAX_REQUEST_BYTES:
                self.close_connection = True
                return self._reply(413, _problem("request too large"))
            content = self.rfile.read(length)
            if not hmac.compare_digest(self.headers.get("Authorization") or "", f"Bearer {key}"):
                return self._reply(401, _problem("wrong key"))
            try:
                request = json.loads(content)
                calls = book.answer(request["messages"], request.get("tools") or [])
            except (ValueError, KeyError, TypeError) as error:
                return self._reply(400, _problem(f"not a chat completion request: {error!r}"))
            if calls is None:
                return self._reply(404, _problem("no case has this conversation and these tools"))
            return self._reply(200, completion(request.get("model", ""), calls, "" if book.empty else DONE))

        def _reply(self, status: int, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """No line per request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="answers", daemon=True)
    thread.start()
    try:
        yield Endpoint(f"http://127.0.0.1:{server.server_port}/v1", key)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _problem(text: str) -> Json:
    return {"error": {"message": text, "type": "invalid_request_error"}}
