"""Request -> Response: the only place that talks to a model.

Every request ends as a text or as an error with all its attempts on record. openai's own retries
are off, so that none goes unseen. A failure that repeats by nature (4xx) is not retried; a server
that is gone stops the run instead of turning thousands of questions into errors."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import openai
from pydantic import JsonValue

from . import prompt
from .attempt import AttemptFailed, failure_of, retried
from .clock import utc_now
from .endpoint import Endpoint
from .endpoints import Gone, Spread
from .errors import ServerDied
from .interruptible import Interruptible, together
from .records import Attempt, Epoch, ErrorKind, ImagePart, Request, RequestError, Response
from .reply import InvalidReply, Reply, parse_reply
from .server import Server
from .transport import Link
from .turns import Turns

_HOPELESS = 50
"""Requests in a row that failed after all their retries, with no answer between them."""


@dataclass(frozen=True)
class ClientSettings:
    """How to ask; none of it changes what is asked."""

    concurrency: int = 32
    timeout: float = 600.0
    """Seconds for one attempt, from sending to the last byte."""
    max_retries: int = 5
    backoff: float = 0.5
    """Seconds before the first retry; doubles up to a minute."""
    logprobs: int | None = None
    check_every: float = 5.0
    """Seconds between health checks, where there are several addresses."""


@dataclass(frozen=True)
class Answer:
    """A response and the log-probabilities that are stored beside it."""

    response: Response
    logprobs: JsonValue


class Client:
    """Asks one model at one or several addresses. An async context manager."""

    def __init__(
        self,
        servers: Sequence[Server],
        epochs: Sequence[Epoch],
        model: str,
        settings: ClientSettings,
        *,
        read_image: Callable[[ImagePart], bytes],
        api_key: str | None = None,
        on_epoch: Callable[[Epoch], None] | None = None,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.model, self.settings = model, settings
        self.epochs = list(epochs)
        self._read_image = read_image
        self._failures = 0
        self._in_flight = 0
        self._turns = Turns()
        self._endpoints = [
            Endpoint(
                server, self.epochs, model, Link(server.url, api_key, settings.timeout), on_epoch
            )
            for server in servers
        ]
        self._spread = Spread(self._endpoints, check_every=settings.check_every, tell=tell)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for endpoint in self._endpoints:
            await endpoint.link.close()

    async def complete(
        self,
        requests: AsyncIterable[tuple[int, Request]],
        on_answer: Callable[[Answer], None],
    ) -> None:
        """Ask everything, a bounded number at a time.

        Args:
            requests: (position in the run's queue, request), taken one by one as there is room; it
                may wait, for a task that is being loaded.
            on_answer: Called in this thread as each request ends.

        Raises:
            ServerDied: no address answers any more; nothing is recorded for the requests in flight.
            ServerRefused: the server no longer accepts the model's name or the key.
        """
        queue, turn = aiter(requests), asyncio.Lock()

        async def work() -> None:
            # Workers share one iterator, in turns: the next request is built only when somebody is
            # free to send it.
            while True:
                async with turn:
                    found = await anext(queue, None)
                if found is None:
                    return
                order, request = found
                on_answer(await self.ask(request, order=order))

        async with self._spread.watched():
            await together(work() for _ in range(self.settings.concurrency))

    async def ask(self, request: Request, *, order: int) -> Answer:
        """One request, with its retries.

        Raises:
            ServerDied: see `complete`.
            ServerRefused: see `complete`.
        """
        body = prompt.encoded(
            request, self.model, self._read_image, logprobs=self.settings.logprobs
        )
        attempts: list[Attempt] = []
        asked: list[Endpoint] = []
        self._in_flight += 1
        in_flight = self._in_flight
        try:
            while True:
                try:
                    reply = await retried(
                        partial(self._once, body, asked, attempts),
                        self.settings.max_retries,
                        self.settings.backoff,
                    )
                    lost = _lost_at(asked[-1], attempts)
                    await asked[-1].observe(lost, self._spread.drain)
                except Gone as gone:
                    attempts[-1] = _given_up(attempts[-1], gone)
                    continue  # another address may be alive; `choose` raises when none is
                except AttemptFailed as failed:
                    lost = failed.error.kind is ErrorKind.CONNECTION
                    if lost and await self._spread.is_gone(asked[-1]):
                        continue
                    self._count_failure(failed.error)
                    return Answer(
                        self._response(
                            request, order, in_flight, asked[-1], attempts, failed.error, None
                        ),
                        None,
                    )
                self._failures = 0
                return Answer(
                    self._response(request, order, in_flight, asked[-1], attempts, None, reply),
                    reply.logprobs,
                )
        finally:
            self._in_flight -= 1

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the model is asked."""
        return tuple(endpoint.server.url for endpoint in self._endpoints)

    async def post(self, body: dict[str, Any], place: int = 0) -> Reply:
        """One attempt at one of the `addresses`, for probes.

        Raises:
            InvalidReply: the answer is no chat completion.
            openai.OpenAIError: as the library raises it.
        """
        posted = self._endpoints[place].link.post(json.dumps(body).encode("ascii"))
        return parse_reply(await Interruptible().run(posted, self.settings.timeout))

    async def _once(self, body: bytes, asked: list[Endpoint], attempts: list[Attempt]) -> Reply:
        """An attempt at the address that is best now; `asked` and `attempts` grow with it.

        Raises:
            AttemptFailed: it failed.
            Gone: the address was drained: this counts as no retry.
        """
        endpoint = self._spread.choose(asked)
        asked.append(endpoint)
        try:
            reply = await self._attempt(endpoint, body, attempts)
        except AttemptFailed as failed:
            if failed.error.kind is not ErrorKind.REJECTED:
                self._spread.failed(endpoint)
            lost = failed.error.kind is ErrorKind.CONNECTION
            if lost and await self._spread.leave(endpoint):
                raise Gone(failed.error.message) from failed
            raise
        self._spread.answered(endpoint)
        return reply

    async def _attempt(self, endpoint: Endpoint, body: bytes, attempts: list[Attempt]) -> Reply:
        """One attempt, which is put on record."""
        started_at, start = utc_now(), time.monotonic()
        error: RequestError | None = None
        end: float | None = None
        try:
            # A transport's time-outs count the gaps between bytes; an answer that trickles in needs
            # a total one.
            posted = endpoint.link.post(body)
            data = await self._spread.asking(endpoint, posted, self.settings.timeout)
            end = time.monotonic()
            await self._turns.take()
            return parse_reply(data)
        except (openai.OpenAIError, InvalidReply, asyncio.TimeoutError) as raised:
            failed = failure_of(raised, self.settings.timeout)
            error = failed.error
            raise failed from raised
        finally:
            attempts.append(
                Attempt(
                    started_at=started_at,
                    latency=round((end or time.monotonic()) - start, 4),
                    error=error,
                    endpoint=endpoint.server.url,
                )
            )

    def _count_failure(self, error: RequestError) -> None:
        if error.kind is ErrorKind.REJECTED:
            return
        self._failures += 1
        if self._failures >= _HOPELESS:
            raise ServerDied(
                f"{_HOPELESS} requests in a row failed after {self.settings.max_retries} retries "
                f"each, the last with: {error.message}",
                hint="see the server's log; then run the same command: answers so far are kept",
            )

    def _response(
        self,
        request: Request,
        order: int,
        in_flight: int,
        endpoint: Endpoint,
        attempts: Sequence[Attempt],
        error: RequestError | None,
        reply: Reply | None,
    ) -> Response:
        return Response(
            task=request.task,
            sample_id=request.sample_id,
            repeat=request.repeat,
            request_hash=request.hash,
            text=reply.text if reply else None,
            error=error,
            reasoning=reply.reasoning if reply else None,
            refusal=reply.refusal if reply else None,
            finish_reason=reply.finish_reason if reply else None,
            usage=reply.usage if reply else None,
            server_id=reply.id if reply else None,
            server_time=reply.created if reply else None,
            server_model=reply.model if reply else None,
            endpoint=endpoint.server.url,
            epoch=endpoint.epoch.index,
            order=order,
            in_flight=in_flight,
            attempts=tuple(attempts),
            latency=attempts[-1].latency,
        )


def _lost_at(endpoint: Endpoint, attempts: Sequence[Attempt]) -> bool:
    """Whether a connection to this address was lost on the way to an answer."""
    return any(
        attempt.error is not None
        and attempt.error.kind is ErrorKind.CONNECTION
        and attempt.endpoint == endpoint.server.url
        for attempt in attempts
    )


def _given_up(attempt: Attempt, gone: Gone) -> Attempt:
    """An attempt whose address was drained: also one whose answer came cannot be used if nobody
    knows which start of a server gave it."""
    if attempt.error is not None:
        return attempt
    error = RequestError(kind=ErrorKind.CONNECTION, message=str(gone))
    return attempt.model_copy(update={"error": error})
