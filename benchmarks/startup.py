"""How long a command takes to answer, over and times ``python -c pass``, in interleaved runs.

    python benchmarks/startup.py [--rounds N] [--check]

And how long ``run`` takes from its start to the first request that a server gets, and how many
times as long as importing openai. Prints a Markdown table of medians. ``--check`` exits with 1 if
one is beyond a limit. ``run`` is given MathVision's testmini from $FLAGOS_EVAL_TEST_DATA (default
../shared/data), or Shapes without it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.throughput import null_server
else:  # as a script, beside it
    from throughput import null_server

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "results" / "example"
FLOOR = ("-c", "pass")
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
LIMITS = {"--help": (0.5, 12.0), "ls": (0.5, 40.0), "show": (0.5, 40.0), "compare": (1.0, 90.0)}
"""Seconds over the floor, and times the floor. `compare` imports scipy."""
COMMANDS = {
    "--help": ("-m", "flagos_eval", "--help"),
    "ls": ("-m", "flagos_eval", "ls"),
    "show": ("-m", "flagos_eval", "show", str(EXAMPLE / "reference.json")),
    "compare": (
        *("-m", "flagos_eval", "compare"),
        *(str(EXAMPLE / "reference.json"), str(EXAMPLE / "candidate.json")),
    ),
}


DATA = Path(os.environ.get("FLAGOS_EVAL_TEST_DATA", ROOT.parent / "shared" / "data"))
FIRST_REQUEST_LIMIT = 2.5
"""Seconds from the start of `run`."""
FIRST_REQUEST_TIMES_LIMIT = 4.0
"""Times `import openai`, which is the most of it that is not ours."""


def first_request() -> float:
    """Seconds from the start of ``run`` to the first request at a null server."""
    if (DATA / "mathvision" / "images").is_dir():
        asked = ["--tasks=mathvision", "--split=mathvision=testmini", f"--data-dir={DATA}"]
    else:
        asked = ["--tasks=shapes"]
    with null_server(0) as url, tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "flagos_eval", "run", *asked, "--base-url", url]
        start = time.time()
        subprocess.run([*command, "-o", f"{folder}/run.json", "--quiet"], check=True, **QUIET)
        with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as answer:
            first: float = json.load(answer)["first_request"]
    return first - start


def seconds(arguments: tuple[str, ...]) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=False, **QUIET)
    return time.perf_counter() - start


@dataclass(frozen=True)
class Start:
    """One command, in every round."""

    name: str
    seconds: list[float]
    """Over `python -c pass`, or in all for the first request."""
    times: list[float]
    """Times the floor of the same round."""
    limit: float
    times_limit: float

    @property
    def holds(self) -> bool:
        """Whether both medians are within their limits."""
        median = statistics.median
        return median(self.seconds) <= self.limit and median(self.times) <= self.times_limit


def measure(rounds: int) -> list[Start]:
    """Every command, and the first request of `run`."""
    found = []
    for name, arguments in COMMANDS.items():
        seconds(arguments)  # once to fill the caches
        pairs = [(seconds(FLOOR), seconds(arguments)) for _ in range(rounds)]
        over = [whole - floor for floor, whole in pairs]
        times = [whole / floor for floor, whole in pairs]
        found.append(Start(name, over, times, *LIMITS[name]))
    pairs = [(seconds(("-c", "import openai")), first_request()) for _ in range(rounds)]
    first, times = [whole for _, whole in pairs], [whole / floor for floor, whole in pairs]
    limits = FIRST_REQUEST_LIMIT, FIRST_REQUEST_TIMES_LIMIT
    return [*found, Start("run, to its first request", first, times, *limits)]


def spread(values: list[float], digits: int) -> str:
    """Median and range."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f}-{most:.{digits}f})"


def main() -> int:
    """Measure, print, judge; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--check", action="store_true", help="exit with 1 beyond a limit")
    options = parser.parse_args()
    found = measure(options.rounds)
    print("| command | seconds | at most | times the floor | at most |")
    print("|---|--:|--:|--:|--:|")
    for start in found:
        took, times = spread(start.seconds, 2), spread(start.times, 1)
        print(f"| `{start.name}` | {took} | {start.limit:g} | {times} | {start.times_limit:g} |")
    return int(options.check and not all(start.holds for start in found))


if __name__ == "__main__":
    sys.exit(main())
