"""How long a command takes to answer, over ``python -c pass``, in interleaved runs.

    python benchmarks/startup.py [ROUNDS]

Prints a Markdown table; exits with 1 if the median of one is over the limit of 0.5 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "results" / "example"
LIMIT = 0.5
FLOOR = ("-c", "pass")
COMMANDS = {
    "--help": ("-m", "flagos_eval", "--help"),
    "ls": ("-m", "flagos_eval", "ls"),
    "show": ("-m", "flagos_eval", "show", str(EXAMPLE / "reference.json")),
    "compare": (
        *("-m", "flagos_eval", "compare"),
        *(str(EXAMPLE / "reference.json"), str(EXAMPLE / "candidate.json")),
    ),
}


def seconds(arguments: tuple[str, ...]) -> float:
    """Wall time of one process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=False)
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
    return int(any(statistics.median(found) > LIMIT for found in over.values()))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9))
