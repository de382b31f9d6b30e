"""How a chat completion travels: through the openai client, as bytes in both directions.

The client library's typed methods rewrite every parameter and build a model of every answer. That is
three quarters of what a request costs, and none of it is needed: bodies are encoded by `prompt` and
answers read by `reply`. What stays of the library is its address, headers, key and errors. Where
aiohttp is installed and no proxy is in the way, it carries the bytes; the library's own transport
costs as much again."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import io
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import openai

from .server import is_loopback

if TYPE_CHECKING:
    import aiohttp

_LARGE = 2**20
"""Bytes from which aiohttp wants a file instead of a string."""
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


class Link:
    """A connection to one address. It never retries: our retries are on record."""

    def __init__(self, url: str, api_key: str | None, timeout: float) -> None:
        self.opened = 0
        """Connections to the server that there have been."""
        self._seen: WeakSet[Any] = WeakSet()
        self._api = openai.AsyncOpenAI(
            base_url=url,
            # Never None: the library would take it from the environment, where it may be meant for
            # somebody else.
            api_key=api_key or "EMPTY",
            max_retries=0,
            timeout=timeout,
            http_client=self._http(url, timeout),
        )

    def _http(self, url: str, timeout: float) -> _Http:
        if importlib.util.find_spec("aiohttp") and (is_loopback(url) or not _proxied(url)):
            return _Http(transport=_Aiohttp(self._note), timeout=timeout, trust_env=False)

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
        answer = await self._api.post("/chat/completions", cast_to=_httpx.Response, **{_BODY: body})
        content: bytes = answer.content
        return content

    async def close(self) -> None:
        """Close every connection."""
        await self._api.close()


class _Http(openai.DefaultAsyncHttpxClient):
    """What the openai client sends requests with."""

    def build_request(self, *args: Any, json: Any = None, **options: Any) -> Any:
        """A request; bytes that an older openai takes for something to encode go as they are."""
        if isinstance(json, bytes):
            return super().build_request(*args, content=json, **options)
        return super().build_request(*args, json=json, **options)


class _Aiohttp:
    """aiohttp as a transport of httpx: a request there, its answer back, the errors translated."""

    def __init__(self, note: Callable[[Any], None]) -> None:
        self._note = note
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        connector = _connector(self._note)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            # Whoever asks has a limit for the whole attempt.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
        )

    async def handle_async_request(self, request: Any) -> Any:
        """Carry a request that httpx has made ready."""
        import aiohttp

        if self._session is None:
            self._session = self._open()
        content: bytes = request.content
        try:
            async with self._session.request(
                request.method,
                str(request.url),
                data=content if len(content) < _LARGE else io.BytesIO(content),
                headers=request.headers.multi_items(),
                allow_redirects=False,
            ) as answer:
                data = await answer.read()
        except aiohttp.ClientConnectorError as error:
            raise _httpx.ConnectError(_told(error), request=request) from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise _httpx.ReadError(_told(error), request=request) from error
        return _httpx.Response(
            answer.status, headers=answer.raw_headers, content=data, request=request
        )

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _connector(note: Callable[[Any], None]) -> aiohttp.TCPConnector:
    import aiohttp

    class Noting(aiohttp.TCPConnector):
        """Tells of every connection that a request gets."""

        async def connect(self, *args: Any, **options: Any) -> Any:
            connection = await super().connect(*args, **options)
            note(connection.transport)
            return connection

    # Certificates as the library has them, so that no server is trusted by one transport alone.
    return Noting(limit=0, keepalive_timeout=_IDLE, ssl=_httpx.create_ssl_context())


def _proxied(url: str) -> bool:
    """Whether the environment names a proxy for an address."""
    parts = urllib.parse.urlsplit(url)
    proxies = urllib.request.getproxies()
    named = bool(proxies.get(parts.scheme) or proxies.get("all"))
    return named and not urllib.request.proxy_bypass(parts.hostname or "")


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
