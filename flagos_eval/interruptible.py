"""Waiting that can be given up from outside: when its time is over, or for another reason."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

_T = TypeVar("_T")


class Interruptible:
    """One piece of work that may be given up.

    It runs in the task that awaits it. In a task of its own, as `asyncio.wait_for` has it before
    Python 3.12, its result would reach the awaiting one some turns of the loop later: of a hundred
    answers that come together all would be read before the first next question was sent, and the
    server would stand idle meanwhile."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._why: Exception | None = None

    def give_up(self, why: Exception) -> None:
        """End the work, which raises `why`. Without effect if it has ended."""
        if self._task is not None and self._why is None:
            self._why = why
            self._task.cancel()

    async def run(self, work: Awaitable[_T], timeout: float) -> _T:
        """The result of `work`.

        Args:
            work: What to await; it must not swallow a cancellation.
            timeout: Seconds until it is given up.

        Raises:
            asyncio.TimeoutError: it took longer.
            asyncio.CancelledError: the task was cancelled. Before Python 3.11 this does not show
                if the work is given up at the same moment.
        """
        task = asyncio.current_task()
        assert task is not None
        self._task, before = task, _cancellations(task)
        timer = asyncio.get_running_loop().call_later(timeout, self.give_up, asyncio.TimeoutError())
        try:
            return await work
        except asyncio.CancelledError:
            if self._why is None or _without_one(task) > before:
                raise
            raise self._why from None
        finally:
            self._task = None
            timer.cancel()


def _cancellations(task: asyncio.Task[Any]) -> int:
    """How often a task was cancelled and has not dealt with it yet."""
    count: Callable[[], int] = getattr(task, "cancelling", _unknown)
    return count()


def _without_one(task: asyncio.Task[Any]) -> int:
    """The same after dealing with one of them."""
    count: Callable[[], int] = getattr(task, "uncancel", _unknown)
    return count()


def _unknown() -> int:
    return 0  # before Python 3.11


async def together(work: Iterable[Coroutine[None, None, _T]]) -> list[_T]:
    """The results of all; the first error, or a cancellation, ends the others."""
    tasks = [asyncio.create_task(each) for each in work]
    if not tasks:
        return []
    try:
        # Not `asyncio.gather`: cancelled, it waits for every task to end by itself, and one that is
        # given up at that moment may have missed the cancellation (see `Interruptible.run`).
        running = set(tasks)
        while running:
            # Not until the first exception: a task that ends as cancelled does not count as one.
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        return [task.result() for task in tasks]
    finally:
        unfinished = {task for task in tasks if not task.done()}
        while unfinished:
            for task in unfinished:
                task.cancel()
            _, unfinished = await asyncio.wait(unfinished, timeout=1.0)
        for task in tasks:
            _ = task.cancelled() or task.exception()  # known, and no more to be told
