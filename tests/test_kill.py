"""SIGKILL at any moment, of the client and of the server: the same command goes on, and in the end
every question was answered once."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from protocol_server import ProtocolServer, RequestInfo
from test_run import TASK_FILE, asked, judged, number

from flagos_eval import store
from flagos_eval.records import Run

pytestmark = pytest.mark.once

N = 60
CONCURRENCY = 4
MOMENTS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 100)
"""Questions after which a start is killed: during the probes, at the first, on the way, and, as
there are not so many left, when the run is over."""
SERVER = Path(__file__).with_name("protocol_server.py")


def command(url: str, folder: Path) -> list[str]:
    (folder / "pictures.py").write_text(TASK_FILE.replace("N = 24", f"N = {N}"), "utf-8")
    return [
        *(sys.executable, "-m", "flagos_eval", "run", "--plain", "-t", "pictures"),
        *("--tasks-dir", str(folder), "-o", str(folder / "run.json"), "--base-url", url),
        *("--logprobs", "1", "--max-retries", "1", "--concurrency", str(CONCURRENCY)),
    ]


def finish(url: str, folder: Path) -> Run:
    done = subprocess.run(command(url, folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return store.load(folder / "run.json")


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    """Wait for a moment of a run; its end is the last one."""
    deadline = time.monotonic() + 60
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.001)


class Counting:
    """Counts what arrives at a server: cheaper than looking at all requests again and again."""

    def __init__(self) -> None:
        self.questions = self.all = 0

    def __call__(self, info: RequestInfo) -> None:
        self.all += 1
        self.questions += number(info.body) is not None


def test_a_client_that_is_killed_again_and_again_has_every_answer_once(tmp_path: Path) -> None:
    undisturbed_folder, folder = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed_folder.mkdir()
    folder.mkdir()
    with ProtocolServer() as server:
        undisturbed = finish(server.url, undisturbed_folder)

    count = Counting()
    with ProtocolServer(delay=0.02, faults=count) as server:

        def start_and_kill(questions: int, seconds: float) -> None:
            """Kill a start so long after it asked so many questions; 0 is the first probe."""
            goal, all_before = count.questions + questions, count.all
            process = subprocess.Popen(command(server.url, folder), stderr=subprocess.DEVNULL)
            wait_until(lambda: count.questions >= goal and count.all > all_before, process)
            time.sleep(seconds)
            process.kill()
            process.wait()

        for nth, questions in enumerate(MOMENTS):
            start_and_kill(questions, 0.003 * nth)
        output = folder / "run.json"
        run = store.load(output) if output.exists() else finish(server.url, folder)
        seen = asked(server)

    assert run.state == "complete"
    assert Counter(r.sample_id for r in run.responses) == {f"item-{i:03}": 1 for i in range(N)}
    assert all(r.text is not None and len(r.attempts) == 1 for r in run.responses)
    # What was in flight at a kill is asked again, and nothing else.
    assert set(seen) == set(range(N)) and sum(seen.values()) <= N + len(MOMENTS) * CONCURRENCY
    assert [(r.sample_id, r.text) for r in run.responses] == [
        (r.sample_id, r.text) for r in undisturbed.responses
    ]
    assert judged(run) == judged(undisturbed)
    assert all(r.logprobs_line is not None for r in run.responses)


def test_a_client_that_is_killed_with_every_answer_in_hand_has_only_to_save(
    tmp_path: Path,
) -> None:
    with ProtocolServer() as server:
        process = subprocess.Popen(command(server.url, tmp_path), stderr=subprocess.DEVNULL)
        wait_until(lambda: answered(tmp_path) == N, process)
        process.kill()
        process.wait()
        count = len(server.requests)
        output = tmp_path / "run.json"
        run = store.load(output) if output.exists() else finish(server.url, tmp_path)
        assert len(server.requests) == count
    assert (run.state, run.model, len(run.responses)) == ("complete", "tiny", N)


def answered(folder: Path) -> int:
    """Answers in the journal, a torn last line left out."""
    journal = folder / "run.journal.jsonl"
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.is_file() else []
    return sum(b'"text"' in line for line in lines)


@contextmanager
def server_process(port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    arguments = [sys.executable, str(SERVER), "--port", str(port), "--delay-ms", "20"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().removeprefix("listening ").strip(), process
        finally:
            process.kill()


@pytest.mark.parametrize("n", [1, 20, N - CONCURRENCY])
def test_a_server_that_is_killed_and_started_again_is_asked_for_the_rest(
    tmp_path: Path, n: int
) -> None:
    with (
        server_process() as (url, server),
        subprocess.Popen(
            command(url, tmp_path), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client,
    ):
        wait_until(lambda: answered(tmp_path) >= n, client)
        server.kill()
        _, said = client.communicate(timeout=60)
    assert client.returncode == 5, said
    assert "stopped answering" in said and "same command" in said
    assert not (tmp_path / "run.json").exists()
    kept = answered(tmp_path)
    assert n <= kept < N
    # Nothing was recorded for what the server took with it.
    journal = (tmp_path / "run.journal.jsonl").read_text("ascii")
    assert '"error"' not in re.sub(r'"attempts":\[[^\]]*\]', "", journal)

    with server_process(int(url.removesuffix("/v1").rpartition(":")[2])) as (url_again, _):
        assert url_again == url
        run = finish(url, tmp_path)
    assert run.state == "complete" and all(r.text is not None for r in run.responses)
    assert [epoch.index for epoch in run.epochs] == [0, 1]
    assert Counter(r.epoch for r in run.responses) == {0: kept, 1: N - kept}
    first, second = (part.counters[0] for part in run.parts)
    assert (first.end, first.answered.requests) == (None, kept)
    assert second.begin is not None and second.end is not None
    before, after = second.begin.counts.requests, second.end.counts.requests
    assert before is not None and after is not None and after - before == N - kept
