"""One queue of requests out of tasks that are still being loaded: task by task, in their order."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass

from .journal import Journal, Key
from .loading import Coming
from .planned import PlannedTask, read_image
from .progress import Note, Planned, Reporter
from .records import ImagePart, Request, Response

_LOOK = 0.02
"""Seconds between looks for the next task, while there is nothing to ask."""


def is_answered(response: Response | None) -> bool:
    """Errors are asked again: a failed request is not an answer."""
    return response is not None and response.error is None


async def at_hand(requests: Iterable[Request]) -> AsyncIterator[tuple[int, Request]]:
    """Requests that wait for no task, numbered from 0, as `Client.complete` takes them."""
    for numbered in enumerate(requests):
        yield numbered


@dataclass(frozen=True)
class _Open:
    """What has no answer yet of one task."""

    planned: PlannedTask
    start: int
    """Place of the task's first request among all requests of the run."""
    orders: deque[int]
    """Places of the open ones."""


class Incoming:
    """The requests without an answer, each built when it is taken.

    A task is taken in when somebody looks for a request after it was loaded: its items go to the
    journal, so that answers about other items can never be mixed with them, and it is reported."""

    def __init__(
        self,
        coming: Coming,
        journal: Journal,
        answers: Mapping[Key, Response],
        report: Reporter,
    ) -> None:
        self._coming, self._journal = coming, journal
        self._answers, self._report = answers, report
        self._open: deque[_Open] = deque()
        self._planned = 0
        self.tasks: list[PlannedTask] = []
        """Those that were taken in."""
        self.starved = 0
        """How often there was nothing to ask because a task was not loaded yet."""

    @property
    def total(self) -> int | None:
        """Requests of the run; None while tasks are loaded."""
        plan = self._coming.whole()
        return None if plan is None else plan.total

    def read_image(self, part: ImagePart) -> bytes:
        """An image's bytes, from whichever task has it."""
        return read_image(self.tasks, part)

    def any_open(self) -> bool:
        """Wait for a task with a request to ask; False if there is none in any.

        Raises:
            SettingsChanged: earlier answers are about other items.
            FlagosEvalError: a task could not be loaded.
        """
        while True:
            ended = self._take_in()
            if any(task.orders for task in self._open):
                return True
            if ended:
                return False
            if name := self._coming.loading:
                self._report(Note("data", f"loading {name}"))
            self._coming.wait(len(self.tasks))

    async def requests(
        self, admit: Callable[[PlannedTask], None]
    ) -> AsyncIterator[tuple[int, Request]]:
        """(place in the run, request) of all that have no answer, waiting for tasks to be loaded.

        Args:
            admit: Called with each task before any of its requests is handed out; may raise.

        Raises:
            SettingsChanged: earlier answers are about other items.
            FlagosEvalError: a task could not be loaded; also while earlier ones are asked.
        """
        admitted = 0
        while True:
            ended = self._take_in()
            for planned in self.tasks[admitted:]:
                admit(planned)
            admitted = len(self.tasks)
            found = self._next()
            if found is not None:
                yield found
            elif ended:
                return
            else:
                await self._next_task()

    def _take_in(self) -> bool:
        """Take in what was loaded since; whether that was the last."""
        ended = self._coming.whole() is not None  # looked at first: tasks may come meanwhile
        for planned in self._coming.after(len(self.tasks)):
            self._journal.identify(planned.identity())
            keys = enumerate(planned.requests.each_key(), self._planned)
            orders = deque(n for n, key in keys if not is_answered(self._answers.get(key)))
            n = len(planned.requests)
            self._report(Planned(planned.task.name, n, n - len(orders)))
            self._open.append(_Open(planned, self._planned, orders))
            self.tasks.append(planned)
            self._planned += n
        return ended

    def _next(self) -> tuple[int, Request] | None:
        while self._open:
            task = self._open[0]
            if task.orders:
                order = task.orders.popleft()
                return order, task.planned.requests[order - task.start]
            self._open.popleft()
        return None

    async def _next_task(self) -> None:
        """Wait without keeping answers from coming in."""
        begun, name = time.monotonic(), self._coming.loading
        self.starved += 1
        self._report(Note("data", f"nothing to ask until {name} is loaded"))
        while not self._coming.wait(len(self.tasks), seconds=0):
            await asyncio.sleep(_LOOK)
        waited = time.monotonic() - begun
        self._report(Note("data", f"asking again after {waited:.1f} s of waiting for {name}"))
