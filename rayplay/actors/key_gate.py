"""The gate of the model server: every request needs the key, and few routes are open even with it.

vLLM's own check covers paths below /v1 and the like, and leaves /invocations, /tokenize, /metrics, /docs and others to
anybody. This ASGI middleware stands outside of it and of CORS, and denies what it does not know: other methods, other
spellings of a path, websockets. Imported by vLLM's server, which is why it knows nothing but the standard library.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

KEY = "VLLM_API_KEY"  # environment variable that holds the key
OPEN = {
    ("GET", "/health"),
    ("GET", "/v1/models"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
}
App = Callable[[dict[str, Any], Callable[..., Awaitable[Any]], Callable[..., Awaitable[Any]]], Awaitable[None]]


class KeyGate:
    """ASGI middleware: 401 without the key, 404 for what is not open, else the application.

    Raises:
        RuntimeError: There is no key: the server must not start without one.
    """

    def __init__(self, app: App, key: str = "") -> None:
        key = key or os.environ.get(KEY, "")
        if not key:
            raise RuntimeError(f"the environment variable {KEY} is empty; the server does not start without a key")
        self._app, self._expected = app, _digest(f"Bearer {key}".encode())

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await _refuse_socket(scope, receive, send)
        if not self._knows(scope):
            return await _answer(send, 401, "this server asks for its key: Authorization: Bearer KEY")
        if (scope["method"], scope["path"]) not in OPEN or scope.get("root_path"):
            return await _answer(send, 404, "this server does not offer that")
        return await self._app(scope, receive, send)

    def _knows(self, scope: dict[str, Any]) -> bool:
        """Whether exactly one Authorization header holds the key; takes the same time for any wrong one."""
        given = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(_digest(given[0]), self._expected)


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


async def _refuse_socket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})


async def _answer(send: Any, status: int, message: str) -> None:
    body = json.dumps({"error": {"message": message, "type": "refused", "code": status}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
