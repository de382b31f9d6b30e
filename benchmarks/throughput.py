"""What the client costs: a whole run against bare loops, in interleaved rounds.

    python benchmarks/throughput.py [--rounds N] [--requests N] [--check]

Three drivers put the same questions to a null server (`null_server.py`, a process of its own):

- aiohttp: a bare loop over raw aiohttp, bodies encoded before the clock starts,
- openai: a bare loop over `openai.AsyncOpenAI`, bodies encoded before the clock starts,
- run: `flagos_eval.run.execute`, with the images read from their files, the journal, scoring, and
  the run file. Its clock starts when the server has been looked at and probed. Its rate and CPU
  time are those of the request phase; the CPU time of scoring and saving is counted apart.

The questions are MathVision's testmini with its images, as often as it takes, from
$FLAGOS_EVAL_TEST_DATA (default ../shared/data); the drawn Shapes where that is absent. Every round
of a driver is a process of its own, and its CPU time is that process's. Prints Markdown tables of
medians with their ranges; ratios are of one round. ``--check`` exits with 1 if a ratio is
worse than its limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagos_eval.records import Run

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FLAGOS_EVAL_TEST_DATA", ROOT.parent / "shared" / "data"))
WARM_UP = 20
"""Requests before the clock starts: as many as a run's probes."""
SETTINGS = ((0, 32), (200, 128))
"""(milliseconds of an answer, requests in flight)."""
WITH_TAIL = "CPU with scoring and saving"


@dataclass(frozen=True)
class Measured:
    """One driver's round."""

    requests: int
    seconds: float
    """From the first request to the last answer."""
    cpu: float
    """Seconds of this process in that time."""
    tail_cpu: float = 0.0
    """Seconds of this process from the last answer to the saved run."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of CPU a request, in the request phase."""
        return 1000 * self.cpu / self.requests

    @property
    def tail_ms(self) -> float:
        """Milliseconds of CPU a request, for scoring and saving."""
        return 1000 * self.tail_cpu / self.requests


@dataclass(frozen=True)
class Limit:
    """A ratio of `run` to a floor that must hold."""

    over: str
    what: str
    delay: int
    least: float | None = None
    most: float | None = None

    def holds(self, ratio: float) -> bool:
        """Whether a ratio is within the limit."""
        return (self.least is None or ratio >= self.least) and (
            self.most is None or ratio <= self.most
        )

    @property
    def text(self) -> str:
        """For the table."""
        return f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"


LIMITS = (
    Limit("aiohttp", "requests/s", 200, least=0.95),
    Limit("openai", "requests/s", 0, least=2.0),
    Limit("openai", "CPU", 0, most=0.5),
    Limit("openai", "CPU", 200, most=0.5),
    Limit("openai", WITH_TAIL, 0, most=0.65),
    Limit("openai", WITH_TAIL, 200, most=0.65),
)


# --- Drivers: each runs in a process of its own ---------------------------------------------------


