"""What a scenario is, and what is required of every one: nothing lost, nothing asked twice that was
answered, and in the end the scores of a run that nothing happened to."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from test_run import judged

from flagos_eval.records import Run

from .place import N, Place, Said

EVERYTHING = range(N, N + 1)
NOTHING = range(0, 1)
SOME = range(1, N)


def same_command(place: Place) -> Said:
    """The command that was disturbed, typed again."""
    return place.run()


def heal(place: Place) -> None:
    """The server is as it should be."""
    place.server.faults, place.server.delay, place.server.page_speed = None, 0.0, None


@dataclass(frozen=True)
class Scenario:
    """One fault.

    Attributes:
        name: What happens.
        cause: How it is caused here.
        act: Causes it, and returns how the command ended.
        code: The exit code.
        says: Words of the message.
        keeps: How many of the answers are kept at that moment.
        mend: Takes the cause away.
        again: What the user types then; None where the command did all it should.
        dropped: How many requests that a server saw may be without a record of their attempt, as
            those in flight at a signal are.
        fast: Whether it runs with every `make test`.
    """

    name: str
    cause: str
    act: Callable[[Place], Said]
    code: int
    says: str
    keeps: range
    mend: Callable[[Place], None] = heal
    again: Callable[[Place], Said] | None = same_command
    dropped: int = 0
    fast: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a scenario gave: a row of the table."""

    name: str
    cause: str
    code: int
    message: str
    kept: int
    asked_again: int | None
    equal: bool


def play(scenario: Scenario, place: Place, undisturbed: Run) -> Outcome:
    """Let it happen, take the cause away, go on, and compare with the undisturbed run."""
    said = scenario.act(place)
    assert "Traceback" not in said.text, said.text
    assert said.code == scenario.code, said.text
    assert scenario.says in readable(said.text, place), said.text
    kept = place.kept()
    assert kept in scenario.keeps, (kept, said.text)
    scenario.mend(place)
    asked_again = None
    if scenario.again is not None:
        before = place.asked()
        again = scenario.again(place)
        assert again.code == 0, again.text
        more = place.asked() - before
        asked_again = sum(more.values())
        assert asked_again == N - kept, f"{asked_again} asked, {kept} of {N} were kept: {more}"
    run = place.load()
    for one in (*place.finished, run):
        assert one.state == "complete"
        assert sorted(r.sample_id for r in one.responses) == [f"item-{i:03}" for i in range(N)]
    recorded = sum(len(r.attempts) for r in run.responses)
    seen = sum(place.asked().values()) - sum(place.earlier)
    assert recorded <= seen <= recorded + scenario.dropped, f"{seen} seen, {recorded} on record"
    equal = all(judged(one) == judged(undisturbed) for one in (*place.finished, run))
    assert equal, scenario.name
    message = readable(said.message, place) if said.code >= 0 else ""
    cause = ", ".join((scenario.cause, *place.means))
    return Outcome(scenario.name, cause, said.code, message, kept, asked_again, equal)


def readable(message: str, place: Place) -> str:
    """A message without what is another one every time."""
    return (
        re.sub("chatcmpl-[0-9a-f]+", "chatcmpl-...", message)
        .replace(f"{place.results}/", "")
        .replace(f"{place.folder}/", "")
        .replace(place.server.url, "http://server/v1")
    )
