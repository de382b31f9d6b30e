"""Requests a second over 1, 2 and 4 servers, and what happens when one of four dies midway.

    python benchmarks/scaling.py [--seconds S] [--rounds R] [--slots N] [--ms T]

Each server is a process that answers N requests at a time, each after T milliseconds, and keeps
further ones waiting, as an engine with N sequences does. What an ideal client gets out of it is
known: N / T a second for each. The questions are a run's own, asked through `run.execute`; answers
come from nowhere, so that the curve is the client's and not a model's. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path

from flagos_eval import __version__, config, plan
from flagos_eval.job import Job
from flagos_eval.progress import Answered, Event, Silent
from flagos_eval.records import Run
from flagos_eval.run import execute

TASK = '''
"""Questions of a few words, as many as are asked for."""

from flagos_eval.records import Sample, TextPart
from flagos_eval.task import GeneratedDataset, Judgement, Prompt, Scorer, Task


def rows(split):
    for index in range({n}):
        yield {{"id": f"{{index:06}}", "text": f"Question {{index}}: A or B?"}}


def to_sample(row):
    parts = (TextPart(text=row["text"]),)
    return Sample.create(task="many", id=row["id"], input=parts, target="A")


TASK = Task(
    name="many",
    version=1,
    title="Many questions",
    dataset=GeneratedDataset(id="benchmark/many", n={{"test": {n}}}, rows=rows),
    to_sample=to_sample,
    prompts=(Prompt("plain", 1, lambda sample: sample.input, "here"),),
    scorers=(Scorer("official", 1, lambda s, text: Judgement("A", 1.0), "here"),),
    max_tokens=16,
)
'''
MODEL = "slots"


# --- The server -----------------------------------------------------------------------------------


def reply(path: str, started: float) -> tuple[str, bytes]:
    """(content type, body) of what is asked besides answers, and of an answer."""
    if path.endswith("/models"):
        card = {"id": MODEL, "object": "model", "root": MODEL, "max_model_len": 32768}
        return "application/json", json.dumps({"object": "list", "data": [card]}).encode()
    if path.endswith("/version"):
        return "application/json", b'{"version": "0"}'
    if path.endswith("/metrics"):
        return "text/plain", f"process_start_time_seconds {started}\n".encode()
    if not path.endswith("/completions"):
        return "text/plain", b""
    message = {"role": "assistant", "content": "A"}
    answer = {
        "id": f"chatcmpl-{time.monotonic_ns()}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11},
    }
    return "application/json", json.dumps(answer).encode()


async def serve(slots: int, seconds: float) -> None:
    """Answer until the process is ended; the port is printed."""
    free, started = asyncio.Semaphore(slots), time.time()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                path = head.split(" ", 2)[1]
                for line in head.lower().split("\r\n"):
                    if line.startswith("content-length:"):
                        await reader.readexactly(int(line.split(":")[1]))
                if path.endswith("/completions"):
                    async with free:
                        await asyncio.sleep(seconds)
                kind, body = reply(path, started)
                top = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                writer.write(top.encode() + b"\r\n" + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()  # the client has gone

    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def server(slots: int, ms: int) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """(address, process) of a server that ends with the block."""
    command = [sys.executable, __file__, "--serve", "--slots", str(slots), "--ms", str(ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1", process
        finally:
            process.kill()


# --- A run ----------------------------------------------------------------------------------------


class Watch(Silent):
    """Hears when answers come, and what the client's process had used of its core by then."""

    def __init__(self, report: Callable[[Event], None] | None) -> None:
        self._report = report
        self.moments: list[tuple[float, float]] = []

    def __call__(self, event: Event) -> None:
        """Hear an event."""
        if isinstance(event, Answered):
            self.moments.append((time.perf_counter(), time.process_time()))
        if self._report is not None:
            self._report(event)

    @property
    def busy(self) -> float:
        """Share of one core from the first answer to the last."""
        (begin, used), (end, used_then) = self.moments[0], self.moments[-1]
        return (used_then - used) / (end - begin)


