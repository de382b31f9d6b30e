"""The servers' counters around each part of a run, as they go to the journal.

A part is one call of the command. Its counters are read after the probes, when nothing of ours is
on its way, and again when the part ends, however it ends; a part that was killed is read when the
next one begins, if the same start of the server still answers then. Nothing is judged here: that is
`tally`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence

from .clock import utc_now
from .counting import NAMES, Known, billed, known, total
from .journal import Journal, Kept
from .records import Counters, Counts, Epoch, Reading, Request, Response, RunPart
from .server import Server

_SETTLES = (0.0, 0.1, 0.4, 1.0)
"""Seconds before each look at counters: vLLM before 0.8 counts in another process than the one that
answers, and so a moment later."""
NOTHING = Counts(requests=0, prompt_tokens=0, completion_tokens=0)


def counted(responses: Iterable[Response]) -> dict[int, Counts]:
    """Start of a server -> what it answered, as it was billed."""
    found: dict[int, Counts] = {}
    for response in responses:
        if response.error is None and response.epoch is not None:
            before = found.get(response.epoch, NOTHING)
            found[response.epoch] = Counts(**total((known(before), billed(response))))
    return found


def _without(whole: Counts, part: Counts) -> Counts:
    """What is left; None where one of them is not known."""
    left = known(whole)
    for name, count in known(part).items():
        before = left[name]
        left[name] = None if before is None or count is None else max(0, before - count)
    return Counts(**left)


def earlier(kept: Kept, readings: Mapping[str, Reading] | None = None) -> tuple[RunPart, ...]:
    """The parts before this one, the last of them completed if it was killed.

    Args:
        kept: What the journal holds.
        readings: Address -> its counters now, before anything is asked.
    """
    parts = kept.parts
    if not parts and kept.responses:
        # A version that read no counters began this run: what it asked is known, and no more.
        parts = (RunPart(index=0, begun_at=kept.started_at),)
    if not parts or parts[-1].ended_at is not None:
        return parts
    *before, last = parts
    answered = counted(kept.responses.values())
    for counters in (c for part in before for c in part.counters):
        whole = answered.get(counters.epoch, NOTHING)
        answered[counters.epoch] = _without(whole, counters.answered)
    found = {counters.epoch: counters for counters in last.counters}
    for epoch in kept.epochs:
        if any(known(answered.get(epoch.index, NOTHING)).values()):
            begun = Counters(epoch=epoch.index, endpoint=epoch.endpoint)
            found.setdefault(epoch.index, begun)
    starts = {epoch.index: epoch.process_start for epoch in kept.epochs}
    closed = []
    for index, counters in found.items():
        end, now = counters.end, (readings or {}).get(counters.endpoint)
        # Without the time of its start nobody knows whether this is the one that was asked.
        if end is None and now and now.process_start and now.process_start == starts.get(index):
            end = now
        update = {"answered": answered.get(index, NOTHING), "end": end}
        closed.append(counters.model_copy(update=update))
    return (*before, last.model_copy(update={"counters": tuple(closed)}))


class Recorder:
    """Takes down one part of a run."""

    def __init__(self, journal: Journal, servers: Sequence[Server], tries: int) -> None:
        """Read the counters before anything is asked, for the sake of a part that was killed."""
        self._journal, self._servers = journal, servers
        now = {server.url: server.reading() for server in servers}
        self.earlier = earlier(journal.kept, {url: r for url, r in now.items() if r is not None})
        for part in self.earlier:
            if part not in journal.kept.parts:
                journal.part(part)
        index = 1 + max((part.index for part in self.earlier), default=-1)
        self._part = RunPart(index=index, begun_at=utc_now(), tries=tries)
        self._counters: dict[int, Counters] = {}
        self._starts: dict[int, float | None] = {}
        self._answered: dict[int, Counts] = {}
        self._in_flight: set[int] = set()

    @property
    def parts(self) -> tuple[RunPart, ...]:
        """All parts so far."""
        return (*self.earlier, self._part)

    def begin(self, epochs: Iterable[Epoch]) -> None:
        """Read the counters: what comes next is asked by the run."""
        latest = {epoch.endpoint: epoch for epoch in epochs}
        for server in self._servers:
            epoch = latest[server.url]
            self._starts[epoch.index] = epoch.process_start
            self._counters[epoch.index] = Counters(
                epoch=epoch.index, endpoint=server.url, begin=_of(epoch, _first(server))
            )
        self._part = self._part.model_copy(update={"begun_at": utc_now()})
        self._write()

    def started(self, epoch: Epoch) -> None:
        """A server was started anew on the way."""
        self._starts[epoch.index] = epoch.process_start
        self._counters[epoch.index] = Counters(
            epoch=epoch.index,
            endpoint=epoch.endpoint,
            # Where it says nothing of its start, a lost connection is all that was seen.
            fresh=epoch.process_start is not None,
        )
        self._write()

    async def sent(
        self, requests: AsyncIterable[tuple[int, Request]]
    ) -> AsyncIterator[tuple[int, Request]]:
        """The requests, each taken down as it is taken."""
        async for order, request in requests:
            self._in_flight.add(order)
            yield order, request

    def answered(self, response: Response) -> None:
        """A request has ended."""
        self._in_flight.discard(response.order)
        for index, one in counted([response]).items():
            before = self._answered.get(index, NOTHING)
            self._answered[index] = Counts(**total((known(before), known(one))))

    def end(self) -> None:
        """Read the counters where a server still answers, whatever ended the part."""
        latest = {counters.endpoint: index for index, counters in self._counters.items()}
        for index, counters in self._counters.items():
            ours = self._answered.get(index, NOTHING)
            self._counters[index] = counters.model_copy(update={"answered": ours})
        for server in self._servers:
            index = latest[server.url]
            found = _last(server, self._counters[index])
            if found is not None and found.process_start == self._starts[index]:
                update = {"end": found}
                self._counters[index] = self._counters[index].model_copy(update=update)
        dropped = tuple(sorted(self._in_flight))
        self._part = self._part.model_copy(update={"ended_at": utc_now(), "dropped": dropped})
        self._write()

    def _write(self) -> None:
        counters = tuple(self._counters[index] for index in sorted(self._counters))
        self._part = self._part.model_copy(update={"counters": counters})
        self._journal.part(self._part)


def _of(epoch: Epoch, reading: Reading | None) -> Reading | None:
    """A reading, if it is of this start."""
    same = reading is not None and reading.process_start == epoch.process_start
    return reading if same else None


def _first(server: Server) -> Reading | None:
    """Counters in which the probes are counted."""
    time.sleep(_SETTLES[1])
    return server.reading()


def _last(server: Server, counters: Counters) -> Reading | None:
    """Counters in which all our answers are counted, or after some waiting those that there are."""
    start = counters.begin.counts if counters.begin else NOTHING
    wanted = total((known(start), known(counters.answered)))
    found = None
    for pause in _SETTLES:
        time.sleep(pause)
        found = server.reading()
        if found is None or _reached(known(found.counts), wanted):
            break
    return found


def _reached(found: Known, wanted: Known) -> bool:
    pairs = [(found[name], wanted[name]) for name in NAMES]
    return all(one is None or other is None or one >= other for one, other in pairs)
