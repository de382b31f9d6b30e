"""Request -> Response: the only place that talks to a model.

Every request ends as a text or as an error with all its attempts on record. openai's own retries
are off, so that none goes unseen. A failure that repeats by nature (4xx) is not retried; a server
that is gone stops the run instead of turning thousands of questions into errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from weakref import WeakSet

import openai
from pydantic import JsonValue

from . import prompt
from .attempt import AttemptFailed, connect, failure_of, retries, within
from .clock import utc_now
from .endpoints import Gone, Place, Spread
from .errors import ServerDied, ServerUnreachable
from .records import Attempt, Epoch, ErrorKind, ImagePart, Request, RequestError, Response
from .reply import InvalidReply, Reply, parse_reply
from .server import Identity, Server

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


@dataclass(eq=False)
class Endpoint(Place):
    """One address and the start of the server behind it."""

    epoch: Epoch
    api: openai.AsyncOpenAI
    connections: WeakSet[Any] = field(default_factory=WeakSet)
    """Open connections that an answer has come over."""
    opened: int = 0
    """How many there have been."""
    checked: int = 0
    """How many there had been when the server was last asked who it is."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


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
        self._read_image, self._on_epoch = read_image, on_epoch
        self._failures = 0
        self._in_flight = 0
        latest = {epoch.endpoint: epoch for epoch in epochs}
        self._endpoints = [
            Endpoint(server, latest[server.url], connect(server.url, api_key, settings.timeout))
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
            await endpoint.api.close()

    async def complete(
        self,
        requests: Iterable[tuple[int, Request]],
        on_answer: Callable[[Answer], None],
    ) -> None:
        """Ask everything, a bounded number at a time.

        Args:
            requests: (position in the run's queue, request), taken one by one as there is room.
            on_answer: Called in this thread as each request ends.

        Raises:
            ServerDied: no address answers any more; nothing is recorded for the requests in flight.
            ServerRefused: the server no longer accepts the model's name or the key.
        """
        queue = iter(requests)

        async def work() -> None:
            # Workers share one iterator: the next request is built only when somebody is free to
            # send it.
            for order, request in queue:
                on_answer(await self.ask(request, order=order))

        workers = [asyncio.create_task(work()) for _ in range(self.settings.concurrency)]
        try:
            async with self._spread.watched():
                await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def ask(self, request: Request, *, order: int) -> Answer:
        """One request, with its retries.

        Raises:
            ServerDied: see `complete`.
            ServerRefused: see `complete`.
        """
        body = prompt.body(request, self.model, self._read_image, logprobs=self.settings.logprobs)
        attempts: list[Attempt] = []
        asked: list[Endpoint] = []
        self._in_flight += 1
        in_flight = self._in_flight
        try:
            while True:
                try:
                    reply = await self._with_retries(body, asked, attempts)
                    await self._observe(asked[-1], _lost_at(asked[-1], attempts))
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

    async def post(self, body: dict[str, Any]) -> Reply:
        """One attempt at the first address, for probes.

        Raises:
            InvalidReply: the answer is no chat completion.
            openai.OpenAIError: as the library raises it.
        """
        return await self._post(self._endpoints[0], body)

    async def _post(self, endpoint: Endpoint, body: dict[str, Any]) -> Reply:
        known, extra = prompt.split_body(body)
        # httpx's time-outs count the gaps between bytes; an answer that trickles in needs a total
        # one.
        call = endpoint.api.chat.completions.with_raw_response.create(**known, extra_body=extra)
        raw = await within(self.settings.timeout, call)
        _note_connection(endpoint, raw.http_response.extensions.get("network_stream"))
        return parse_reply(raw.content)

    async def _with_retries(
        self, body: dict[str, Any], asked: list[Endpoint], attempts: list[Attempt]
    ) -> Reply:
        """Each attempt at the address that is best then; `asked` and `attempts` grow with each.

        Raises:
            AttemptFailed: the last one failed.
            Gone: the address was drained: this counts as no retry.
        """
        async for attempt in retries(self.settings.max_retries, self.settings.backoff):
            with attempt:
                endpoint = self._spread.choose(asked)
                asked.append(endpoint)
                try:
                    reply = await self._attempt(endpoint, body, attempts)
                    self._spread.answered(endpoint)
                    return reply
                except AttemptFailed as failed:
                    if failed.error.kind is not ErrorKind.REJECTED:
                        self._spread.failed(endpoint)
                    lost = failed.error.kind is ErrorKind.CONNECTION
                    if lost and await self._spread.leave(endpoint):
                        raise Gone(failed.error.message) from failed
                    raise
        raise AssertionError("the retry loop ends by returning or raising")

    async def _attempt(
        self, endpoint: Endpoint, body: dict[str, Any], attempts: list[Attempt]
    ) -> Reply:
        """One attempt, which is put on record."""
        started_at, start = utc_now(), time.monotonic()
        error: RequestError | None = None
        try:
            return await self._spread.asking(endpoint, self._post(endpoint, body))
        except (openai.OpenAIError, InvalidReply, asyncio.TimeoutError) as raised:
            failed = failure_of(raised, self.settings.timeout)
            error = failed.error
            raise failed from raised
        finally:
            attempts.append(
                Attempt(
                    started_at=started_at,
                    latency=round(time.monotonic() - start, 4),
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

    async def _observe(self, endpoint: Endpoint, lost: bool) -> None:
        """After an answer over a new connection: is this still the same start of the same server?

        A server takes its connections with it, so an answer over an old one needs no look. Where a
        server does not tell when it started, a `lost` connection counts as a restart, and so does
        a return after it was drained."""
        if endpoint.checked == endpoint.opened and not lost and not endpoint.returned:
            return
        async with endpoint.lock:
            if not endpoint.alive:
                raise Gone("drained before it said which start of it had answered")
            opened = endpoint.opened
            lost, endpoint.returned = lost or endpoint.returned, False
            if endpoint.checked == opened and not lost:
                return  # another request has looked while this one waited
            identity = await self._identity(endpoint)
            epoch = next_epoch(endpoint.epoch, identity, self.model, index=len(self.epochs))
            silent = identity.process_start is None and endpoint.epoch.process_start is None
            if epoch is not None and (lost or not silent):
                endpoint.epoch = epoch
                self.epochs.append(epoch)
                if self._on_epoch is not None:
                    self._on_epoch(epoch)
            endpoint.checked = opened

    async def _identity(self, endpoint: Endpoint) -> Identity:
        """What a server says it is; asked again where a busy one left something unsaid."""
        before = endpoint.epoch
        for pause in (1.0, 3.0, None):
            try:
                found = await asyncio.to_thread(endpoint.server.identity)
            except ServerUnreachable as error:
                if pause is None and self._spread.drain(endpoint, "no longer says what it is"):
                    raise Gone("gone before it said which start of it had answered") from error
                if pause is None:
                    raise ServerDied(
                        f"the server at {endpoint.server.url} no longer says what it is "
                        f"({error.message})",
                        hint="start it again and run the same command: answers so far are kept",
                    ) from error
            else:
                silent = (before.version and not found.version) or (
                    before.process_start and not found.process_start
                )
                if not silent or pause is None:
                    return found
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

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


def next_epoch(
    before: Epoch, identity: Identity, model: str, *, index: int, launched: bool = False
) -> Epoch | None:
    """The epoch that begins if the server was started anew, or None if it is still the same start.

    Args:
        before: The last epoch seen at this address.
        identity: What the server says now.
        model: The model asked for.
        index: Number of the epoch that would begin.
        launched: The server was started by this program just now.

    Raises:
        ServerDied: another version, model or context length answers now: its answers must not be
            mixed in.
    """
    found = identity.model(model, before.endpoint)
    changed = [
        f"{name} was {was!r}, is {now!r}"
        for name, was, now in (
            ("version", before.version, identity.version),
            ("model root", before.model_root, found.root),
            ("max_model_len", before.max_model_len, found.max_model_len),
        )
        if was != now
    ]
    if changed:
        raise ServerDied(
            f"another server answers at {before.endpoint}: {'; '.join(changed)}",
            hint="start the server as it was, or begin a new run: --fresh, or -o another file",
        )
    if (
        not launched
        and before.process_start is not None
        and identity.process_start == before.process_start
    ):
        return None
    return before.model_copy(
        update={"index": index, "first_seen": utc_now(), "process_start": identity.process_start}
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


def _note_connection(endpoint: Endpoint, stream: Any) -> None:
    """Count the connection that an answer came over, unless it is known."""
    if stream is None or stream not in endpoint.connections:
        endpoint.opened += 1
    if stream is not None:
        endpoint.connections.add(stream)
