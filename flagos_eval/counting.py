"""By how much servers' counters grew while they were asked, and what of it may be ours. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from .clock import seconds
from .records import Counters, Counts, ErrorKind, Reading, Response, Run, RunPart

NAMES: Final = ("requests", "prompt_tokens", "completion_tokens")
WORDS: Final = {name: name.replace("_", " ") for name in NAMES}
_NEVER_COUNTED = (ErrorKind.REJECTED, ErrorKind.RATE_LIMITED)
"""Turned away before a model saw them."""
UNANSWERED: Final = ("abort", "error")
"""Reasons for which vLLM ends a request without an answer; it counts them apart."""
_CLOCK = 0.01
"""Seconds; times are kept in milliseconds."""

Known = dict[str, "int | None"]
"""Name -> a number; None where it is not known or, of a limit, where there is none."""


# --- One start of a server in one part ------------------------------------------------------------


@dataclass(frozen=True)
class Window:
    """Both counts of one start of a server in one part of a run."""

    ours: Known
    grown: Reading | None
    """By how much its counters grew; None if that is not known."""
    unsure: Known
    """Of ours, what the start before may have answered."""
    doubts: tuple[str, ...]

    def server(self, name: str) -> int | None:
        """What the server counted."""
        return getattr(self.grown.counts, name) if self.grown else None

    def missing(self, name: str) -> int:
        """What the server lacks."""
        ours, server, unsure = self.ours[name], self.server(name), self.unsure[name]
        if self.grown is None or ours is None or server is None or unsure is None:
            return 0
        if name == "prompt_tokens":
            # An engine may leave out what it had in its cache.
            if (self.grown.prefix_hit_rate or 0) > 0:
                return 0
            unsure += self.grown.prefix_hits or 0
        return max(0, ours - unsure - server)

    def surplus(self, name: str) -> int:
        """What the server has beyond ours."""
        ours, server = self.ours[name], self.server(name)
        return 0 if ours is None or server is None else max(0, server - ours)


def windows(run: Run) -> list[Window]:
    """All of a run."""
    odd = _several(run)
    return [_window(run, c, odd) for part in run.parts for c in _joined(run, part, odd)]


def _several(run: Run) -> set[str]:
    """Addresses behind which several servers answer in turn: a start that is not later than the
    ones before it is no restart."""
    last: dict[str, float] = {}
    found = set()
    for epoch in run.epochs:
        if epoch.process_start is not None:
            if epoch.process_start <= last.get(epoch.endpoint, 0.0):
                found.add(epoch.endpoint)
            last[epoch.endpoint] = epoch.process_start
    return found


def _window(run: Run, counters: Counters, odd: set[str]) -> Window:
    grown = None if counters.endpoint in odd else _grown(counters)
    ours = known(counters.answered)
    unsure: Known = dict.fromkeys(NAMES, 0)
    if counters.fresh:
        seen = min(seconds(e.first_seen) for e in run.epochs if e.index == counters.epoch)
        own = (r for r in run.responses if r.epoch == counters.epoch and r.error is None)
        unsure = total(billed(response) for response in own if _ended(response) < seen)
    doubts: tuple[str, ...] = ()
    if any(count != 0 for count in ours.values()):
        doubts = tuple(_unknown(counters, grown, odd))
    return Window(ours, grown, unsure, doubts)


def _unknown(counters: Counters, grown: Reading | None, odd: set[str]) -> Iterator[str]:
    """Why a start's counts are not verified."""
    where = f"start {counters.epoch + 1}"
    if counters.endpoint in odd:
        yield f"several servers answer at {counters.endpoint}"
    elif counters.end is None:
        yield f"the counters of {where} could not be read at the end"
    elif counters.begin is None and not counters.fresh:
        yield f"the counters of {where} could not be read at the beginning"
    elif grown is None:
        yield f"the counters of {where} began anew"
    else:
        silent = [name for name, count in known(grown.counts).items() if count is None]
        if silent:
            yield f"{where} does not count {', '.join(WORDS[name] for name in silent)}"
        if None in known(counters.answered).values():
            yield f"{where} gave answers without token counts"


def _grown(counters: Counters) -> Reading | None:
    """By how much the counters grew; None if that is not known."""
    begin, end = counters.begin, counters.end
    if end is None or begin is None:
        return end if counters.fresh else None
    if begin.process_start != end.process_start:
        return None
    names = ("preemptions", "prefix_hits")
    counts = {n: _less(getattr(end.counts, n), getattr(begin.counts, n)) for n in NAMES}
    others = {n: _less(getattr(end, n), getattr(begin, n)) for n in names}
    if any(value is not None and value < 0 for value in (*counts.values(), *others.values())):
        return None  # started anew, and too silent to say so
    return end.model_copy(update={"counts": Counts(**counts), **others})


