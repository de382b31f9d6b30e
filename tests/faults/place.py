"""Where a fault happens: a folder, a server, and the command as a user types it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocol_server import ProtocolServer, prompt_text
from test_run import TASK_FILE

from flagos_eval import store
from flagos_eval.records import Run

N = 60
CONCURRENCY = 4
LARGE = 7
"""The question with a picture of 448x448; all others have 16x16."""
TASK = TASK_FILE.replace("N = 24", f"N = {N}").replace(
    "Canvas(16)", f"Canvas(448 if index == {LARGE} else 16)"
)
SENTENCE = re.compile(r"^(?:error:|NOTE:|INCOMPLETE:|stopped\.|Saved ).*", re.MULTILINE)
TIME_LIMIT = 300


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    text: str

    @property
    def message(self) -> str:
        """The sentence that says how it went: a note if there is one, else the last."""
        found = [str(line).partition(". Saved ")[0] for line in SENTENCE.findall(self.text)]
        notes = [line for line in found if line.startswith("NOTE: ")]
        return (notes or found or [""])[-1]


@dataclass(frozen=True)
class Place:
    """A folder with a task, its run, and a server that is asked."""

    folder: Path
    server: ProtocolServer
    closing: ExitStack = field(default_factory=ExitStack)
    """What a fault leaves to be undone, such as a mounted disk."""
    saved: dict[str, bytes] = field(default_factory=dict)
    """Files as they were before they were changed by hand."""
    means: list[str] = field(default_factory=list)
    """How a fault was caused here, where that depends on the machine."""
    earlier: list[int] = field(default_factory=list)
    """How many questions runs asked that were finished before this one began."""
    finished: list[Run] = field(default_factory=list)
    """Those runs."""

    @property
    def results(self) -> Path:
        """The folder of the run."""
        return self.folder / "results"

    @property
    def output(self) -> Path:
        """The run file."""
        return self.results / "run.json"

    @property
    def journal(self) -> Path:
        """What a run in progress has."""
        return self.results / "run.journal.jsonl"

    def write_task(self, source: str = TASK) -> None:
        """The task file."""
        (self.folder / "pictures.py").write_text(source, "utf-8")

    def command(self, *more: str, url: str | None = None) -> list[str]:
        """The run."""
        return [
            *(sys.executable, "-m", "flagos_eval", "run", "--plain", "-t", "pictures"),
            *("--tasks-dir", str(self.folder), "-o", str(self.output)),
            *("--base-url", url or self.server.url, "--logprobs", "1"),
            *("--concurrency", str(CONCURRENCY), "--max-retries", "1", "--timeout", "20", *more),
        ]

    def run(self, *more: str, url: str | None = None) -> Said:
        """The run from start to end."""
        return ended(self.command(*more, url=url))

    def other(self, *arguments: str) -> Said:
        """Another command of the program."""
        return ended([sys.executable, "-m", "flagos_eval", *arguments])

    @contextmanager
    def started(self, *more: str, url: str | None = None) -> Iterator[subprocess.Popen[str]]:
        """The run in the background; dead in the end."""
        with subprocess.Popen(
            self.command(*more, url=url),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def kept(self) -> int:
        """Questions whose answer is in the run file, or else in the journal."""
        if self.output.is_file() and not self.journal.is_file():
            return sum(r.text is not None for r in store.load(self.output).responses)
        return len(self.answered())

    def answered(self) -> set[str]:
        """Questions with an answer in the journal, a torn last line left out."""
        if not self.journal.is_file():
            return set()
        found: dict[str, bool] = {}
        for line in self.journal.read_bytes().split(b"\n")[:-1]:
            response = json.loads(line[9:]).get("response")
            if response is not None:
                found[response["sample_id"]] = "text" in response
        return {name for name, has_text in found.items() if has_text}

    def asked(self) -> Counter[int]:
        """How often each question arrived at the server, probes left out."""
        return Counter(
            number for r in self.server.requests if (number := question(r.body)) is not None
        )

    def load(self) -> Run:
        """The run that was saved."""
        return store.load(self.output)


def ended(command: list[str]) -> Said:
    """Run a command to its end; both streams are one text, as in a terminal."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=TIME_LIMIT,
    )
    return Said(done.returncode, done.stdout)


def question(body: dict[str, Any]) -> int | None:
    """The number of the question that is asked; None for a probe."""
    found = re.search(r"Question (\d+)", prompt_text(body))
    return int(found[1]) if found else None


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for a moment of a run; its end is the last one."""
    deadline = time.monotonic() + TIME_LIMIT
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)
