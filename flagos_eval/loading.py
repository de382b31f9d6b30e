"""Outline -> Plan beside other work: tasks are loaded one after the other in a thread.

Nothing here asks or reports: who needs a task looks whether it is there, or waits for it. What goes
wrong is raised there as soon as it is known, whichever task it is about."""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Protocol

from pydantic import JsonValue

from .config import RunConfig
from .plan import Loaded, Outline
from .planned import Plan, PlannedTask
from .records import Sample
from .task import Row, Scorer, Task

THREAD = "loading tasks"
"""Name of the thread."""
_ENDS_WITHIN = 5.0
"""Seconds that an end waits for the thread. Between two items it stops at once; a download, or the
first reading of a file, is left behind."""


class Coming(Protocol):
    """A plan whose tasks may still be loaded: a `Loading`, or a `Plan`, which is all there."""

    @property
    def config(self) -> RunConfig:
        """The settings."""
        ...

    @property
    def scorers(self) -> tuple[Scorer, ...]:
        """Of all tasks, loaded or not."""
        ...

    @property
    def loading(self) -> str | None:
        """The task that is being loaded."""
        ...

    def identity(self) -> dict[str, JsonValue]:
        """What must be the same for answers to belong to one run, as far as it is known before
        anything is loaded; each task adds its own."""
        ...

    def after(self, seen: int) -> Sequence[PlannedTask]:
        """The tasks that are there, but the first `seen`.

        Raises:
            FlagosEvalError: a task could not be loaded.
        """
        ...

    def wait(self, seen: int, seconds: float | None = None) -> bool:
        """Wait until there are more than `seen` tasks, or there will be none.

        Args:
            seen: Tasks that are known.
            seconds: How long at most; None for as long as it takes.

        Returns:
            Whether that is so now.
        """
        ...

    def whole(self) -> Plan | None:
        """The plan; None while tasks are loaded."""
        ...


class _Stopped(Exception):
    """Nobody waits for the tasks any more."""


class Loading:
    """Loads the tasks of an outline in their order. A context manager, whose end stops it."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._tasks: list[PlannedTask] = []
        self._loading = next((task.name for task in outline.tasks), None)
        self._plan: Plan | None = None
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        # A daemon: a download that nobody waits for must not keep a stopped command alive.
        self._thread = threading.Thread(target=self._work, name=THREAD, daemon=True)

    def __enter__(self) -> Loading:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join(_ENDS_WITHIN)
        gc.unfreeze()

    @property
    def config(self) -> RunConfig:
        """See `Coming`."""
        return self._outline.config

    @property
    def scorers(self) -> tuple[Scorer, ...]:
        """See `Coming`."""
        return self._outline.scorers

    @property
    def loading(self) -> str | None:
        """See `Coming`."""
        return self._loading

    def identity(self) -> dict[str, JsonValue]:
        """See `Coming`."""
        return self._outline.identity()

    def after(self, seen: int) -> Sequence[PlannedTask]:
        """See `Coming`."""
        if self._error is not None:
            raise self._error
        return self._tasks[seen:]

    def wait(self, seen: int, seconds: float | None = None) -> bool:
        """See `Coming`."""
        with self._changed:
            return self._changed.wait_for(
                lambda: len(self._tasks) > seen or bool(self._plan or self._error), seconds
            )

    def whole(self) -> Plan | None:
        """See `Coming`."""
        return self._plan

    def _work(self) -> None:
        loaded: list[Loaded] = []
        try:
            for task in self._outline.tasks:
                self._loading = task.name
                one = self._outline.load(self._until_stopped(task))
                if one.planned is not None:
                    one = replace(one, planned=replace(one.planned, task=task))
                loaded.append(one)
                self._there(one.planned)
            plan = self._outline.plan(loaded)
            with self._changed:
                self._loading, self._plan = None, plan
                self._changed.notify_all()
        except BaseException as error:  # raised again where the tasks are waited for
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _there(self, planned: PlannedTask | None) -> None:
        if planned is not None:
            # Items stay until the run ends. Looking through them for garbage, again and again as
            # they grow more, would hold up the asking for a fifth of a second each time.
            gc.freeze()
            with self._changed:
                self._tasks.append(planned)
                self._changed.notify_all()

    def _until_stopped(self, task: Task) -> Task:
        """The task, whose loading ends at the next item when nobody waits for it any more."""

        def to_sample(row: Row) -> Sample:
            if self._stopped.is_set():
                raise _Stopped
            return task.to_sample(row)

        return replace(task, to_sample=to_sample)
