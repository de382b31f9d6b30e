"""Requests a second of flagos-eval against vLLM's own benchmark, on one real server.

    python -m benchmarks.against_vllm --vllm-python PYTHON --start [--model WEIGHTS] [--set F=V]
    python -m benchmarks.against_vllm --vllm-python PYTHON --base-url http://127.0.0.1:8000/v1

Two drivers put the same requests to the same server, in turn, each round a process of its own:

- vllm bench serve: the client that vLLM measures itself with (`vllm_bench.py` says what differs),
- flagos-eval: `flagos_eval.run.execute`, with pictures, journal, scoring and the run file.

Both are timed from the first request to the last answer, flagos-eval after its probes. The work
must be the same: in every round the server must have counted as many requests and tokens of both
kinds for one driver as for the other, or the benchmark ends with 1. Every second round begins with
the other driver, and a round of the same requests comes before all and is not counted: a server
compiles and tunes at its first requests. ``--start`` starts the server without a prefix cache, as
flagos-eval does, and without the cache of processed pictures, so that a request is never cheaper
for having been asked before.

``--bare`` adds two loops over raw aiohttp, with bodies that were encoded before, one of them
streamed: what streaming costs on this server. Prints Markdown; ``--check`` exits with 1 if the
median ratio of flagos-eval to vllm bench serve is below 0.98.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import psutil

from benchmarks import vllm_bench
from benchmarks.drivers import (
    BARE,
    OWN,
    STREAMED,
    VLLM,
    Round,
    Target,
    counted,
    difference,
    drive,
)
from benchmarks.throughput import ROOT, Measured, spread
from flagos_eval import catalog, config, serving
from flagos_eval.records import Counts
from flagos_eval.server import Server

GOAL = 0.98
TEXT_FIRST = str(Path(__file__).parent / "tasks" / "shapes_text_first.py")
DEMO_MODEL = ROOT / "flagos_eval" / "demo" / "model"


# --- The server -----------------------------------------------------------------------------------


def server_cpu(pid: int | None) -> float | None:
    """Seconds of CPU time of a server and what it started."""
    if pid is None:
        return None
    server = psutil.Process(pid)
    return vllm_bench.cpu_seconds([server, *server.children(recursive=True)])


@contextmanager
def started(options: argparse.Namespace) -> Iterator[tuple[str, int | None]]:
    """(base URL, process) of a vLLM that ends with the block."""
    launcher = catalog.load_module("launchers", "vllm", "launcher").LAUNCHER
    settings = {
        "launcher": "vllm",
        "model": options.model,
        "server_python": options.vllm_python,
        "eager": options.eager,
        "set": ("mm-processor-cache-gb=0", *options.set),
        "env": tuple(options.env),
    }
    made = config.combine({"flag": settings}).config
    with tempfile.TemporaryDirectory() as folder:
        request = serving.launch_request(made, Path(folder) / "server.json", _tell)
        request, _ = serving.with_weights(launcher, request)
        with launcher.start(request) as handle:
            yield handle.urls[0], handle.pid


def at_hand(options: argparse.Namespace) -> AbstractContextManager[tuple[str, int | None]]:
    """(base URL, process) of the server that was named, or of one for the measurement."""
    if options.start:
        return started(options)
    return nullcontext((options.base_url.rstrip("/"), options.server_pid))


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def target_at(url: str, in_flight: int, options: argparse.Namespace) -> Target:
    """What a server is asked: Shapes, or what its version of the other driver can send."""
    identity = Server(url).identity()
    model = identity.model(options.served_name, url)
    parts = options.form == "as-sent"
    if options.form == "auto":
        parts = vllm_bench.able(options.vllm_python).parts
    return Target(
        url=url,
        model=model.id,
        tokenizer=options.tokenizer or model.root or model.id,
        version=identity.version or "unknown",
        task="shapes" if parts else TEXT_FIRST,
        repeat=options.repeat,
        in_flight=in_flight,
    )


# --- Rounds ---------------------------------------------------------------------------------------

Rounds = Mapping[str, Sequence[Round]]


def measure(driver: str, target: Target, python: str, pid: int | None) -> Round:
    """One round of one driver, in a process of its own."""
    before, busy = counted(target.url), server_cpu(pid)
    command = [sys.executable, "-m", "benchmarks.against_vllm", "--vllm-python", python]
    command += ["--driver", driver, "--target", json.dumps(asdict(target))]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{driver} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    found = json.loads(done.stdout)
    after, answered = server_cpu(pid), difference(before, counted(target.url)).requests
    per_request = 1000 * (after - busy) / answered if after and busy and answered else None
    return Round(Measured(**found["measured"]), Counts(**found["counts"]), per_request)


def measure_all(
    drivers: Sequence[str], rounds: int, one: Callable[[str], Round]
) -> dict[str, list[Round]]:
    """Every driver in turn, every second round the other way about."""
    found: dict[str, list[Round]] = {driver: [] for driver in drivers}
    for nth in range(rounds):
        for driver in drivers if nth % 2 == 0 else reversed(drivers):
            found[driver].append(one(driver))
            _tell(f"round {nth + 1}: {driver}: {found[driver][-1].measured.rate:.1f} requests/s")
    return found


def unequal(found: Rounds) -> list[str]:
    """Rounds in which the server did not do the same work for all drivers."""
    problems = []
    for nth, rounds in enumerate(zip(*found.values(), strict=True)):
        work = {driver: each.counts for driver, each in zip(found, rounds, strict=True)}
        if len(set(work.values())) > 1:
            said = "; ".join(f"{driver}: {_counts(counts)}" for driver, counts in work.items())
            problems.append(f"round {nth + 1}: {said}")
    return problems


def _counts(counts: Counts) -> str:
    return (
        f"{counts.requests} requests, {counts.prompt_tokens} prompt tokens, "
        f"{counts.completion_tokens} tokens of answers"
    )


def ratios(found: Rounds, driver: str, over: str) -> list[float]:
    """Of requests a second, round by round."""
    pairs = zip(found[driver], found[over], strict=True)
    return [own.measured.rate / other.measured.rate for own, other in pairs]


def tables(found: Rounds) -> str:
    """Medians with their ranges, and the ratios."""
    lines = [
        "| driver | requests/s | client's CPU ms/request | server's CPU ms/request |",
        "|---|--:|--:|--:|",
    ]
    for driver, rounds in found.items():
        rate = spread([each.measured.rate for each in rounds], 1)
        cpu = spread([each.measured.cpu_ms for each in rounds], 2)
        busy = [each.server_ms for each in rounds if each.server_ms is not None]
        lines.append(f"| {driver} | {rate} | {cpu} | {spread(busy, 1) if busy else '-'} |")
    lines += ["", "| ratio of requests/s | median (range) | rounds |", "|---|--:|---|"]
    pairs = [(OWN, VLLM), (OWN, BARE), (BARE, STREAMED)]
    for driver, over in (pair for pair in pairs if set(pair) <= found.keys()):
        values = ratios(found, driver, over)
        each = " ".join(f"{value:.3f}" for value in values)
        lines.append(f"| {driver} over {over} | {spread(values, 3)} | {each} |")
    return "\n".join(lines)


def compare(url: str, pid: int | None, in_flight: int, options: argparse.Namespace) -> int:
    """Measure at a server and print; the exit status."""
    target = target_at(url, in_flight, options)
    measure(OWN, target, options.vllm_python, pid)
    if options.seconds:
        # The first round is slow: it is not what shows how much fits into the time.
        warm = measure(OWN, target, options.vllm_python, pid).measured
        wanted = options.seconds * warm.rate * target.repeat / warm.requests
        target = replace(target, repeat=max(1, round(wanted)))
    drivers = [OWN, VLLM, *((BARE, STREAMED) if options.bare else ())]

    def one(driver: str) -> Round:
        return measure(driver, target, options.vllm_python, pid)

    found = measure_all(drivers, options.rounds, one)
    print(
        f"vLLM {target.version}, {Path(target.task).stem} asked {target.repeat} times, "
        f"{in_flight} in flight, {options.rounds} rounds of {_counts(found[OWN][0].counts)}\n"
    )
    print(tables(found))
    problems = unequal(found)
    for problem in problems:
        print(f"NOT THE SAME WORK: {problem}")
    below = statistics.median(ratios(found, OWN, VLLM)) < GOAL
    print(
        f"\n{OWN} over {VLLM}: {'BELOW' if below else 'at least'} {GOAL} in the median\n",
        flush=True,
    )
    return int(bool(problems) or (options.check and below))


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vllm-python", required=True, help="an interpreter that has vLLM")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--start", action="store_true", help="start a server for the measurement")
    where.add_argument("--base-url", help="a server of this machine that runs")
    parser.add_argument("--model", default=str(DEMO_MODEL), help="of --start: a folder of weights")
    parser.add_argument("--set", action="append", default=[], help="of --start: FLAG=VALUE of vLLM")
    parser.add_argument("--env", action="append", default=[], help="of --start: NAME=VALUE")
    parser.add_argument("--no-eager", dest="eager", action="store_false", help="of --start")
    parser.add_argument("--server-pid", type=int, help="of --base-url, for the server's CPU time")
    parser.add_argument("--served-name", help="of --base-url, where it serves several models")
    parser.add_argument("--tokenizer", help="a folder, where the server's model is none here")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[32], metavar="N")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--repeat", type=int, default=1, help="times that each question is asked")
    parser.add_argument("--seconds", type=float, help="of a round: asks that often instead")
    parser.add_argument(
        "--form",
        choices=("auto", "as-sent", "text-first"),
        default="auto",
        help="as-sent: Shapes as it is; text-first: with one picture, last, which every vllm bench "
        "serve can send",
    )
    parser.add_argument("--bare", action="store_true", help="two bare loops, too")
    parser.add_argument("--check", action="store_true", help=f"exit with 1 below {GOAL}")
    parser.add_argument("--driver", help=argparse.SUPPRESS)
    parser.add_argument("--target", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (options.driver or options.start or options.base_url):
        parser.error("--start or --base-url")
    return options


def main() -> int:
    """Measure and print; the exit status."""
    options = parsed()
    if options.driver:
        found = drive(options.driver, Target(**json.loads(options.target)), options.vllm_python)
        measured, counts = asdict(found.measured), found.counts.model_dump()
        print(json.dumps({"measured": measured, "counts": counts}))
        return 0
    with at_hand(options) as (url, pid):
        return max([compare(url, pid, each, options) for each in options.in_flight])


if __name__ == "__main__":
    sys.exit(main())
