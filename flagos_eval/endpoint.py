"""One address of a model: its connection, how busy it is, and which start of a server answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .clock import utc_now
from .errors import ServerDied, ServerUnreachable
from .records import Epoch
from .server import Identity, Server
from .transport import Link


class Endpoint:
    """An address, and the start of the server that answers there."""

    def __init__(
        self,
        server: Server,
        epochs: list[Epoch],
        model: str,
        link: Link,
        on_epoch: Callable[[Epoch], None] | None,
    ) -> None:
        """An address.

        Args:
            server: What is there.
            epochs: Every start of every server so far; one that is noticed is appended.
            model: The model asked for.
            link: The connection.
            on_epoch: Told of a start that is noticed.
        """
        self.server, self.link = server, link
        self._epochs, self._model, self._on_epoch = epochs, model, on_epoch
        self.epoch = next(e for e in reversed(epochs) if e.endpoint == server.url)
        """The start that answers now."""
        self.load = 0
        """Requests in flight."""
        self.alive = True
        self._checked = 0
        """How many connections there had been when the server was last asked who it is."""
        self._lock = asyncio.Lock()

    async def is_gone(self) -> bool:
        """Whether nothing answers any more; once gone, always gone."""
        if self.alive and not await asyncio.to_thread(self.server.healthy):
            self.alive = False
        return not self.alive

    async def observe(self, lost: bool) -> None:
        """After an answer: is this still the same start of the same server?

        A server takes its connections with it, so no look is needed while no connection is new.
        Where a server does not tell when it started, a `lost` connection counts as a restart.

        Raises:
            ServerDied: another server answers now, or it no longer says what it is.
        """
        if self._checked == self.link.opened and not lost:
            return
        async with self._lock:
            opened = self.link.opened
            if self._checked == opened and not lost:
                return  # another request has looked while this one waited
            identity = await self._identity()
            epoch = next_epoch(self.epoch, identity, self._model, index=len(self._epochs))
            silent = identity.process_start is None and self.epoch.process_start is None
            if epoch is not None and (lost or not silent):
                self.epoch = epoch
                self._epochs.append(epoch)
                if self._on_epoch is not None:
                    self._on_epoch(epoch)
            self._checked = opened

    async def _identity(self) -> Identity:
        """What a server says it is; asked again where a busy one left something unsaid."""
        before = self.epoch
        for pause in (1.0, 3.0, None):
            try:
                found = await asyncio.to_thread(self.server.identity)
            except ServerUnreachable as error:
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
