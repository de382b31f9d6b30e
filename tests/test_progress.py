"""What a run tells: plain lines anywhere, a live view on a terminal, or nothing."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import rich.console

from flagos_eval.progress import (
    Answered,
    Event,
    LiveView,
    Note,
    PlainLines,
    Planned,
    Silent,
    reporter,
)


def answered(task: str = "shapes", *, error: bool = False, truncated: bool = False) -> Answered:
    return Answered(task, error=error, truncated=truncated, completion_tokens=3)


STORY: list[Event] = [
    Note("journal", "results/a.journal.jsonl: cut off a torn last line"),
    Planned("shapes", 4, 1),
    Planned("mathvision", 2, 0),
    Note("server", "http://10.0.0.5:8000/v1 serves [tiny] (version 0.9), start 1"),
    answered(),
    answered(truncated=True),
    answered(error=True),
    answered("mathvision"),
]


def lines(events: list[Event], every: float = 1000.0) -> list[str]:
    written: list[str] = []
    with PlainLines(written.append, every=every) as report:
        for event in events:
            report(event)
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in written)
    return [line.rstrip("\n") for line in written]


# --- Plain lines ----------------------------------------------------------------------------------


def test_a_note_is_a_line_with_its_topic() -> None:
    assert lines([Note("server", "loading shard 3")]) == ["server    loading shard 3"]


def test_a_plan_is_a_line_with_what_is_there_already() -> None:
    assert lines([Planned("shapes", 400, 0), Planned("mathvision", 3040, 12)]) == [
        "shapes    400 requests",
        "mathvision 3040 requests, 12 answered earlier",
    ]


def test_the_end_of_each_task_is_a_line_with_its_counts() -> None:
    assert lines(STORY)[-2:] == [
        "shapes    4/4  errors 1  cut 1",
        "mathvision 1/2  errors 0  cut 0",
    ]


def test_a_task_without_an_answer_has_no_last_line() -> None:
    assert lines([Planned("shapes", 4, 4)]) == ["shapes    4 requests, 4 answered earlier"]


def test_a_line_while_answers_come_tells_how_far_it_is() -> None:
    told = lines([Planned("shapes", 3, 0), *[answered()] * 3], every=0)
    assert told[1:4] == [f"shapes    {n}/3  errors 0  cut 0" for n in (1, 2, 3)]


def test_answers_between_two_lines_are_silent() -> None:
    assert len(lines([Planned("shapes", 50, 0), *[answered()] * 50])) == 2


def test_speed_and_time_left_are_told_when_they_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 10_000, 2))
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))
    told = lines([Planned("shapes", 40, 10), *[answered()] * 5], every=0)
    assert re.fullmatch(r"shapes    15/40  0\.\d/s, 0:0\d:\d\d left  errors 0  cut 0", told[-1])


def test_plain_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainLines() as report:
        report(Note("server", "up"))
    assert capsys.readouterr() == ("", "server    up\n")


# --- The live view --------------------------------------------------------------------------------


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 100 columns would be sent."""
    out, console = io.StringIO(), rich.console.Console
    monkeypatch.setattr(
        "rich.console.Console",
        lambda **options: console(file=out, force_terminal=True, width=100, color_system=None),
    )
    return out


def plain(screen: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())


def test_the_live_view_shows_every_task_and_its_counts(screen: io.StringIO) -> None:
    with LiveView() as view:
        for event in STORY:
            view(event)
    last = plain(screen).rstrip().splitlines()[-2:]
    assert "shapes" in last[0] and "4/4" in last[0] and "errors 1  cut 1" in last[0]
    assert "mathvision" in last[1] and "1/2" in last[1] and "errors 0  cut 0" in last[1]


def test_the_live_view_prints_notes_as_they_are(screen: io.StringIO) -> None:
    with LiveView() as view:
        view(Note("server", "serves [tiny] at [/v1]: 100% \\[bold]"))
    assert "serves [tiny] at [/v1]: 100% \\[bold]" in plain(screen)


def test_the_live_view_ends_when_the_run_fails(screen: io.StringIO) -> None:
    before = threading.active_count()
    with pytest.raises(RuntimeError), LiveView() as view:
        view(Planned("shapes", 4, 0))
        raise RuntimeError
    deadline = time.monotonic() + 5
    while threading.active_count() > before:
        assert time.monotonic() < deadline, "it still refreshes"
        time.sleep(0.01)


# --- Which one it is ------------------------------------------------------------------------------


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bytes]]:
    """A real terminal as standard error; gives what was written to it."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream, os.fdopen(ours, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stderr", stream)
        yield lambda: screen.read(100_000)


def test_on_a_terminal_the_view_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with terminal(monkeypatch) as shown:
        with reporter(plain=False, quiet=False) as report:
            assert isinstance(report, LiveView)
            for event in STORY:
                report(event)
        sys.stderr.flush()
        assert b"torn last line" in shown()


def test_on_a_terminal_plain_lines_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch):
        assert isinstance(reporter(plain=True, quiet=False), PlainLines)


def test_without_a_terminal_there_are_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(reporter(plain=False, quiet=False), PlainLines)


def test_quiet_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with reporter(plain=False, quiet=True) as report:
        assert isinstance(report, Silent)
        for event in STORY:
            report(event)
    assert capfd.readouterr() == ("", "")
