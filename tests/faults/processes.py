"""What is done to the processes of a run: signals, deaths, a second client, a clock that jumps."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from protocol_server import Exchange, Fault

from .place import CONCURRENCY, TIME_LIMIT, N, Place, Said, ended, question, wait_until
from .scenario import EVERYTHING, SOME, Scenario

KILLS = 50
SERVER = Path(__file__).resolve().parent.parent / "protocol_server.py"
CLOCK = Path(__file__).with_name("jumping_clock.py")
STEADY = 0.05
"""Seconds that an answer takes, so that there is a moment between two of them."""


def chance(nth: int) -> float:
    """The nth number of a fixed sequence that looks like chance, from 0 to 1."""
    digest = hashlib.sha256(f"moment {nth}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def signalled(number: signal.Signals, times: int = 1, gap: float = 0.0) -> Callable[[Place], Said]:
    """A run that gets a signal when it has ten answers."""

    def act(place: Place) -> Said:
        place.server.delay = STEADY
        with place.started() as process:
            wait_until(lambda: len(place.answered()) >= 10, process)
            for nth in range(times):
                time.sleep(gap if nth else 0.0)
                process.send_signal(number)
            said, _ = process.communicate(timeout=60)
        return Said(process.returncode, said)

    return act


def killed_again_and_again(place: Place) -> Said:
    """SIGKILL at moments that are spread over all of a run, and once more with ten answers.

    A start that gets to its end before its moment is a finished run; its folder is emptied, so that
    there is a run to kill at the next moment.
    """
    place.server.delay = STEADY / 2
    for nth in range(KILLS - 1):
        before = len(place.server.requests)
        with place.started() as process:
            # One in ten is killed while it is still starting, the others once they have asked.
            if nth % 10:
                wait_until(lambda: len(place.server.requests) > before, process)  # noqa: B023
            time.sleep(1.5 * chance(nth))
            process.kill()
        if place.output.is_file() and not place.journal.is_file():
            place.finished.append(place.load())
            place.output.unlink()
            place.earlier.append(sum(place.asked().values()) - sum(place.earlier))
    place.means.append(f"{len(place.finished)} of them had finished a run by then")
    return signalled(signal.SIGKILL)(place)


@contextmanager
def server_process(port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server that can be killed."""
    arguments = [sys.executable, str(SERVER), "--port", str(port), "--delay-ms", "20"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().removeprefix("listening ").strip(), process
        finally:
            process.kill()


def server_killed(place: Place) -> Said:
    """The server dies while it is being asked; later one comes back at the same address."""
    place.server.stop()
    with server_process(place.server.port) as (url, server), place.started(url=url) as client:
        wait_until(lambda: len(place.answered()) >= 10, client)
        server.kill()
        said, _ = client.communicate(timeout=60)
    # Nobody can ask a dead server what it saw.
    place.earlier.append(-place.kept())
    return Said(client.returncode, said)


@dataclass(frozen=True)
class Held(Fault):
    """A correct answer, once the gate is open."""

    gate: threading.Event

    def serve(self, call: Exchange) -> None:
        """Wait, then answer."""
        self.gate.wait(TIME_LIMIT)
        super().serve(call)


def second_client(place: Place) -> Said:
    """The same command is typed while it is running; the first one goes on after that."""
    gate = threading.Event()
    place.server.faults = lambda info: Held(gate) if (question(info.body) or 0) >= 20 else None
    with place.started() as first:
        wait_until(lambda: len(place.answered()) >= 10, first)
        second = place.run()
        gate.set()
        said, _ = first.communicate(timeout=60)
        assert first.returncode == 0, said
    return second


def clock_jumps(place: Place) -> Said:
    """Every few readings of the clock it is an hour earlier than before."""
    return ended([sys.executable, str(CLOCK), *place.command()[3:]])


SCENARIOS = (
    Scenario(
        f"client killed at {KILLS} moments",
        f"SIGKILL, {KILLS} starts one after the other, at moments derived from a hash",
        killed_again_and_again,
        -signal.SIGKILL,
        "",
        SOME,
        dropped=KILLS * CONCURRENCY,
    ),
    Scenario(
        "SIGTERM",
        "at the tenth answer",
        signalled(signal.SIGTERM),
        130,
        f"of {N} responses kept. Run the same command to continue.",
        SOME,
        dropped=CONCURRENCY,
        fast=True,
    ),
    *(
        Scenario(
            f"Ctrl-C twice, {1000 * gap:g} ms apart",
            "SIGINT at the tenth answer, and again",
            signalled(signal.SIGINT, 2, gap),
            130,
            "Run the same command to continue",
            SOME,
            dropped=CONCURRENCY,
        )
        for gap in (0.0, 0.01, 0.1)
    ),
    Scenario(
        "server killed and started again",
        "SIGKILL of the server's process at the tenth answer",
        server_killed,
        5,
        "stopped answering",
        SOME,
        mend=lambda place: place.server.start(),
    ),
    Scenario(
        "two clients on one journal",
        "the same command while it runs",
        second_client,
        74,
        "another flagos-eval is writing",
        EVERYTHING,
        again=None,
        fast=True,
    ),
    Scenario(
        "clock jumping back",
        "the program's clock is an hour earlier at every seventh reading",
        clock_jumps,
        0,
        "Saved",
        EVERYTHING,
        again=None,
    ),
)
