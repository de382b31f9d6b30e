"""What grows with the number of items: memory, the journal's cost, and the time to resume.

    python benchmarks/scale.py [--items N] [--check]

A run over N items with an image file each (`many.py`), against a null server, in a process of its
own, whose most resident memory is read after each step. Then the journal alone: seconds to append N
answers, as a share of the time in which they come at 500 a second, and seconds to open it again.
Prints a Markdown table. ``--check`` exits with 1 beyond a limit; the limits are for 100,000 items.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flagos_eval import config, journal, plan, run
from flagos_eval.clock import utc_now
from flagos_eval.job import Job
from flagos_eval.progress import Event, Note, Silent
from flagos_eval.records import Attempt, Response, Usage

if TYPE_CHECKING:
    from benchmarks import many
    from benchmarks.throughput import null_server
else:  # as a script, beside them
    import many
    from throughput import null_server

LIMITS = {
    "memory, saved (MB)": 700.0,
    "journal, share at 500 requests/s (%)": 2.0,
    "journal, opened again (s)": 3.0,
    "journal, opened again (times reading JSON)": 3.0,
}
_RATE = 500
"""Requests a second that the journal's cost is set against."""


def _resident() -> float:
    """Megabytes that this process had resident at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _Watch(Silent):
    """Notes the memory when scoring begins, which is when everything is answered."""

    answered = 0.0

    def __call__(self, event: Event) -> None:
        """Hear an event."""
        if isinstance(event, Note) and event.topic == "score":
            self.answered = _resident()


def remember(folder: Path, url: str) -> dict[str, float]:
    """Memory after each step of a run over the items in a folder."""
    settings: dict[str, Any] = {
        "tasks": (str(Path(many.__file__)),),
        "data_dir": str(folder),
        "base_url": (url,),
        "model": "null",
    }
    configured = config.combine({"flag": settings})
    found = {"memory, program (MB)": _resident()}
    made, watch = plan.make(configured.config), _Watch()
    found["memory, planned (MB)"] = _resident()
    start = time.perf_counter()
    run.execute(Job(configured, made, folder / "run.json", ()), watch)
    found["memory, answered (MB)"] = watch.answered
    found["memory, saved (MB)"] = _resident()
    found["requests/s, scoring and saving included"] = made.total / (time.perf_counter() - start)
    return found


def write_journal(path: Path, n: int) -> dict[str, float]:
    """Append `n` answers, then open the file again."""
    now = utc_now()
    answers = [
        Response(
            task="many",
            sample_id=str(index),
            request_hash=f"{index:064x}",
            text="Let us look at the figure. " * 12,
            finish_reason="stop",
            usage=Usage(prompt_tokens=400, completion_tokens=80),
            server_id=f"chatcmpl-{index:032x}",
            server_time=1_700_000_000,
            server_model="null",
            endpoint="http://127.0.0.1:8000/v1",
            epoch=0,
            order=index,
            in_flight=128,
            attempts=(Attempt(started_at=now, latency=0.2),),
            latency=0.2,
        )
        for index in range(n)
    ]
    with journal.open_journal(path, {}, run_id="r", started_at=now) as opened:
        start = time.process_time()
        for answer in answers:
            opened.response(answer)
        appended = time.process_time() - start
    start = time.perf_counter()
    with journal.open_journal(path, {}, run_id="r", started_at=now) as opened:
        again = time.perf_counter() - start
        if len(opened.kept.responses) != n:
            raise RuntimeError(f"{len(opened.kept.responses)} of {n} answers are there")
    start = time.perf_counter()
    with path.open("rb") as lines:
        read = [json.loads(line.partition(b" ")[2]) for line in lines]
    floor = time.perf_counter() - start
    if len(read) <= n:
        raise RuntimeError(f"{len(read)} lines in a journal of {n} answers")
    return {
        "journal, appending one answer (µs)": 1e6 * appended / n,
        "journal, share at 500 requests/s (%)": 100 * appended / (n / _RATE),
        "journal, opened again (s)": again,
        "journal, opened again (times reading JSON)": again / floor,
    }


def measure(n: int) -> dict[str, float]:
    """Everything, each in a process of its own."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, null_server(0) as url:
        many.make(Path(name), n)
        for step in (["--folder", name, "--url", url], ["--journal", f"{name}/only.journal"]):
            command = [sys.executable, __file__, "--items", str(n), *step]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found |= json.loads(done.stdout)
    return found


def main() -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--check", action="store_true", help="exit with 1 beyond a limit")
    parser.add_argument("--folder", type=Path, help="one run in this process, as JSON")
    parser.add_argument("--journal", type=Path, help="the journal in this process, as JSON")
    parser.add_argument("--url")
    options = parser.parse_args()
    if options.folder or options.journal:
        one = remember(options.folder, options.url) if options.folder else {}
        print(json.dumps(one or write_journal(options.journal, options.items)))
        return 0
    found = measure(options.items)
    print(f"| {options.items} items | measured | limit |\n|---|--:|--:|")
    for name, value in found.items():
        limit = f"{LIMITS[name]:g}" if name in LIMITS else "-"
        print(f"| {name} | {value:.1f} | {limit} |")
    over = [name for name, limit in LIMITS.items() if found[name] > limit]
    return int(options.check and bool(over))


if __name__ == "__main__":
    sys.exit(main())
