"""An OpenAI-compatible endpoint -> the words of one reply, within a time and a size, whatever the server sends.

No redirect is followed and nothing is decompressed: a reply is read as it comes and given up past MAX_REPLY_BYTES.
"""

import asyncio
import json

import httpx2

from rayplay.records import Json

MAX_REPLY_BYTES = 1 << 20  # of the whole HTTP body; a judge says a number, a teacher a page


class NoReply(Exception):
    """There was no usable reply; the message says why."""


def open_client(base_url: str, api_key: str) -> httpx2.AsyncClient:
    """A client for `ask`; an async context manager.

    Raises:
        NoReply: The address or the key cannot be put into a request.
    """
    headers = {"Authorization": f"Bearer {api_key.strip()}", "Accept-Encoding": "identity"}
    try:
        return httpx2.AsyncClient(base_url=base_url, headers=headers, follow_redirects=False, timeout=None)
    except (httpx2.InvalidURL, ValueError) as error:
        raise NoReply(f"cannot ask {base_url}: {error}") from error


async def ask(client: httpx2.AsyncClient, request: Json, deadline_s: float) -> str:
    """POST chat/completions -> the text of the first choice; arguments and errors as of `ask_for_message`."""
    text = text_of(await ask_for_message(client, request, deadline_s))
    if text is None:
        raise NoReply("the reply is no chat completion with text")
    return text


async def ask_for_message(client: httpx2.AsyncClient, request: Json, deadline_s: float) -> Json:
    """POST chat/completions -> the message of the first choice, as the server wrote it.

    Args:
        client: Of `open_client`.
        request: The body: model, messages and sampling settings.
        deadline_s: Of all of it, from the connection to the last byte.

    Raises:
        NoReply: Nothing came in time, too much came, or it was no chat completion.
    """
    try:
        async with asyncio.timeout(deadline_s):
            body = await _read(client, request)
    except TimeoutError as error:
        raise NoReply(f"no whole reply within {deadline_s:g} s") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, UnicodeError) as error:
        raise NoReply(f"{type(error).__name__}: {error}") from error
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NoReply("the reply is no JSON") from error
    choices = reply.get("choices") if isinstance(reply, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict):
        raise NoReply("the reply is no chat completion with text")
    return message


async def _read(client: httpx2.AsyncClient, request: Json) -> bytes:
    body = bytearray()
    async with client.stream("POST", "chat/completions", json=request) as response:
        if response.status_code != httpx2.codes.OK:
            raise NoReply(f"the server answered with status {response.status_code}")
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_REPLY_BYTES:
                raise NoReply(f"the reply is longer than {MAX_REPLY_BYTES >> 20} MiB")
    return bytes(body)


def text_of(message: Json) -> str | None:
    """The message's content: a text, or a list of parts of which the texts count."""
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        content = "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else None
