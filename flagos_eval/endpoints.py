"""Several addresses of one model: who is asked next, and who is left alone.

The next request goes where the fewest are in flight, so that a slow server gets less. An address
whose connections fail and whose health check does too, or that misses several checks in a row, is
drained: what is in flight there is asked elsewhere, and nothing new is sent. It is looked at all
the time, and comes back when it answers. The last one is never drained by a check: it is waited
for, as a single server is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .errors import ServerDied
from .interruptible import Interruptible
from .server import Server

_T = TypeVar("_T")
_MISSES = 2
"""Health checks in a row that drain an address; a busy server may miss one."""
_MOST_FAILURES = 64
"""That are remembered, so that an address that is well again is tried within some checks."""


class Gone(Exception):
    """The address was drained before its answer could be used."""


@dataclass(eq=False)
class Place:
    """One address, and how busy it is."""

    server: Server
    asked: int = field(default=0, kw_only=True)
    failures: int = field(default=0, kw_only=True)
    """Attempts in a row that failed; they count as load, see `Spread.choose`."""
    alive: bool = field(default=True, kw_only=True)
    returned: bool = field(default=False, kw_only=True)
    """It was drained and came back, and nobody has looked yet whether it is another start."""
    missed: int = field(default=0, kw_only=True)
    attempts: set[Interruptible] = field(default_factory=set, kw_only=True)
    """Those in flight."""
    checking: asyncio.Lock = field(default_factory=asyncio.Lock, kw_only=True)


P = TypeVar("P", bound=Place)


class Spread(Generic[P]):
    """The addresses of one model."""

    def __init__(
        self,
        places: Sequence[P],
        *,
        check_every: float = 5.0,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._places, self._check_every, self._tell = places, check_every, tell

    def choose(self, failed: Collection[P] = ()) -> P:
        """The address to ask next: one that has not `failed`, where there is one, and the least
        busy of those.

        A server that refuses everything at once is never busy, and would draw all requests: its
        failures count as if they were in flight, until it answers or time has passed.

        Raises:
            ServerDied: none answers any more.
        """
        alive = [place for place in self._places if place.alive]
        if not alive:
            addresses = ", ".join(place.server.url for place in self._places)
            raise ServerDied(
                f"the server at {addresses} stopped answering",
                hint="start it again and run the same command: answers so far are kept",
            )
        return min(alive, key=lambda p: (p in failed, len(p.attempts) + p.failures, p.asked))

    def answered(self, place: P) -> None:
        """An attempt there gave an answer."""
        place.failures = 0

    def failed(self, place: P) -> None:
        """An attempt there failed, and not by the request's own fault."""
        place.failures = min(place.failures + 1, _MOST_FAILURES)

    async def asking(self, place: P, work: Awaitable[_T], timeout: float) -> _T:
        """The result of `work`, an attempt at `place`.

        A server that goes without a word, as a machine without power, would hold its requests until
        they time out: they are given up when its address is drained.

        Args:
            place: The address.
            work: The attempt.
            timeout: Seconds until it is given up.

        Raises:
            Gone: the address was drained meanwhile.
            asyncio.TimeoutError: it took too long.
        """
        attempt = Interruptible()
        place.attempts.add(attempt)
        place.asked += 1
        try:
            return await attempt.run(work, timeout)
        finally:
            place.attempts.discard(attempt)

    async def leave(self, place: P) -> bool:
        """After a connection failed: whether to go elsewhere, because this address does not answer
        its health check either and another one is left."""
        async with place.checking:
            if place.alive and self._others(place) and not await _healthy(place):
                self.drain(place, "refuses connections")
        return not place.alive

    async def is_gone(self, place: P) -> bool:
        """After all retries failed by lost connections: whether the address is gone for good."""
        async with place.checking:
            if place.alive and not await _healthy(place) and not self.drain(place, "is gone"):
                place.alive = False  # the last one; before giving up, has another come back?
                await asyncio.gather(*(self._look(p) for p in self._places if p is not place))
        return not place.alive

    def drain(self, place: P, why: str) -> bool:
        """Send nothing more to an address, unless it is the last; whether it is drained."""
        if place.alive and not self._others(place):
            return False
        if place.alive:
            place.alive = False
            for attempt in place.attempts:
                attempt.give_up(Gone("drained while the answer was waited for"))
            self._tell(f"{place.server.url} {why}: drained, its requests go elsewhere")
        return True

    def _others(self, place: P) -> bool:
        return any(other.alive for other in self._places if other is not place)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Check the health of every address at intervals, while the block runs."""
        several = self._places if len(self._places) > 1 else ()
        watchers = [asyncio.create_task(self._watch(place)) for place in several]
        try:
            yield
        finally:
            for watcher in watchers:
                watcher.cancel()
            ended = await asyncio.gather(*watchers, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):  # else it was cancelled
                raise error

    async def _watch(self, place: P) -> None:
        while True:
            await asyncio.sleep(self._check_every)
            await self._look(place)

    async def _look(self, place: P) -> None:
        if not await _healthy(place):
            place.missed += 1
            if place.missed >= _MISSES:
                self.drain(place, f"missed {place.missed} health checks")
            return
        place.missed = 0
        place.failures //= 2
        if not place.alive:
            place.alive, place.returned = True, True
            self._tell(f"{place.server.url} answers again, and is asked again")


async def _healthy(place: Place) -> bool:
    return await asyncio.to_thread(place.server.healthy)
