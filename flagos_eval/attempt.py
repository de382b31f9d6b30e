"""One try of a chat completion: how long it may take, why it failed, and whether to try again. What
the client of a model and a judge have in common."""

from __future__ import annotations

import asyncio
import email.utils
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timezone
from typing import Any, TypeVar

import openai
import stamina

from .errors import ServerRefused
from .records import ErrorKind, RequestError
from .redact import redact
from .reply import InvalidReply

_T = TypeVar("_T")
_MAX_RETRY_AFTER = 300.0
MODEL_KEY = "OPENAI_API_KEY"
"""The variable that the key of the model's server comes from."""


class AttemptFailed(Exception):
    """One attempt that failed."""

    def __init__(self, error: RequestError, *, retry_after: float | None = None) -> None:
        super().__init__(error.message)
        self.error, self.retry_after = error, retry_after


async def retried(once: Callable[[], Awaitable[_T]], max_retries: int, backoff: float) -> _T:
    """What `once` returns, tried again while it raises `AttemptFailed` for a passing reason.

    Args:
        once: One attempt.
        max_retries: Attempts after the first; a rejected request is tried once.
        backoff: Seconds before the first retry; doubles up to a minute.
    """
    try:
        return await once()
    except AttemptFailed as error:
        failed: AttemptFailed | None = error
    # stamina's bookkeeping costs as much as sending a request, so that only failures get it: it is
    # handed the first one and counts from there.
    async for attempt in _attempts(max_retries, backoff):
        with attempt:
            if failed is not None:
                first, failed = failed, None
                raise first
            return await once()
    raise AssertionError("the retry loop ends by returning or raising")


def _attempts(max_retries: int, backoff: float) -> AsyncIterator[Any]:
    def again(error: Exception) -> bool | float:
        if not isinstance(error, AttemptFailed) or error.error.kind is ErrorKind.REJECTED:
            return False
        return error.retry_after if error.retry_after is not None else True

    return stamina.retry_context(
        on=again,
        attempts=max_retries + 1,
        timeout=None,
        wait_initial=backoff,
        wait_max=60.0,
        wait_jitter=backoff,
    )


def failure_of(error: BaseException, timeout: float, key: str = MODEL_KEY) -> AttemptFailed:
    """The record of a failed attempt.

    Args:
        error: What the openai library, `parse_reply` or `Interruptible.run` raised.
        timeout: Seconds that the attempt was given.
        key: The variable that the key came from.

    Raises:
        ServerRefused: no other request can do better: the key or the model's name is not accepted.
    """
    if isinstance(error, InvalidReply):
        return AttemptFailed(RequestError(kind=ErrorKind.INVALID_REPLY, message=redact(str(error))))
    if isinstance(error, (openai.APITimeoutError, asyncio.TimeoutError)):
        return AttemptFailed(
            RequestError(kind=ErrorKind.TIMEOUT, message=f"no answer within {timeout:g} s")
        )
    if isinstance(error, openai.APIStatusError):
        return _status_failure(error, key)
    cause = error.__cause__
    reason = f"{type(cause).__name__}: {cause}" if cause else str(error)
    return AttemptFailed(RequestError(kind=ErrorKind.CONNECTION, message=_shorten(redact(reason))))


def _status_failure(error: openai.APIStatusError, key: str) -> AttemptFailed:
    code = error.status_code
    message = _shorten(redact(_server_message(error)))
    if code in (401, 403):
        raise ServerRefused(
            f"the server does not accept the API key ({message})", hint=f"set {key}"
        )
    if code == 404:
        raise ServerRefused(f"the server does not know this model or address ({message})")
    if code == 429:
        kind = ErrorKind.RATE_LIMITED
    elif code in (408, 409) or code >= 500:
        kind = ErrorKind.SERVER_ERROR
    else:
        kind = ErrorKind.REJECTED
    return AttemptFailed(
        RequestError(kind=kind, message=message, status_code=code),
        retry_after=_retry_after(error.response.headers.get("retry-after")),
    )


def _server_message(error: openai.APIStatusError) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict) and isinstance(inner.get("message"), str):
            return str(inner["message"])
    return error.message


def _shorten(text: str, limit: int = 500) -> str:
    return text if len(text) <= limit else text[:limit] + "…"


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or an HTTP date; None if it says
    nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (moment - datetime.now(timezone.utc)).total_seconds() if moment.tzinfo else -1.0
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER) if seconds == seconds else None
