"""What a run tells while it works, and who listens: a live view, plain lines, or nobody.

The pipeline emits events and knows nothing of terminals.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from .inert import inert_lines
from .redact import redact

if TYPE_CHECKING:
    from rich.progress import TaskID


@dataclass(frozen=True)
class Note:
    """Something worth a line, such as a server's state or a repaired journal."""

    topic: str
    text: str


@dataclass(frozen=True)
class Planned:
    """A task is loaded: so many requests, of which some were answered earlier."""

    task: str
    total: int
    done: int


@dataclass(frozen=True)
class Answered:
    """A request ended."""

    task: str
    error: bool
    truncated: bool
    completion_tokens: int


Event = Note | Planned | Answered
"""Everything a run can say."""


class Reporter(Protocol):
    """Listens to a run; a context manager around it."""

    def __call__(self, event: Event) -> None:
        """Hear an event."""
        ...

    def __enter__(self) -> Reporter: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@dataclass
class _Tally:
    total: int = 0
    kept: int = 0
    done: int = 0
    errors: int = 0
    truncated: int = 0
    tokens: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, event: Answered) -> None:
        self.done += 1
        self.errors += event.error
        self.truncated += event.truncated
        self.tokens += event.completion_tokens

    def rate(self) -> float | None:
        """Answers a second; None before there is a second to speak of."""
        elapsed = time.monotonic() - self.started
        return self.done / elapsed if elapsed >= 1 else None


class PlainLines:
    """One line a note, and one every few seconds while requests are answered."""

    def __init__(
        self, write: Callable[[str], object] | None = None, *, every: float = 10.0
    ) -> None:
        self._write = write or _to_stderr
        self._every = every
        self._tallies: dict[str, _Tally] = {}
        self._last = time.monotonic()

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._tallies:
            self._line(task)

    def __call__(self, event: Event) -> None:
        """Write a line, if it is time for one."""
        if isinstance(event, Note):
            self._write(f"{event.topic:<9} {inert_lines(redact(event.text))}\n")
        elif isinstance(event, Planned):
            self._tallies[event.task] = _Tally(total=event.total, kept=event.done)
            kept = f", {event.done} answered earlier" if event.done else ""
            self._write(f"{event.task:<9} {event.total} requests{kept}\n")
        else:
            tally = self._tallies[event.task]
            if tally.done == 0:
                tally.started = time.monotonic()
            tally.add(event)
            if time.monotonic() - self._last >= self._every:
                self._last = time.monotonic()
                self._line(event.task)

    def _line(self, task: str) -> None:
        tally = self._tallies[task]
        if tally.done == 0:
            return
        left = tally.total - tally.kept - tally.done
        rate = tally.rate()
        speed = f"  {rate:.1f}/s" if rate else ""
        eta = f", {_clock(left / rate)} left" if left and rate else ""
        self._write(
            f"{task:<9} {tally.kept + tally.done}/{tally.total}{speed}{eta}  "
            f"errors {tally.errors}  cut {tally.truncated}\n"
        )


class LiveView:
    """A bar per task on a terminal, with rate, time left, errors and truncated answers."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:>9}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[errors]}"),
            console=self._console,
        )
        self._tallies: dict[str, _Tally] = {}
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> LiveView:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Move a bar, or print a line above them."""
        from rich.markup import escape

        if isinstance(event, Note):
            self._progress.print(
                f"[bold]{event.topic:<9}[/bold] {escape(inert_lines(redact(event.text)))}",
                highlight=False,
            )
        elif isinstance(event, Planned):
            self._tallies[event.task] = _Tally(total=event.total, kept=event.done)
            self._bars[event.task] = self._progress.add_task(
                event.task, total=event.total, completed=event.done, rate="", errors=""
            )
        else:
            tally = self._tallies[event.task]
            if tally.done == 0:
                tally.started = time.monotonic()
            tally.add(event)
            errors = f"[red]errors {tally.errors}[/red]" if tally.errors else "errors 0"
            self._progress.update(
                self._bars[event.task],
                completed=tally.kept + tally.done,
                rate=f"{rate:.1f}/s" if (rate := tally.rate()) else "",
                errors=f"{errors}  cut {tally.truncated}",
            )


class Silent:
    """Hears everything and says nothing."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def __call__(self, event: Event) -> None:
        """Nothing to say."""


def reporter(*, plain: bool, quiet: bool) -> Reporter:
    """The listener that fits: a live view on a terminal, plain lines otherwise."""
    if quiet:
        return Silent()
    return PlainLines() if plain or not sys.stderr.isatty() else LiveView()


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