def config_of(url: str, in_flight: int, wanted: int) -> dict[str, Any]:
    """The settings of a run with at least so many requests."""
    common = {"base_url": (url,), "model": "null", "concurrency": in_flight}
    if (DATA / "mathvision" / "images").is_dir():
        source: dict[str, Any] = {
            "tasks": ("mathvision",),
            "split": ("mathvision=testmini",),
            "data_dir": str(DATA),
        }
        n = 304
    else:
        source, n = {"tasks": ("shapes",)}, 400
    return {**common, **source, "repeat": -(-wanted // n)}


def _bodies(url: str, in_flight: int, wanted: int) -> list[dict[str, Any]]:
    from flagos_eval import config, plan, prompt

    made = plan.make(config.combine({"flag": config_of(url, in_flight, wanted)}).config)
    return [prompt.body(request, "null", made.read_image) for request in made.requests()]


async def _measure(
    bodies: Sequence[Any], in_flight: int, ask: Callable[[Any], Awaitable[str]]
) -> Measured:
    for body in bodies[:WARM_UP]:
        await ask(body)
    queue, answered = iter(bodies), 0

    async def work() -> None:
        nonlocal answered
        for body in queue:
            text = await ask(body)
            answered += bool(text)

    start, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    if answered != len(bodies):
        raise RuntimeError(f"{answered} of {len(bodies)} answered")
    return Measured(len(bodies), seconds, cpu)


async def drive_aiohttp(url: str, in_flight: int, wanted: int) -> Measured:
    """The floor below every client in Python."""
    import aiohttp

    bodies = [json.dumps(body).encode() for body in _bodies(url, in_flight, wanted)]
    headers = {"Content-Type": "application/json", "Authorization": "Bearer EMPTY"}
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def ask(body: bytes) -> str:
            async with session.post(f"{url}/chat/completions", data=body) as reply:
                text: str = json.loads(await reply.read())["choices"][0]["message"]["content"]
                return text

        return await _measure(bodies, in_flight, ask)


async def drive_openai(url: str, in_flight: int, wanted: int) -> Measured:
    """What most harnesses are built on."""
    import openai

    # What the OpenAI API does not have goes through its client's extra_body.
    extra = ("top_k", "min_p", "repetition_penalty")
    bodies = _bodies(url, in_flight, wanted)
    for body in bodies:
        body["extra_body"] = {name: body.pop(name) for name in extra}
    async with openai.AsyncOpenAI(base_url=url, api_key="EMPTY", max_retries=0) as api:

        async def ask(body: dict[str, Any]) -> str:
            completion = await api.chat.completions.create(**body)
            return str(completion.choices[0].message.content)

        return await _measure(bodies, in_flight, ask)


def whole_run(settings: dict[str, Any]) -> tuple[Measured, Run]:
    """The whole pipeline, from the plan to the saved run."""
    from flagos_eval import config, plan, run
    from flagos_eval.job import Job
    from flagos_eval.progress import Answered, Event, Note, PlainLines

    begun: list[tuple[float, float]] = []
    last, cpu_last = 0.0, 0.0
    lines = PlainLines(lambda text: None)

    def listen(event: Event) -> None:
        nonlocal last, cpu_last
        lines(event)
        if isinstance(event, Note) and " serves " in event.text:
            begun.append((time.perf_counter(), time.process_time()))
        elif isinstance(event, Answered):
            last, cpu_last = time.perf_counter(), time.process_time()

    listener: Any = listen
    configured = config.combine({"flag": settings})
    with tempfile.TemporaryDirectory() as folder:
        asked = plan.make(configured.config)
        made = run.execute(Job(configured, asked, Path(folder) / "run.json", ()), listener)
    tail_cpu = time.process_time() - cpu_last
    answered = sum(response.text is not None for response in made.responses)
    if answered != asked.total or len(made.scores) != asked.total:
        raise RuntimeError(f"{answered} of {asked.total} answered, {len(made.scores)} scored")
    (started, cpu_started) = begun[0]
    return Measured(answered, last - started, cpu_last - cpu_started, tail_cpu), made


def drive_run(url: str, in_flight: int, wanted: int) -> Measured:
    """What is measured: the whole of it."""
    return whole_run(config_of(url, in_flight, wanted))[0]


def drive(driver: str, url: str, in_flight: int, wanted: int) -> Measured:
    """One round of one driver, in this process."""
    if driver == "run":
        return drive_run(url, in_flight, wanted)
    bare = {"aiohttp": drive_aiohttp, "openai": drive_openai}[driver]
    return asyncio.run(bare(url, in_flight, wanted))


# --- Rounds ---------------------------------------------------------------------------------------

DRIVERS = ("aiohttp", "openai", "run")


@contextmanager
def null_server(delay: int, *options: str) -> Iterator[str]:
    """The address of a null server in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("null_server.py"))]
    command += [f"--delay-ms={delay}", *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None and server.stdin is not None
        yield server.stdout.readline().strip()
        server.stdin.close()


def measure(driver: str, delay: int, in_flight: int, wanted: int) -> Measured:
    """One round of one driver, in a process of its own against a server of its own."""
    with null_server(delay) as url:
        command = [sys.executable, __file__, "--driver", driver, "--url", url]
        command += ["--in-flight", str(in_flight), "--requests", str(wanted)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{driver} failed:\n{done.stderr}")
    return Measured(**json.loads(done.stdout))


Rounds = dict[str, list[Measured]]


def measure_all(rounds: int, wanted: int) -> dict[tuple[int, int], Rounds]:
    """Every driver at every setting, in turn, round after round."""
    found: dict[tuple[int, int], Rounds] = {
        setting: {driver: [] for driver in DRIVERS} for setting in SETTINGS
    }
    for _ in range(rounds):
        for setting, drivers in found.items():
            for driver, measured in drivers.items():
                measured.append(measure(driver, *setting, wanted))
    return found


def ratios(limit: Limit, rounds: Rounds) -> list[float]:
    """Of `run` to the floor, round by round."""
    pairs = zip(rounds["run"], rounds[limit.over], strict=True)
    if limit.what == "CPU":
        return [own.cpu_ms / other.cpu_ms for own, other in pairs]
    if limit.what == WITH_TAIL:
        return [(own.cpu_ms + own.tail_ms) / other.cpu_ms for own, other in pairs]
    return [own.rate / other.rate for own, other in pairs]


def spread(values: Sequence[float], digits: int) -> str:
    """Median and range."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f}-{most:.{digits}f})"


def report(found: dict[tuple[int, int], Rounds]) -> int:
    """Print the tables; how many ratios are beyond their limits."""
    print("| answer, in flight | driver | requests/s | CPU ms/request | scoring, saving |")
    print("|---|---|--:|--:|--:|")
    for (delay, in_flight), drivers in found.items():
        for driver, rounds in drivers.items():
            rate = spread([r.rate for r in rounds], 0)
            cpu = spread([r.cpu_ms for r in rounds], 2)
            tail = spread([r.tail_ms for r in rounds], 2) if driver == "run" else "-"
            print(f"| {delay} ms, {in_flight} | {driver} | {rate} | {cpu} | {tail} |")
    print("\n| ratio of run | at | median (range) | limit | |\n|---|---|--:|---|---|")
    failed = 0
    for limit in LIMITS:
        setting = next(setting for setting in SETTINGS if setting[0] == limit.delay)
        values = ratios(limit, found[setting])
        holds = limit.holds(statistics.median(values))
        failed += not holds
        at = f"{setting[0]} ms, {setting[1]}"
        verdict = "holds" if holds else "FAILS"
        print(
            f"| {limit.what} over {limit.over} | {at} | {spread(values, 2)} | {limit.text} "
            f"| {verdict} |"
        )
    return failed


def main() -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=4000, help="at least, a round")
    parser.add_argument("--check", action="store_true", help="exit with 1 beyond a limit")
    parser.add_argument("--driver", choices=DRIVERS, help="one round in this process, as JSON")
    parser.add_argument("--url")
    parser.add_argument("--in-flight", type=int, default=32)
    options = parser.parse_args()
    if options.driver:
        found = drive(options.driver, options.url, options.in_flight, options.requests)
        print(json.dumps(asdict(found)))
        return 0
    failed = report(measure_all(options.rounds, options.requests))
    return int(options.check and failed > 0)


if __name__ == "__main__":
    sys.exit(main())
