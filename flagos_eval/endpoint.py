"""One address of a model: its connection, and which start of a server answers there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from .clock import utc_now
from .endpoints import Gone, Place
from .errors import ServerDied, ServerUnreachable
from .records import Epoch
from .server import Identity
from .transport import Link


@dataclass(eq=False)
class Endpoint(Place):
    """An address, and the start of the server that answers there."""

    epochs: list[Epoch]
    """Every start of every server so far; one that is noticed is appended."""
    model: str
    """The model asked for."""
    link: Link
    on_epoch: Callable[[Epoch], None] | None
    """Told of a start that is noticed."""
    epoch: Epoch = field(init=False)
    """The start that answers now."""
    checked: int = field(default=0, kw_only=True)
    """How many connections there had been when the server was last asked who it is."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, kw_only=True)

    def __post_init__(self) -> None:
        self.epoch = next(e for e in reversed(self.epochs) if e.endpoint == self.server.url)

    async def observe(self, lost: bool, drain: Callable[[Endpoint, str], bool]) -> None:
        """After an answer: is this still the same start of the same server?

        A server takes its connections with it, so no look is needed while no connection is new.
        Where a server does not tell when it started, a `lost` connection counts as a restart, and
        so does a return after it was drained.

        Args:
            lost: A connection was lost on the way to the answer.
            drain: Called if the server no longer says what it is: see `Spread.drain`.

        Raises:
            Gone: it was drained, so that nobody knows which start of it has answered.
            ServerDied: another server answers now, or the last one no longer says what it is.
        """
        if self.checked == self.link.opened and not lost and not self.returned:
            return
        async with self.lock:
            if not self.alive:
                raise Gone("drained before it said which start of it had answered")
            opened = self.link.opened
            lost, self.returned = lost or self.returned, False
            if self.checked == opened and not lost:
                return  # another request has looked while this one waited
            identity = await self._identity(drain)
            epoch = next_epoch(self.epoch, identity, self.model, index=len(self.epochs))
            silent = identity.process_start is None and self.epoch.process_start is None
            if epoch is not None and (lost or not silent):
                self.epoch = epoch
                self.epochs.append(epoch)
                if self.on_epoch is not None:
                    self.on_epoch(epoch)
            self.checked = opened

    async def _identity(self, drain: Callable[[Endpoint, str], bool]) -> Identity:
        """What a server says it is; asked again where a busy one left something unsaid."""
        before = self.epoch
        for pause in (1.0, 3.0, None):
            try:
                found = await asyncio.to_thread(self.server.identity)
            except ServerUnreachable as error:
                if pause is None and drain(self, "no longer says what it is"):
                    raise Gone("gone before it said which start of it had answered") from error
                if pause is None:
                    raise ServerDied(
                        f"the server at {self.server.url} no longer says what it is "
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
