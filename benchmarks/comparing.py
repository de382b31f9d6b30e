"""What a comparison of two large runs takes: seconds, memory, and the size of the page.

    python benchmarks/comparing.py [--items N] [--rounds N] [--check]

Two runs over N items (`many.py`) are made against a null server, the second of which is given a
wrong answer to every 50th question, so that there are flips to list. Then, in turn and each in a
process of its own: the floor, which is Python reading both run files as JSON and nothing more,
`compare`, `report` to a page, and `verify` of one run. Prints a Markdown table of medians with
their ranges; a ratio is of one round. ``--check`` exits with 1 beyond a limit; the limits are for
20,000 items.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks import many
    from benchmarks.throughput import null_server
else:  # as a script, beside them
    import many
    from throughput import null_server

ROOT = Path(__file__).resolve().parent.parent
FLOOR = "json"
_READ = "import json, sys; [json.load(open(name, 'rb')) for name in sys.argv[1:]]"


@dataclass(frozen=True)
class Took:
    """One process."""

    seconds: float
    megabytes: float
    """Resident at most."""


@dataclass(frozen=True)
class Limit:
    """What a command may take, in the median."""

    seconds: float
    megabytes: float
    times: float
    """Times the floor of the same round."""


LIMITS = {
    "compare": Limit(8.0, 600.0, 30.0),
    "report": Limit(8.0, 600.0, 40.0),
    "verify": Limit(8.0, 600.0, 30.0),
}
PAGE_LIMIT = 15.0
"""Megabytes of the HTML page."""


def run_command(*arguments: str, folder: Path | None = None) -> Took:
    """Time one process, in a folder; what it prints is dropped.

    Raises:
        SystemExit: it failed; a comparison's verdict is no failure.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment, cwd=folder
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1, 3):
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    return Took(seconds, usage.ru_maxrss / 1024)


def make_runs(folder: Path, n: int) -> tuple[Path, Path]:
    """Two runs over the same items."""
    many.make(folder, n)
    paths = folder / "reference.json", folder / "candidate.json"
    for path, wrong in zip(paths, (0, 50), strict=True):
        with null_server(0, f"--wrong-every={wrong}") as url:
            asked = [f"--tasks={many.__file__}", f"--data-dir={folder}", "--base-url", url]
            run_command("-m", "flagos_eval", "run", *asked, "-o", str(path), "--quiet")
    return paths


def measure(folder: Path, n: int, rounds: int) -> tuple[dict[str, list[Took]], float]:
    """Every command, round after round; and the megabytes of the page."""
    reference, candidate = map(str, make_runs(folder, n))
    tasks, page = f"--tasks-dir={folder}", folder / "page.html"
    (folder / "many.py").write_bytes(Path(many.__file__).read_bytes())
    ours = ("-m", "flagos_eval")
    commands = {
        FLOOR: ("-c", _READ, reference, candidate),
        "compare": (*ours, "compare", reference, candidate, tasks),
        "report": (*ours, "report", reference, candidate, tasks, "-o", str(page)),
        "verify": (*ours, "verify", candidate, tasks),
    }
    found: dict[str, list[Took]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            found[name].append(run_command(*command))
    return found, page.stat().st_size / 2**20


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def report(found: dict[str, list[Took]], page: float) -> int:
    """Print the table; how much is beyond its limit."""
    print("| command | seconds | at most | MB | at most | times the floor | at most |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    beyond = 0
    for name, rounds in found.items():
        seconds = [took.seconds for took in rounds]
        memory = [took.megabytes for took in rounds]
        times = [
            took.seconds / floor.seconds for took, floor in zip(rounds, found[FLOOR], strict=True)
        ]
        limit = LIMITS.get(name)
        if limit is None:
            print(f"| {name} | {spread(seconds)} | - | {spread(memory)} | - | 1 | - |")
            continue
        pairs = ((seconds, limit.seconds), (memory, limit.megabytes), (times, limit.times))
        beyond += sum(statistics.median(values) > most for values, most in pairs)
        cells = " | ".join(f"{spread(values)} | {most:g}" for values, most in pairs)
        print(f"| {name} | {cells} |")
    print(f"\nThe page has {page:.1f} MB (at most {PAGE_LIMIT:g}).")
    return beyond + (page > PAGE_LIMIT)


def main() -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="exit with 1 beyond a limit")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, page = measure(Path(folder), options.items, options.rounds)
    return int(report(found, page) > 0 and options.check)


if __name__ == "__main__":
    sys.exit(main())
