"""How a chat completion travels: through the openai client, as bytes in both directions.

The client library's typed methods rewrite every parameter and build a model of every answer: most
of what a request costs, and none of it is needed, as bodies are encoded by `prompt` and answers
read by `reply`. What stays of the library is its headers, its key and its errors. Where aiohttp is
installed and no proxy is in the way, it carries the bytes; the library's own transport costs as
much again as all the rest."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakSet

import openai

from .reply import MAX_REPLY_BYTES
from .server import is_loopback

_MOST = MAX_REPLY_BYTES + 1
"""Bytes that are read of an answer, so that one without end takes no memory without end; enough for
`reply` to see that it is too long."""
_IDLE = 4.0
"""Seconds before an idle connection is dropped: vLLM drops them after five, and a question that is
sent in that moment is lost."""


def _library() -> Any:
    """httpx or httpx2: the one that this openai is built on."""
    bases = openai.DefaultAsyncHttpxClient.__mro__
    own = next(base for base in bases if base.__name__ == "AsyncClient")
    return importlib.import_module(own.__module__.partition(".")[0])


_httpx = _library()
_BODY = "content" if "content" in inspect.signature(openai.AsyncOpenAI.post).parameters else "body"
"""The parameter that takes bytes; older versions of openai have but one, which takes JSON."""


def has_aiohttp() -> bool:
    """Whether aiohttp is installed."""
    return importlib.util.find_spec("aiohttp") is not None


class Link:
    """A connection to one address. It never retries: our retries are on record."""

    def __init__(self, url: str, api_key: str | None, timeout: float) -> None:
        self.opened = 0
        """Connections to the server that there have been."""
        self._seen: WeakSet[Any] = WeakSet()
        # In full: a path would be joined to the base, parsed and put together for every request.
        self._address = f"{url}/chat/completions"
        self._api = AsyncOpenAI(
            base_url=url,
            # Never None: the library would take it from the environment, where it may be meant for
            # somebody else.
            api_key=api_key or "EMPTY",
            max_retries=0,
            timeout=timeout,
            http_client=self._http(url, timeout),
        )

    def _http(self, url: str, timeout: float) -> _Http:
        if has_aiohttp() and (is_loopback(url) or not _proxied(url)):
            from .carrier import Carrier

            secure = url.startswith("https:")
            carrier = Carrier(_httpx, self._note, _Pieces, secure=secure, idle=_IDLE, most=_MOST)
            return _Carried(carrier, timeout=timeout, trust_env=False)

        async def note(response: Any) -> None:
            self._note(response.extensions.get("network_stream"))

        return _Http(
            # A proxy set for the outside world must not carry requests to this machine.
            trust_env=not is_loopback(url),
            timeout=timeout,
            # How many are in flight is decided elsewhere.
            limits=_httpx.Limits(keepalive_expiry=_IDLE),
            event_hooks={"response": [note]},
        )

    def _note(self, connection: Any) -> None:
        """Count a connection, unless it is known."""
        if connection is None or connection not in self._seen:
            self.opened += 1
        if connection is not None:
            self._seen.add(connection)

    async def post(self, body: bytes) -> bytes:
        """Send the JSON of a chat completion, and return what comes back with a status below 300.

        Raises:
            openai.OpenAIError: any other status, no connection, or a broken one.
        """
        sent: Any = {_BODY: body}
        answer = await self._api.post(self._address, cast_to=_httpx.Response, **sent)
        content: bytes = answer.content
        return content

    async def close(self) -> None:
        """Close every connection."""
        await self._api.close()


class AsyncOpenAI(openai.AsyncOpenAI):
    """The openai client, without its headers about this machine, which no model's server reads. Its
    own name is what a server's log has it under."""

    def platform_headers(self) -> dict[str, str]:
        """None."""
        return {}

    def _prepare_url(self, url: str) -> Any:
        # Every request goes to the same address, which would be parsed for each again. A version of
        # the library without this method loses that, and nothing else.
        return _parsed(url)


class _Http(openai.DefaultAsyncHttpxClient):
    """What the openai client sends requests with."""

    def build_request(self, method: str, url: Any, **given: Any) -> Any:
        """The request, of what the openai client decided: every header, and bytes as the body.

        Merging them with this client's own headers, parameters and cookies, of which there are
        none, would cost as much as sending them. An older openai hands bytes over as `json`."""
        content = given.get("content")
        return _httpx.Request(
            method,
            _parsed(str(url)),
            headers=given.get("headers"),
            content=given.get("json") if content is None else content,
            extensions={"timeout": self.timeout.as_dict()},
        )

    async def send(self, request: Any, **given: Any) -> Any:
        """The answer, and no more of it than can be of use."""
        return await _start(await super().send(request, **{**given, "stream": True}))


async def _start(answer: Any) -> Any:
    """The first bytes of an answer, unpacked piece by piece: a small one may be gigabytes."""
    parts, left = [], _MOST
    try:
        async for part in answer.aiter_bytes():
            parts.append(part[:left])
            left -= len(part)
            if left <= 0:
                break
    finally:
        await answer.aclose()
    headers = {k: v for k, v in answer.headers.items() if k.lower() not in _OF_THE_BODY}
    content = b"".join(parts)
    return _httpx.Response(
        answer.status_code, headers=headers, content=content, request=answer.request
    )


_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")
"""Headers that no longer hold."""


class _Pieces(_httpx.AsyncByteStream):  # type: ignore[misc, name-defined]
    """Bytes as a stream of small pieces."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._data), 2**14):
            yield self._data[at : at + 2**14]


class _Carried(_Http):
    """The same over aiohttp."""

    def __init__(self, carrier: Any, **options: Any) -> None:
        super().__init__(transport=carrier, **options)
        self._carrier = carrier

    async def send(self, request: Any, **given: Any) -> Any:
        """The answer, straight from the carrier: there are no cookies, and the key is in a header,
        so that nothing is to be done on the way. A redirect is followed the long way."""
        answer = await self._carrier.handle_async_request(request)
        if answer.has_redirect_location:
            return await super().send(request, **given)
        return await _start(answer) if "content-encoding" in answer.headers else answer


@functools.lru_cache(maxsize=16)
def _parsed(url: str) -> Any:
    """An address as httpx has it; there are few."""
    return _httpx.URL(url)


def _proxied(url: str) -> bool:
    """Whether the environment names a proxy for an address."""
    parts = urllib.parse.urlsplit(url)
    proxies = urllib.request.getproxies()
    named = bool(proxies.get(parts.scheme) or proxies.get("all"))
    return named and not urllib.request.proxy_bypass(parts.hostname or "")
