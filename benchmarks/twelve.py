"""How long `run` takes to its first request with one task and with twelve, and whether the server
ever had less to do than it could while the others were loaded.

    python benchmarks/twelve.py [--kilobytes N | --data FOLDER] [--rounds N] [--limit N]
        [--delay-ms N] [--check]

The benchmarks of the release table are written at their full size with invented pictures of N
kilobytes each, or FOLDER has them as ``flagos-eval fetch`` writes them. All their items are loaded,
and --limit of each are asked (all with 0). Datasets are in the cache before the first round. The
server counts how many requests it has. --check exits with 1 if a median is over its limit, or if
fewer than half of those that may be in flight ever were.
"""

from __future__ import annotations

import argparse
import importlib
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

from tabulate import tabulate

from flagos_eval import policy

if TYPE_CHECKING:
    from benchmarks.throughput import null_server
else:  # as a script, beside it
    from throughput import null_server

ROOT = Path(__file__).resolve().parent.parent
FIRST_REQUEST_LIMIT = 2.5
"""Seconds."""
CONCURRENCY = 32
_DRY = "nothing to ask until"


@dataclass(frozen=True)
class Measured:
    """One run."""

    first: float
    """Seconds from the start of the command to the first request at the server."""
    stats: dict[str, Any]
    """What the server counted."""
    starved: int
    """How often the run said that it had nothing to ask."""


def measure(
    tasks: list[str], data: Path, environment: dict[str, str], limit: int, delay: int
) -> Measured:
    """One run in a process of its own, against a server of its own."""
    with null_server(delay, "--uneven") as url, tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "flagos_eval", "run", "-t", ",".join(tasks), "--plain"]
        command += ["--data-dir", str(data), "--base-url", url, "-o", f"{folder}/run.json"]
        command += ["--concurrency", str(CONCURRENCY)]
        start = time.time()
        done = subprocess.run(
            [*command, "-L", str(limit)] if limit else command,
            check=False,
            capture_output=True,
            text=True,
            env=environment,
        )
        if done.returncode:
            raise SystemExit(f"run failed:\n{done.stderr}")
        with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as answer:
            stats = json.load(answer)
    return Measured(stats["first_request"] - start, stats, done.stderr.count(_DRY))


def main() -> int:
    """Measure, print, judge; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--kilobytes", type=int, default=0, help="of a picture; 0: the smallest")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--delay-ms", type=int, default=200)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    names = list(policy.load("default").policy.tasks)
    with tempfile.TemporaryDirectory() as folder:
        data = given.data or Path(folder) / "data"
        if given.data is None:
            sys.path.insert(0, str(ROOT / "tests"))
            importlib.import_module("whole_benchmarks").write_all(data, given.kilobytes)
        environment = {"HF_HOME": f"{folder}/cache", **os.environ, "HF_HUB_OFFLINE": "1"}
        environment["PYTHONPATH"] = str(ROOT)
        measure(names, data, environment, 1, 0)  # fills the cache
        found = {
            n: [
                measure(names[:n], data, environment, given.limit, given.delay_ms)
                for _ in range(given.rounds)
            ]
            for n in (1, len(names))
        }
    return report(found, check=given.check)


def report(found: dict[int, list[Measured]], *, check: bool) -> int:
    """A Markdown table; the exit status."""
    rows, bad = [], False
    for n, rounds in found.items():
        first = [one.first for one in rounds]
        low = min(one.stats["lowest_in_flight"] for one in rounds)
        starved = sum(one.starved for one in rounds)
        rows.append(
            [
                n,
                rounds[0].stats["requests"],
                f"{statistics.median(first):.2f} ({min(first):.2f}-{max(first):.2f})",
                max(one.stats["most_in_flight"] for one in rounds),
                low,
                sum(one.stats["requests_below_half"] for one in rounds),
                starved,
            ]
        )
        bad |= (
            statistics.median(first) > FIRST_REQUEST_LIMIT or 2 * low < CONCURRENCY or starved > 0
        )
    headers = ["tasks", "requests", "s to the first", "most in flight"]
    headers += ["fewest in flight", "requests when below half", "times dry"]
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))
    return int(check and bad)


if __name__ == "__main__":
    sys.exit(main())
