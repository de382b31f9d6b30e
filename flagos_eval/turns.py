"""One at a time through a door, each in a turn of the event loop of its own."""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Lets waiting tasks go on one by one.

    Where many answers come together, every task that has got one would use its turn of the loop,
    and only then would what they have handed to the transport be written: before Python 3.12
    aiohttp writes a body in a task of its own. So the next answers come together again, and the
    server stands idle between them."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = False

    async def take(self) -> None:
        """Wait for a turn. It ends when the event loop has come round, and what was scheduled in it
        goes before the next one's."""
        loop = asyncio.get_running_loop()
        if self._taken:
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if not waiter.cancelled():
                    self._pass_on()  # it was this one's turn
                raise
        self._taken = True
        loop.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._taken = False