def ask(
    urls: Sequence[str], n: int, concurrency: int, report: Callable[[Event], None] | None = None
) -> tuple[Run, float, float]:
    """(a run of n questions, seconds from its first attempt to the end of its last, share of one
    core that the client took)."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "many.py").write_text(TASK.format(n=n), encoding="utf-8")
        flags = {"tasks": ("many",), "tasks_dir": folder, "base_url": tuple(urls)}
        configured = config.combine({"flag": {**flags, "concurrency": concurrency}})
        job = Job(configured, plan.make(configured.config), Path(folder) / "run.json", ())
        watch = Watch(report)
        run = execute(job, watch)
    starts = [
        (datetime.fromisoformat(a.started_at.replace("Z", "+00:00")).timestamp(), a.latency)
        for r in run.responses
        for a in r.attempts
    ]
    return run, max(begin + took for begin, took in starts) - min(starts)[0], watch.busy


def curve(counts: Sequence[int], options: argparse.Namespace) -> None:
    """Print a row for each number of servers: the median of all rounds, which are interleaved."""
    seconds = options.ms / 1000
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in counts}
    for _ in range(options.rounds):
        for count in counts:
            n = int(count * options.slots / seconds * options.seconds)
            with ExitStack() as stack:
                several = (server(options.slots, options.ms) for _ in range(count))
                urls = [stack.enter_context(one)[0] for one in several]
                _, took, busy = ask(urls, n, in_flight(count, options))
            found[count].append((n / took, busy))
    print("| servers | in flight | requests/s | least, most | ideal | of ideal | client's core |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for count, measured in found.items():
        rates, ideal = [rate for rate, _ in measured], count * options.slots / seconds
        rate, busy = statistics.median(rates), statistics.median(busy for _, busy in measured)
        print(
            f"| {count} | {in_flight(count, options)} | {rate:.0f} | {min(rates):.0f}, "
            f"{max(rates):.0f} | {ideal:.0f} | {rate / ideal:.0%} | {busy:.0%} |"
        )


def in_flight(count: int, options: argparse.Namespace) -> int:
    """Twice the slots: answers come in bursts, and a slot that falls free must find one waiting."""
    return int(count * 2 * options.slots)


def death(options: argparse.Namespace) -> None:
    """Kill one of four servers when a third is answered, and print what became of everything."""
    n = int(4 * options.slots / (options.ms / 1000) * options.seconds)
    answered = 0
    with ExitStack() as stack:
        servers = [stack.enter_context(server(options.slots, options.ms)) for _ in range(4)]
        urls, (dying, process) = [url for url, _ in servers], servers[-1]

        def hear(event: Event) -> None:
            nonlocal answered
            answered += isinstance(event, Answered)
            if answered == n // 3 and process.poll() is None:
                threading.Thread(target=process.kill).start()

        run, took, _ = ask(urls, n, in_flight(4, options), hear)
    texts = len({r.sample_id for r in run.responses if r.text is not None})
    moved = [r for r in run.responses if len(r.attempts) > 1]
    tries = Counter(a.endpoint == dying for r in run.responses for a in r.attempts)
    ended = Counter(r.endpoint == dying for r in run.responses)
    print(
        f"\nOne of four killed after {n // 3} of {n} answers: {texts} of {n} answered, "
        f"{n - texts} lost, run {run.state}. The dead server gave {ended[True]} answers out of "
        f"{tries[True]} tries; {len(moved)} requests were asked elsewhere, with "
        f"{sum(len(r.attempts) - 1 for r in moved)} tries in vain. {n / took:.0f} requests/s."
    )


def main() -> None:
    """Measure and print, or be a server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--ms", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.slots, options.ms / 1000))
        return
    print(
        f"{datetime.now(timezone.utc):%Y-%m-%d}, flagos-eval {__version__}, Python "
        f"{platform.python_version()}; servers of {options.slots} slots of {options.ms} ms.\n"
    )
    curve((1, 2, 4), options)
    death(options)


if __name__ == "__main__":
    main()
