"""Tasks are loaded while others are asked: the same run, and no mistake found too late."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol_server import ProtocolServer
from test_run import TASK_FILE, number, right_answer

from flagos_eval import config, plan
from flagos_eval.config import Configured
from flagos_eval.errors import (
    DatasetError,
    FileError,
    NotComparable,
    ServerRefused,
    SettingsChanged,
    UsageError,
)
from flagos_eval.job import Job
from flagos_eval.loading import Loading
from flagos_eval.progress import Event, Note, Planned, Silent
from flagos_eval.records import Run
from flagos_eval.run import execute, journal_path

N = 24
NAMES = ("first", "second", "third")
WAITS = """
    import pathlib, time
    gate, begun = pathlib.Path({gate!r}), time.monotonic()
    while not gate.exists():
        assert time.monotonic() - begun < 60, "nobody opened the gate"
        time.sleep(0.005)
    for index in range(N):"""
"""For a task whose loading must not end before a file is there."""


class Enough(Exception):
    """Ends a run from outside."""


class Workplace:
    """A folder with three tasks, and where runs of them go."""

    def __init__(self, folder: Path) -> None:
        self.tasks, self.results = folder / "tasks", folder / "results"
        self.gate = folder / "gate"
        self.tasks.mkdir()
        for place, name in enumerate(NAMES):
            self.write(name, place)

    def write(self, name: str, place: int, *changes: tuple[str, str]) -> None:
        """A task whose questions have numbers of their own."""
        text = TASK_FILE.replace('name="pictures"', f'name="{name}"')
        text = text.replace("{index:03}", f"{{index + {place * N}:03}}")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (self.tasks / f"{name}.py").write_text(text, "utf-8")

    def gated(self, name: str, place: int) -> None:
        """The task, whose items come when the gate is opened."""
        loop = ("\n    for index in range(N):", WAITS.format(gate=str(self.gate)))
        self.write(name, place, loop)

    def broken(self, name: str, place: int) -> None:
        """The task, with an item that is not of the documented shape."""
        self.write(name, place, ('"answer": "ABCD"[index % 4]', '"answer": None'))

    def configured(self, server: ProtocolServer | None, **settings: Any) -> Configured:
        url = server.url if server else "http://127.0.0.1:9/v1"
        here = {"tasks": NAMES, "tasks_dir": str(self.tasks), "base_url": (url,)}
        quick = {"concurrency": 4, "timeout": 5.0, "max_retries": 0}
        return config.combine({"flag": {**here, **quick, **settings}})

    def output(self, name: str = "run") -> Path:
        return self.results / f"{name}.json"

    def run(
        self,
        server: ProtocolServer,
        *,
        name: str = "run",
        like: Run | None = None,
        report: Callable[[Event], None] | None = None,
        **settings: Any,
    ) -> Run:
        """A run whose tasks are loaded while others are asked."""
        configured = self.configured(server, **settings)
        with Loading(plan.outline(configured.config, like=like)) as tasks:
            job = Job(configured, tasks, self.output(name), ("flagos-eval", "run"))
            return execute(job, report or Silent())  # type: ignore[arg-type]

    def run_until_told(self, server: ProtocolServer, name: str) -> None:
        """A run that ends when a task is announced, which is after four questions or more."""
        self.gated(name, NAMES.index(name))
        server.answer = opens_gate_after(self, 3)

        def hear(event: Event) -> None:
            if isinstance(event, Planned) and event.task == name:
                raise Enough

        with pytest.raises(Enough):
            self.run(server, report=hear)
        self.write(name, NAMES.index(name))

    def run_whole(self, server: ProtocolServer, name: str, **settings: Any) -> Run:
        """A run that loads everything before it asks."""
        configured = self.configured(server, **settings)
        planned = plan.make(configured.config)
        job = Job(configured, planned, self.output(name), ("flagos-eval", "run"))
        return execute(job, Silent())


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture
def server() -> Iterator[ProtocolServer]:
    with ProtocolServer(answer=right_answer) as running:
        yield running
        assert running.errors == []


def asked(server: ProtocolServer) -> Counter[int]:
    """How often each question was asked, probes left out."""
    numbers = (number(request.body) for request in server.requests)
    return Counter(index for index in numbers if index is not None)


def opens_gate_after(work: Workplace, last: int) -> Callable[[dict[str, Any]], str]:
    """Answers, and opens the gate with the answer to question `last`."""

    def answer(body: dict[str, Any]) -> str:
        if number(body) == last:
            work.gate.touch()
        return right_answer(body)

    return answer


# --- The same run ---------------------------------------------------------------------------------


def without_moments(run: Run) -> dict[str, Any]:
    """Everything in a run file that two runs of the same can have in common."""
    found = run.model_dump(mode="json")
    for name in ("id", "name", "started_at", "ended_at", "epochs", "parts", "files", "environment"):
        del found[name]
    for response in found["responses"]:
        for name in ("attempts", "latency", "server_id", "server_time", "in_flight"):
            del response[name]
    return found


@pytest.mark.parametrize("settings", [{}, {"repeat": 2}, {"limit": 5}, {"shard": "2/3"}])
def test_the_run_is_that_of_a_whole_plan(
    work: Workplace, server: ProtocolServer, settings: dict[str, Any]
) -> None:
    ahead, beside = work.run_whole(server, "whole", **settings), work.run(server, **settings)
    assert beside.state == "complete"
    assert without_moments(beside) == without_moments(ahead)


def test_requests_have_the_places_that_they_have_in_a_whole_plan(
    work: Workplace, server: ProtocolServer
) -> None:
    run = work.run(server, repeat=2)
    keys = plan.make(work.configured(server, repeat=2).config).each_key()
    places = {response.order: response.key for response in run.responses}
    assert places == dict(enumerate(keys))


# --- While others are asked -----------------------------------------------------------------------


def test_a_task_is_asked_while_the_next_is_loaded(work: Workplace, server: ProtocolServer) -> None:
    work.gated("second", 1)
    server.answer = opens_gate_after(work, N - 1)
    run = work.run(server)
    assert asked(server) == dict.fromkeys(range(3 * N), 1)
    assert run.state == "complete"


def test_a_queue_that_ran_dry_is_told(work: Workplace, server: ProtocolServer) -> None:
    work.gated("second", 1)
    told: list[str] = []

    def hear(event: Event) -> None:
        told.append(event.text if isinstance(event, Note) else "")
        if "nothing to ask" in told[-1]:
            work.gate.touch()

    work.run(server, report=hear)
    waits = [text for text in told if "nothing to ask" in text or "asking again" in text]
    assert waits[0] == "nothing to ask until second is loaded"
    assert re.fullmatch(r"asking again after \d+\.\d s of waiting for second", waits[1])


def test_every_task_is_announced_before_its_first_answer(
    work: Workplace, server: ProtocolServer
) -> None:
    seen: list[Event] = []
    work.run(server, report=seen.append)
    known: set[str] = set()
    for event in seen:
        if isinstance(event, Planned):
            known.add(event.task)
        elif not isinstance(event, Note):
            assert event.task in known
    assert known == set(NAMES)


# --- What goes wrong on the way -------------------------------------------------------------------


def test_data_that_is_wrong_stops_the_run_and_keeps_what_was_answered(
    work: Workplace, server: ProtocolServer
) -> None:
    work.gated("second", 1)
    work.broken("third", 2)
    server.answer = opens_gate_after(work, 3)
    with pytest.raises(DatasetError, match="third: row 0"):
        work.run(server)
    before = asked(server)
    assert before[3] == 1 and max(before) < 2 * N
    assert journal_path(work.output()).is_file()


def test_the_same_command_resumes_when_the_data_is_mended(
    work: Workplace, server: ProtocolServer
) -> None:
    work.gated("second", 1)
    work.broken("third", 2)
    server.answer = opens_gate_after(work, N - 1)
    with pytest.raises(DatasetError):
        work.run(server)
    answered = journal_path(work.output()).read_text("ascii").count('{"response":')
    work.write("third", 2)
    run = work.run(server)
    assert run.state == "complete" and len(run.responses) == 3 * N
    assert answered >= N - 4
    assert sum(asked(server).values()) <= 3 * N + 4  # what was in flight is asked again


def test_the_first_task_is_checked_before_anything_is_written(
    work: Workplace, server: ProtocolServer
) -> None:
    work.broken("first", 0)
    with pytest.raises(DatasetError):
        work.run(server)
    assert not work.results.exists() and not server.requests


def test_other_items_of_a_later_task_do_not_join_a_run(
    work: Workplace, server: ProtocolServer
) -> None:
    """Also where none of its questions was asked: it was loaded, and so belongs to the run."""
    work.run_until_told(server, "second")
    work.write("second", 1, ("C or D?", "C, D or E?"))
    with pytest.raises(SettingsChanged, match="second items was"):
        work.run(server)


def test_other_items_of_a_task_that_was_not_loaded_yet_are_no_change(
    work: Workplace, server: ProtocolServer
) -> None:
    work.run_until_told(server, "second")
    work.write("third", 2, ("C or D?", "C, D or E?"))
    assert work.run(server).state == "complete"


def test_a_later_task_must_be_that_of_the_run_to_follow(
    work: Workplace, server: ProtocolServer
) -> None:
    like = work.run(server, name="like")
    work.write("second", 1, ("C or D?", "C, D or E?"))
    with pytest.raises(NotComparable, match="second: 24 of 24 requests"):
        work.run(server, like=like)


def test_a_blind_server_is_refused_when_the_first_task_with_images_comes(
    work: Workplace, server: ProtocolServer
) -> None:
    server.supports_images = False
    work.write("first", 0, ('row.image("image"), ', 'TextPart(text="Think."), '))
    with pytest.raises(ServerRefused, match="takes no images"):
        work.run(server)
    assert not [index for index in asked(server) if index >= N]


# --- What is refused before anything is loaded ----------------------------------------------------


def outline(work: Workplace, **settings: Any) -> plan.Outline:
    """Of tasks that can never be loaded: whatever is found is found without that."""
    for place, name in enumerate(NAMES):
        work.gated(name, place)
    return plan.outline(work.configured(None, **settings).config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": (*NAMES, "fourth")}, "fourth"),
        ({"split": ("third=train",)}, "no split 'train'"),
        ({"split": ("fourth=test",)}, "not among the tasks"),
        ({"prompt": "rude"}, "rude"),
        ({"shard": "4/3"}, "no shard 4/3"),
        ({"shard": "25/25"}, "24 items cannot be shared out"),
        ({"policy": "nowhere.toml"}, "nowhere.toml"),
    ],
)
def test_a_mistake_is_found_before_anything_is_loaded(
    work: Workplace, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises((UsageError, FileError), match=re.escape(message)):
        outline(work, **settings)


def test_a_run_to_follow_without_a_task_is_refused_before_anything_is_loaded(
    work: Workplace, server: ProtocolServer
) -> None:
    like = work.run(server, name="like", tasks=("first",))
    for place, name in enumerate(NAMES):
        work.gated(name, place)
    with pytest.raises(NotComparable, match="no task 'second'"):
        plan.outline(work.configured(server).config, like=like)


# --- The end --------------------------------------------------------------------------------------


def test_loading_ends_with_the_run_that_it_is_for(work: Workplace) -> None:
    """At its next item, of which this task has ever more."""
    endless = ("for index in range(N):", "for index in __import__('itertools').count():")
    shape = ("2 + index // 16", "2")
    work.write("first", 0, endless, shape)
    with Loading(plan.outline(work.configured(None).config)) as tasks:
        assert tasks.loading == "first"
    assert "loading" not in {thread.name for thread in threading.enumerate()}


def test_a_command_ends_at_once_though_a_task_is_still_loaded() -> None:
    """As a download that was given up would: its threads are joined when Python ends."""
    program = (
        "import threading, time\n"
        "from flagos_eval import loading\n"
        "from flagos_eval.cli import _leave\n"
        "threading.Thread(target=time.sleep, args=(600,), name=loading.THREAD).start()\n"
        "print('told')\n"
        "_leave(7)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (7, "told\n")
