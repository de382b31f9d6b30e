"""How long a command takes to answer, over ``python -c pass``, in interleaved runs; and how long
``run`` takes from its start to the first request that a server gets.

    python benchmarks/startup.py [ROUNDS]

Prints a Markdown table; exits with 1 if the median of one is over its limit. ``run`` is given
MathVision's testmini from $FLAGOS_EVAL_TEST_DATA (default ../shared/data), or Shapes without it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.throughput import null_server
else:  # as a script, beside it
    from throughput import null_server

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "results" / "example"
LIMIT = 0.5
FLOOR = ("-c", "pass")
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
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


def main(rounds: int) -> int:
    """Measure, print, judge; the exit status."""
    over: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for name, arguments in COMMANDS.items():
        seconds(arguments)  # once to fill the caches
        for _ in range(rounds):
            floor = seconds(FLOOR)
            over[name].append(seconds(arguments) - floor)
    print("| command | median s over `python -c pass` | most | rounds |\n|---|--:|--:|--:|")
    for name, found in over.items():
        print(f"| `{name}` | {statistics.median(found):.2f} | {max(found):.2f} | {rounds} |")
    first = [first_request() for _ in range(rounds)]
    median = statistics.median(first)
    print(f"| `run`, to its first request (in all) | {median:.2f} | {max(first):.2f} | {rounds} |")
    slow = any(statistics.median(found) > LIMIT for found in over.values())
    return int(slow or median > FIRST_REQUEST_LIMIT)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9))
