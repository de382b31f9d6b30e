"""What a server may have counted, and what it cannot have: pure, on records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import factories
import pytest
from factories import LATER, WHEN, epoch, failure, rebuilt
from hypothesis import given
from hypothesis import strategies as st
from test_compare import inputs

from flagos_eval import comparing
from flagos_eval import tally as tallying
from flagos_eval.records import (
    Attempt,
    Counters,
    Counts,
    ErrorKind,
    Reading,
    Run,
    RunPart,
    Setting,
    Usage,
)
from flagos_eval.tally import tally

MAX_TOKENS = 4096
"""Of a request and of the context, as the factories have them."""


@dataclass(frozen=True)
class Try:
    """A try that was given up, and what the server made of it."""

    finished: bool = False
    read: bool = False
    generated: int = 0
    where: int = 0
    """The part in which the server counted it."""
    kind: ErrorKind = ErrorKind.TIMEOUT

    def counted(self, prompt: int) -> tuple[int, int, int]:
        read = self.read or self.finished or self.generated > 0
        return (int(self.finished), prompt if read else 0, self.generated)


@dataclass(frozen=True)
class Asked:
    """A request that was answered in a part, after some tries."""

    prompt: int
    completion: int
    part: int = 0
    tries: tuple[Try, ...] = ()
    dropped: Try | None = None
    """The part before ended while it was in flight."""


def reading(counts: Sequence[int], start: float | None = 1.0, **fields: Any) -> Reading:
    requests, prompt, completion = counts
    known = Counts(requests=requests, prompt_tokens=prompt, completion_tokens=completion)
    return Reading(at=WHEN, process_start=start, counts=known, **fields)


def run_of(
    asked: Sequence[Asked],
    extra: Sequence[int] = (0, 0, 0),
    begin: Sequence[int] = (3, 50, 20),
    parts: int = 1,
    end: dict[str, Any] | None = None,
    **fields: Any,
) -> Run:
    """A run whose server counted honestly, and `extra` in the last part."""
    bare = factories.run([str(i) for i in range(len(asked))])
    responses = []
    answered = [[0, 0, 0] for _ in range(parts)]
    server = [[0, 0, 0] for _ in range(parts)]
    dropped: list[list[int]] = [[] for _ in range(parts)]

    def count(where: list[int], what: Sequence[int]) -> None:
        where[:] = [a + b for a, b in zip(where, what, strict=True)]

    for order, (one, response) in enumerate(zip(asked, bare.responses, strict=True)):
        count(answered[one.part], (1, one.prompt, one.completion))
        count(server[one.part], (1, one.prompt, one.completion))
        for given_up in (*one.tries, *([one.dropped] if one.dropped else [])):
            count(server[given_up.where], given_up.counted(one.prompt))
        if one.dropped:
            dropped[0].append(order)
        errors = [failure(given_up.kind) for given_up in one.tries]
        tried = [Attempt(started_at=WHEN, latency=1.0, error=error) for error in (*errors, None)]
        usage = Usage(prompt_tokens=one.prompt, completion_tokens=one.completion)
        update = {"usage": usage, "attempts": tuple(tried), "order": order, "epoch": 0}
        responses.append(response.model_copy(update=update))
    count(server[-1], extra)
    made, before = [], list(begin)
    for index in range(parts):
        after = [a + b for a, b in zip(before, server[index], strict=True)]
        requests, prompt, completion = answered[index]
        counters = Counters(
            epoch=0,
            endpoint="http://127.0.0.1:1/v1",
            begin=reading(before),
            end=reading(after, **(end or {})),
            answered=Counts(requests=requests, prompt_tokens=prompt, completion_tokens=completion),
        )
        made.append(
            RunPart(
                index=index,
                begun_at=WHEN,
                ended_at=LATER,
                tries=2,
                dropped=tuple(dropped[index]),
                counters=(counters,),
            )
        )
        before = after
    return rebuilt(bare, responses=tuple(responses), parts=tuple(made), **fields)


def state(run: Run) -> str:
    found = tally(run)
    assert found is not None
    return found.state


def tries(parts: int) -> st.SearchStrategy[Try]:
    kinds = [k for k in ErrorKind if k not in (ErrorKind.REJECTED, ErrorKind.RATE_LIMITED)]
    return st.builds(
        Try,
        finished=st.booleans(),
        read=st.booleans(),
        generated=st.integers(0, MAX_TOKENS),
        where=st.integers(0, parts - 1),
        kind=st.sampled_from(kinds),
    )


@st.composite
def requests(draw: st.DrawFn, parts: int = 2) -> list[Asked]:
    found = []
    for _ in range(draw(st.integers(1, 5))):
        part = draw(st.integers(0, parts - 1))
        found.append(
            Asked(
                prompt=draw(st.integers(1, 60)),
                completion=draw(st.integers(0, 30)),
                part=part,
                tries=tuple(draw(st.lists(tries(parts), max_size=3))),
                # Only what the first part left can have been on its way when it ended.
                dropped=draw(st.none() | tries(parts)) if part else None,
            )
        )
    return found


BEGIN = st.tuples(*[st.integers(0, 10**6)] * 3)


# --- The bound ------------------------------------------------------------------------------------


@given(requests(), BEGIN)
def test_an_honest_server_never_differs(asked: list[Asked], begin: tuple[int, int, int]) -> None:
    assert state(run_of(asked, begin=begin, parts=2)) == "equal"


@given(requests(), BEGIN, st.integers(0, 2), st.integers(1, 1000))
def test_anything_beyond_what_was_given_up_is_foreign(
    asked: list[Asked], begin: tuple[int, int, int], which: int, more: int
) -> None:
    """Every try that was given up cost as much as it can have; then there is something more."""
    most = Try(finished=True, generated=MAX_TOKENS)
    # A request in flight at the end may have been tried as often as a part allows.
    worst = [
        replace(
            one, tries=tuple(replace(t, finished=True, generated=MAX_TOKENS) for t in one.tries)
        )
        for one in asked
    ]
    worst = [replace(one, dropped=one.dropped and most) for one in worst]
    spare = [one for one in worst if one.dropped]
    room = [
        len(spare),
        sum(one.prompt for one in spare),
        MAX_TOKENS * len(spare),
    ]
    assert state(run_of(worst, room, begin, parts=2)) == "equal"
    room[which] += more
    assert state(run_of(worst, room, begin, parts=2)) == "more"


@given(requests(), BEGIN, st.integers(0, 2))
def test_one_fewer_than_was_billed_is_missed(
    asked: list[Asked], begin: tuple[int, int, int], which: int
) -> None:
    calm = [replace(one, tries=(), dropped=None) for one in asked]
    lacking = [0, 0, 0]
    lacking[which] = -1
    run = run_of(calm, lacking, begin=[count + 1 for count in begin], parts=2)
    # Where the last part was billed nothing, its counters fell: they began anew.
    last = _names(run.parts[-1].counters[0].answered)
    fell = "not_verified" if any(last) else "equal"
    assert state(run) == ("less" if last[which] > 0 else fell)


def _names(counts: Counts) -> tuple[int, int, int]:
    found = (counts.requests, counts.prompt_tokens, counts.completion_tokens)
    assert None not in found
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("kind", [ErrorKind.REJECTED, ErrorKind.RATE_LIMITED])
def test_what_was_turned_away_leaves_no_room(kind: ErrorKind) -> None:
    asked = [Asked(10, 5, tries=(Try(kind=kind),))]
    assert state(run_of(asked)) == "equal"
    assert state(run_of(asked, (1, 10, 5))) == "more"


def test_a_request_without_an_answer_has_at_most_as_many_tokens_as_the_server_takes() -> None:
    run = run_of([Asked(10, 5), Asked(10, 5, tries=(Try(),))])
    lost = run.responses[1].model_copy(update={"usage": None})
    run = run.model_copy(update={"responses": (run.responses[0], lost)})
    counters = run.parts[0].counters[0]

    def with_end(*counts: int) -> Run:
        changed = counters.model_copy(update={"end": reading(counts)})
        part = run.parts[0].model_copy(update={"counters": (changed,)})
        return run.model_copy(update={"parts": (part,)})

    begin = _names(counters.begin.counts) if counters.begin else (0, 0, 0)
    most = (begin[0] + 3, begin[1] + 20 + 4096, begin[2] + 10 + MAX_TOKENS)
    assert state(with_end(*most)) == "equal"
    assert state(with_end(most[0], most[1] + 1, most[2])) == "more"
    unlimited = with_end(most[0], most[1] + 10**6, most[2])
    unlimited = unlimited.model_copy(update={"epochs": (epoch(max_model_len=None),)})
    assert state(unlimited) == "not_verified"


# --- Servers that count in their own way ----------------------------------------------------------


def test_what_was_computed_again_may_be_counted_again() -> None:
    """vLLM before 0.8 counts the prompt of a preempted request once more."""
    run = run_of([Asked(100, 5)], (0, 100, 0), end={"preemptions": 1})
    assert state(run) == "more"  # it was not preempted in this part, as far as is known
    run = _since_zero(run)
    assert state(run) == "equal"
    (note,) = tallying.notes(run)
    assert note.startswith("run: 1 preemptions")


def _since_zero(run: Run) -> Run:
    """With a beginning that counts preemptions and hits, from zero."""
    counters = run.parts[0].counters[0]
    assert counters.begin is not None
    begin = counters.begin.model_copy(update={"preemptions": 0, "prefix_hits": 0})
    part = run.parts[0].model_copy(
        update={"counters": (counters.model_copy(update={"begin": begin}),)}
    )
    return run.model_copy(update={"parts": (part,)})


def test_what_was_in_the_cache_need_not_be_counted() -> None:
    run = _since_zero(run_of([Asked(100, 5)], (0, -40, 0), end={"prefix_hits": 40}))
    assert state(run) == "equal"
    fewer = _since_zero(run_of([Asked(100, 5)], (0, -41, 0), end={"prefix_hits": 40}))
    assert state(fewer) == "less"
    rate = run_of([Asked(100, 5)], (0, -41, 0), end={"prefix_hit_rate": 0.4})
    assert state(rate) == "equal"


@pytest.mark.parametrize(
    ("launcher", "caching", "said"),
    [
        ("vllm", False, "although caching was off"),
        ("external", False, "which may be rounded otherwise"),
        ("vllm", True, None),
    ],
)
def test_hits_in_a_cache_that_was_switched_off_are_told(
    launcher: str, caching: bool, said: str | None
) -> None:
    run = run_of(
        [Asked(100, 5)],
        end={"prefix_hits": 40},
        epochs=(epoch(launcher=launcher),),
        settings={"prefix_caching": Setting(value=caching, source="flag")},
    )
    found = list(tallying.notes(_since_zero(run)))
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


@pytest.mark.parametrize(
    ("first_seen", "counted", "expected"),
    [
        (WHEN, (2, 20, 10), "equal"),
        (WHEN, (1, 10, 5), "less"),
        # Answered before the new start was noticed: the one before may have given them.
        (LATER, (0, 0, 0), "equal"),
        (LATER, (2, 20, 11), "more"),
    ],
)
def test_a_start_on_the_way_counts_from_zero(
    first_seen: str, counted: tuple[int, int, int], expected: str
) -> None:
    run = run_of([Asked(10, 5), Asked(10, 5)], epochs=(epoch(first_seen=first_seen),))
    fresh = {"begin": None, "fresh": True, "end": reading(counted)}
    counters = run.parts[0].counters[0].model_copy(update=fresh)
    part = run.parts[0].model_copy(update={"counters": (counters,)})
    assert state(run.model_copy(update={"parts": (part,)})) == expected


def test_a_start_that_is_not_later_is_another_server() -> None:
    """Behind one address two servers answer in turn: no counter is about all answers."""
    starts = (1.0, 2.0, 1.0)
    epochs = tuple(epoch(index=i, process_start=s) for i, s in enumerate(starts))
    run = run_of([Asked(10, 5)], (5, 5, 5), epochs=epochs)
    found = tally(run)
    assert found is not None and found.state == "not_verified"
    assert found.detail == "several servers answer at http://127.0.0.1:1/v1"


def test_counters_that_fell_were_started_anew() -> None:
    found = tally(run_of([Asked(10, 5)], (-3, 0, 0)))
    assert found is not None and found.detail == "the counters of start 1 began anew"


def test_an_answer_that_vllm_gave_up_halfway_is_no_success() -> None:
    from flagos_eval.counting import billed

    answer = factories.response(finish_reason="abort")
    assert billed(answer)["requests"] == 0
    assert billed(factories.response(finish_reason="stop"))["requests"] == 1


# --- In a comparison ------------------------------------------------------------------------------


def sides(extra: Sequence[int]) -> tuple[Run, Run]:
    asked = [Asked(10, 5) for _ in range(60)]
    return run_of(asked, name="cuda", id="a"), run_of(asked, extra, name="metax", id="b")


@pytest.mark.parametrize(
    ("extra", "state", "verdict"),
    [
        ((0, 0, 0), "equal", "CONSISTENT"),
        ((2, 20, 10), "differs", "CONSISTENT"),
        ((-1, -10, -5), "differs", "INCONCLUSIVE"),
    ],
)
def test_fewer_counts_than_answers_allow_no_verdict_and_more_are_told(
    extra: tuple[int, int, int], state: str, verdict: str
) -> None:
    policy = inputs(tasks={"sums": {"tier": "critical", "margin": 20}})
    comparison = comparing.compare(*sides(extra), policy)
    (check,) = [c for c in comparison.checks if c.name == "server counters"]
    assert (check.state, check.blocking) == (state, False)
    assert check.baseline == "60 requests, 600 prompt and 300 completion tokens"
    (difference,) = comparison.differences
    assert difference.verdict == verdict and comparison.comparable
    if verdict == "INCONCLUSIVE":
        assert difference.reasons[0].startswith("metax: the server counted 1 request")


def test_a_repetition_that_something_else_answered_allows_no_verdict_either() -> None:
    """A cache repeats itself without any noise."""
    asked = [Asked(10, 5) for _ in range(60)]
    again = run_of(asked, (-1, -10, -5), name="again", id="c")
    policy = inputs(again, tasks={"sums": {"tier": "critical", "margin": 20}})
    (difference,) = comparing.compare(*sides((0, 0, 0)), policy).differences
    assert difference.verdict == "INCONCLUSIVE"
    assert difference.reasons[0].startswith("again: the server counted 1 request")


def test_runs_that_kept_no_counters_are_not_mentioned() -> None:
    one, other = (run.model_copy(update={"parts": ()}) for run in sides((0, 0, 0)))
    assert list(tallying.checks(one, other)) == []
    (check,) = tallying.checks(one, sides((0, 0, 0))[1])
    assert (check.state, check.baseline) == ("not_verified", None)
    assert check.detail == "cuda: the run kept no counters"
