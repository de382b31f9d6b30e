"""How fast a server answered, from the times in a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .clock import seconds
from .errors import UsageError
from .records import Response, Run


@dataclass(frozen=True)
class Pace:
    """Seconds of a server's time for one request, retries included."""

    by_task: Mapping[str, float]
    otherwise: float
    """Of a task that was not measured: the mean over all requests."""
    source: str
    """Where it comes from, in words."""

    def seconds(self, task: str) -> float:
        """For one request of a task."""
        return self.by_task.get(task, self.otherwise)


def of_run(run: Run) -> Pace:
    """The pace of a run.

    The time in which at least one request was open, so that a pause before a resumption does not
    count, divided among the requests by how long each of them took: tasks that were asked
    mixed have each its own.

    Raises:
        UsageError: the run has no times, as one that was made elsewhere, or they are no times.
    """
    timed = [(r, _spans(r)) for r in run.responses if r.attempts]
    spans = [span for _, found in timed for span in found]
    busy, total = _union(spans), sum(end - start for start, end in spans)
    if busy <= 0 or total <= 0:
        raise UsageError(
            f"{run.name} does not say how long its answers took",
            hint="--rate N takes requests a second",
        )
    by_task: dict[str, list[float]] = {}
    for response, found in timed:
        by_task.setdefault(response.task, []).append(sum(end - start for start, end in found))
    share = busy / total
    return Pace(
        by_task={task: share * sum(taken) / len(taken) for task, taken in by_task.items()},
        otherwise=busy / len(timed),
        source=f"{len(timed) / busy:.2f} requests/s in {run.name}, {total / busy:.1f} at a time",
    )


def of_rate(rate: float) -> Pace:
    """A pace that was given, in requests a second.

    Raises:
        UsageError: it is not positive.
    """
    if not 0 < rate < float("inf"):
        raise UsageError(f"a rate is a number of requests a second, not {rate:g}")
    return Pace({}, 1 / rate, f"{rate:g} requests/s, as given")


def _spans(response: Response) -> list[tuple[float, float]]:
    starts = [(seconds(attempt.started_at), attempt.latency) for attempt in response.attempts]
    return [(start, start + latency) for start, latency in starts]


def _union(spans: Iterable[tuple[float, float]]) -> float:
    """Length of what the spans cover together."""
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered
