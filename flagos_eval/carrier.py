"""aiohttp as a transport of httpx: a request there, its answer back, the errors translated.

Imported only where aiohttp is installed."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import aiohttp

_LARGE = 2**20
"""Bytes from which aiohttp wants a file instead of a string."""


class Carrier:
    """What an httpx client sends its requests with."""

    def __init__(
        self,
        httpx: Any,
        note: Callable[[Any], None],
        pieces: Callable[[bytes], Any],
        *,
        secure: bool,
        idle: float,
        most: int,
    ) -> None:
        """A transport without a connection yet.

        Args:
            httpx: The module whose requests are carried, httpx or httpx2.
            note: Told of the connection of every request.
            pieces: Makes a stream of a packed answer, to be unpacked piece by piece.
            secure: The address begins with https.
            idle: Seconds before an unused connection is closed.
            most: Bytes that are read of an answer; what goes on after them is cut off.
        """
        self._httpx, self._note, self._pieces = httpx, note, pieces
        self._idle, self._most = idle, most
        # Certificates as httpx has them, so that no server is trusted by one transport alone.
        self._certificates = httpx.create_ssl_context() if secure else True
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        # How many are in flight is decided elsewhere, and so is how long an attempt may take.
        connector = _Noting(
            note=self._note, limit=0, keepalive_timeout=self._idle, ssl=self._certificates
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
            # httpx unpacks what is packed, and may know fewer ways than aiohttp would offer.
            skip_auto_headers={"Accept-Encoding"},
        )

    async def handle_async_request(self, request: Any) -> Any:
        """Carry a request that httpx has made ready."""
        if self._session is None:
            self._session = self._open()
        content: bytes = await request.aread()  # one that was redirected is a stream
        try:
            async with self._session.request(
                request.method,
                str(request.url),
                data=content if len(content) < _LARGE else io.BytesIO(content),
                headers=request.headers.multi_items(),
                allow_redirects=False,
            ) as answer:
                data = await _read(answer, self._most)
        except aiohttp.ClientConnectorError as error:
            raise self._httpx.ConnectError(_told(error), request=request) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._httpx.ReadError(_told(error), request=request) from error
        packed = "Content-Encoding" in answer.headers
        body = {"stream": self._pieces(data)} if packed else {"content": data}
        return self._httpx.Response(
            answer.status, headers=answer.raw_headers, request=request, **body
        )

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _read(answer: aiohttp.ClientResponse, most: int) -> bytes:
    length = answer.content_length
    if length is not None and length <= most:
        return await answer.read()
    parts, size = [], 0
    async for part in answer.content.iter_any():
        parts.append(part[: most - size])
        size += len(parts[-1])
        if size == most:
            answer.close()
            break
    return b"".join(parts)


class _Noting(aiohttp.TCPConnector):
    """Tells of every connection that a request gets."""

    def __init__(self, *, note: Callable[[Any], None], **options: Any) -> None:
        super().__init__(**options)
        self._note = note

    async def connect(self, *args: Any, **options: Any) -> Any:
        """A connection, new or used before."""
        connection = await super().connect(*args, **options)
        self._note(connection.transport)
        return connection


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
