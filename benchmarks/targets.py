"""Every target of speed and size in one table, measured.

    python benchmarks/targets.py [--rounds N] [--check]

Runs the benchmarks that need nothing but this repository: `startup`, `throughput`, `scale`,
`rescoring`, `comparing`, and the demo. Where a time has a floor, the same work without what is
ours, the ratio to it is measured in the same round and has a limit of its own: a slower machine
does not change it, and a regression does. ``--check`` exits with 1 if a ratio, a size or a count is
beyond its limit; ``--check=all`` if a time is, too, which says something on a quiet machine only.
Some minutes.

Beside other harnesses: `peers.py`; beside vLLM's own benchmark, on a real server:
`against_vllm.py`; several servers: `scaling.py`. They need environments of their own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks import comparing, rescoring, scale, startup, throughput
else:  # as a script, beside them
    import comparing
    import rescoring
    import scale
    import startup
    import throughput

DEMO_LIMIT = 60.0
"""Seconds of `flagos-eval demo`, which answers 400 questions three times."""


@dataclass(frozen=True)
class Target:
    """One figure and its limit."""

    what: str
    values: tuple[float, ...]
    """Of every round; the median counts."""
    unit: str
    limit: float
    least: bool = False
    """The limit is a lower one."""

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    @property
    def holds(self) -> bool:
        """Whether the median is within the limit."""
        return self.median >= self.limit if self.least else self.median <= self.limit

    @property
    def timed(self) -> bool:
        """Whether it hangs on the machine."""
        return self.unit == "s"


def starting(rounds: int) -> Iterator[Target]:
    """Commands until they answer."""
    for start in startup.measure(rounds):
        yield Target(f"`{start.name}`", tuple(start.seconds), "s", start.limit)
        yield Target(
            f"`{start.name}` over its floor", tuple(start.times), "times", start.times_limit
        )


def asking(rounds: int) -> Iterator[Target]:
    """The client beside bare loops."""
    found = throughput.measure_all(rounds, wanted=2000)
    for limit in throughput.LIMITS:
        setting = next(setting for setting in found if setting[0] == limit.delay)
        values = tuple(throughput.ratios(limit, found[setting]))
        what = f"`run`: {limit.what} over {limit.over}, {setting[0]} ms, {setting[1]} in flight"
        bound = limit.least if limit.least is not None else limit.most
        if bound is None:
            raise ValueError(f"{what} has no limit")
        yield Target(what, values, "times", bound, least=limit.least is not None)


def growing() -> Iterator[Target]:
    """100,000 items."""
    found = scale.measure(100_000)
    for name, limit in scale.LIMITS.items():
        what, _, unit = name.removesuffix(")").rpartition(" (")
        yield Target(f"100,000 items: {what}", (found[name],), unit, limit)


def scoring() -> Iterator[Target]:
    """The answers to all twelve benchmarks."""
    seconds, times = rescoring.total(rescoring.measure())
    yield Target("scoring all twelve benchmarks", (seconds,), "s", rescoring.LIMIT)
    what = "scoring over writing and reading the answers"
    yield Target(what, (times,), "times", rescoring.TIMES_LIMIT)


def comparisons(rounds: int) -> Iterator[Target]:
    """Two runs of 20,000 items."""
    with tempfile.TemporaryDirectory() as folder:
        found, page = comparing.measure(Path(folder), 20_000, rounds)
    for name, limit in comparing.LIMITS.items():
        took = found[name]
        pairs = zip(took, found[comparing.FLOOR], strict=True)
        times = tuple(one.seconds / floor.seconds for one, floor in pairs)
        what = f"`{name}`, runs of 20,000 items"
        yield Target(what, tuple(one.seconds for one in took), "s", limit.seconds)
        yield Target(f"{what}: over its floor", times, "times", limit.times)
        yield Target(f"{what}: memory", tuple(t.megabytes for t in took), "MB", limit.megabytes)
    yield Target("page of the report on them", (page,), "MB", comparing.PAGE_LIMIT)


def demo() -> Iterator[Target]:
    """The demo, once."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        comparing.run_command("-m", "flagos_eval", "demo", "--plain", folder=Path(folder))
        yield Target("`demo`", (time.perf_counter() - start,), "s", DEMO_LIMIT)


def every_target(rounds: int) -> Iterator[Target]:
    """All of them, as they are measured."""
    yield from starting(rounds)
    yield from asking(rounds)
    yield from comparisons(rounds)
    yield from scoring()
    yield from growing()
    yield from demo()


def row(target: Target) -> str:
    """One line of the table."""
    digits = 2 if target.median < 10 else 0
    measured = f"{target.median:.{digits}f}"
    if len(target.values) > 1:
        measured += f" ({min(target.values):.{digits}f}-{max(target.values):.{digits}f})"
    bound = f"{'at least' if target.least else 'at most'} {target.limit:g}"
    verdict = "holds" if target.holds else "FAILS"
    return f"| {target.what} | {measured} | {target.unit} | {bound} | {verdict} |"


def main() -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--check", nargs="?", const="ratios", choices=("ratios", "all"), help="exit with 1"
    )
    options = parser.parse_args()
    print("| what | median (range) | | limit | |\n|---|--:|---|---|---|", flush=True)
    failed = []
    for target in every_target(options.rounds):
        print(row(target), flush=True)
        if not target.holds:
            failed.append(target)
    serious = [target for target in failed if options.check == "all" or not target.timed]
    return int(options.check is not None and bool(serious))


if __name__ == "__main__":
    sys.exit(main())
