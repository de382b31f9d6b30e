"""One round of one driver at a real server: what it asks, how fast, and what the server counts."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import vllm_bench
from benchmarks.throughput import Measured, whole_run
from flagos_eval import config, plan, prompt
from flagos_eval.records import Counts
from flagos_eval.server import Server

OWN, VLLM, BARE, STREAMED = "flagos-eval", "vllm bench serve", "aiohttp", "aiohttp, streamed"


@dataclass(frozen=True)
class Target:
    """A server and what it is asked."""

    url: str
    model: str
    tokenizer: str
    version: str
    task: str
    repeat: int
    in_flight: int

    @property
    def settings(self) -> dict[str, Any]:
        """Of a run."""
        return {
            "base_url": (self.url,),
            "model": self.model,
            "tasks": (self.task,),
            "repeat": self.repeat,
            "concurrency": self.in_flight,
        }

    def bodies(self) -> list[dict[str, Any]]:
        """The requests of that run, in its order."""
        made = plan.make(config.combine({"flag": self.settings}).config)
        return [prompt.body(each, self.model, made.read_image) for each in made.requests()]


@dataclass(frozen=True)
class Round:
    """One driver's round, and the work that the server counted for it."""

    measured: Measured
    counts: Counts
    server_ms: float | None = None
    """Milliseconds of the server's CPU time for each request it answered, the probes included."""


# --- Drivers --------------------------------------------------------------------------------------


def ask_with_flagos_eval(target: Target) -> tuple[Measured, Counts]:
    """A run, in this process; the counters are those in its file."""
    measured, made = whole_run(target.settings)
    ((counted,),) = (part.counters for part in made.parts)
    assert counted.begin is not None and counted.end is not None
    return measured, difference(counted.begin.counts, counted.end.counts)


def ask_with_vllm(target: Target, python: str) -> tuple[Measured, Counts]:
    """vLLM's own benchmark.

    Raises:
        RuntimeError: not every request was answered.
    """
    bodies, before = target.bodies(), counted(target.url)
    with tempfile.TemporaryDirectory() as folder:
        found = vllm_bench.run(
            python,
            target.url,
            target.model,
            target.tokenizer,
            bodies,
            target.in_flight,
            Path(folder),
        )
    if found.completed != len(bodies) or found.failed:
        raise RuntimeError(f"vllm bench serve: {found.completed} of {len(bodies)} answered")
    measured = Measured(found.completed, found.seconds, found.cpu)
    return measured, difference(before, counted(target.url))


async def ask_bare(target: Target, *, streamed: bool) -> tuple[Measured, Counts]:
    """A loop that sends bytes and reads bytes.

    Raises:
        RuntimeError: a request was not answered, or not to its end.
    """
    import aiohttp

    more = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
    bodies = [json.dumps({**body, **more}).encode() for body in target.bodies()]
    last = b"data: [DONE]" if streamed else b"}"
    queue, before = iter(bodies), counted(target.url)
    headers = {"Content-Type": "application/json"}

    async def work(session: aiohttp.ClientSession) -> None:
        for body in queue:
            async with session.post(f"{target.url}/chat/completions", data=body) as reply:
                text = await reply.read()
                if reply.status != 200 or not text.rstrip().endswith(last):
                    raise RuntimeError(f"HTTP {reply.status}: {text[-200:]!r}")

    connector = aiohttp.TCPConnector(limit=target.in_flight)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        start, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(work(session) for _ in range(target.in_flight)))
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return Measured(len(bodies), seconds, cpu), difference(before, counted(target.url))


def drive(driver: str, target: Target, python: str) -> Round:
    """One round of one driver, in this process."""
    if driver == OWN:
        return Round(*ask_with_flagos_eval(target))
    if driver == VLLM:
        return Round(*ask_with_vllm(target, python))
    return Round(*asyncio.run(ask_bare(target, streamed=driver == STREAMED)))


# --- What the server counts -----------------------------------------------------------------------


def counted(url: str) -> Counts:
    """What the server has counted since its start.

    Raises:
        SystemExit: it does not say, so nothing would show that the work is the same.
    """
    reading = Server(url).reading()
    if reading is None or None in reading.counts.model_dump().values():
        raise SystemExit(f"{url} has no counters of requests and tokens (/metrics)")
    return reading.counts


def difference(begin: Counts, end: Counts) -> Counts:
    """What came in between."""
    before, after = begin.model_dump(), end.model_dump()
    return Counts(**{name: after[name] - before[name] for name in before})