def _joined(run: Run, part: RunPart, odd: set[str]) -> Iterator[Counters]:
    """The part's counters, several addresses of one process as one.

    Addresses are one if they name the same time of start and began with the same counts, unless
    the counters are too few for both: two processes can be started at the same moment, too.
    """
    waiting = list(part.counters)
    while waiting:
        one = waiting.pop(0)
        for other in tuple(waiting):
            both = _one_process(one, other)
            if both and not any(map(_window(run, both, odd).missing, NAMES)):
                waiting.remove(other)
                one = both
        yield one


def _one_process(one: Counters, other: Counters) -> Counters | None:
    """What two addresses saw, if they may be the same process."""
    if one.begin is None or other.begin is None or one.end is None or other.end is None:
        return None
    start = one.begin.process_start
    if start is None or start != other.begin.process_start:
        return None
    if one.begin.counts != other.begin.counts:
        return None
    answered = Counts(**total((known(one.answered), known(other.answered))))
    later = max(one.end, other.end, key=lambda reading: reading.counts.requests or 0)
    return one.model_copy(update={"answered": answered, "end": later})


# --- What may have been counted beside our answers ------------------------------------------------


def allowance(run: Run, seen: Sequence[Window]) -> Known:
    """The most that the servers may have counted of what was given up on: tries that failed, and
    requests in flight when a part ended.

    A request of which no answer is known has at most as many prompt tokens as the server takes, and
    never more completion tokens than it asked for. A preempted request is computed again, which
    vLLM before 0.8 counts again."""
    if any(part.dropped is None for part in run.parts):
        return dict.fromkeys(NAMES)
    whole = _longest(run)
    asked = {task.name: task.sampling.max_tokens for task in run.tasks if task.sampling}
    most = max(asked.values(), default=None)
    again = sum((window.grown.preemptions or 0) if window.grown else 0 for window in seen)
    most_of_all: Known = {**dict.fromkeys(NAMES, 0), "prompt_tokens": _times(again, whole)}
    for tries, response in _given_up(run):
        used = response.usage if response else None
        one: Known = {
            "requests": tries,
            "prompt_tokens": _times(tries, used.prompt_tokens if used else whole),
            "completion_tokens": _times(tries, asked.get(response.task) if response else most),
        }
        most_of_all = total((most_of_all, one))
    return most_of_all


def _given_up(run: Run) -> Iterator[tuple[int, Response | None]]:
    """(tries that a server may have counted, the answer that the request got in the end)."""
    by_order = {response.order: response for response in run.responses}
    for response in run.responses:
        errors = [attempt.error for attempt in response.attempts if attempt.error is not None]
        tries = sum(error.kind not in _NEVER_COUNTED for error in errors)
        if tries:
            yield tries, response
    for part in run.parts:
        for order in part.dropped or ():
            yield part.tries * len(part.counters), by_order.get(order)


def _longest(run: Run) -> int | None:
    lengths = [epoch.max_model_len for epoch in run.epochs]
    return None if None in lengths else max((n for n in lengths if n is not None), default=None)


# --- Numbers that may not be known ----------------------------------------------------------------


def known(counts: Counts) -> Known:
    """The same by name."""
    return {name: getattr(counts, name) for name in NAMES}


def total(several: Iterable[Known]) -> Known:
    """The sum; None where one is not known."""
    found: Known = dict.fromkeys(NAMES, 0)
    for one in several:
        for name in NAMES:
            a, b = found[name], one[name]
            found[name] = None if a is None or b is None else a + b
    return found


def _less(end: int | None, begin: int | None) -> int | None:
    return None if end is None or begin is None else end - begin


def _times(count: int, each: int | None) -> int | None:
    return 0 if count == 0 else None if each is None else count * each


def billed(response: Response) -> Known:
    """What an answer says that it took."""
    used = response.usage
    return {
        # vLLM does not count as a success what it gave up halfway, though it may send what it has.
        "requests": int(response.finish_reason not in UNANSWERED),
        "prompt_tokens": used.prompt_tokens if used else None,
        "completion_tokens": used.completion_tokens if used else None,
    }


def _ended(response: Response) -> float:
    """When the last try of a request was answered, a little early."""
    last = response.attempts[-1]
    return seconds(last.started_at) + last.latency - _CLOCK
