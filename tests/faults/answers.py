"""What a server does wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import protocol_server as ps
from protocol_server import Fault, RequestInfo, Status

from .place import N, Place, Said, question
from .scenario import EVERYTHING, NOTHING, Scenario

AT_ONCE = ("--max-retries", "0")
NOW_AND_THEN = frozenset(range(3, N, 10))
FIVE_PERCENT = frozenset(range(13, N, 20))
ONE = frozenset({31})


def always(numbers: frozenset[int], fault: Fault) -> ps.Faults:
    """These questions fail however often they are asked."""
    return lambda info: fault if question(info.body) in numbers else None


def once(numbers: frozenset[int], fault: Fault) -> ps.Faults:
    """These questions fail when they are asked for the first time."""

    def choose(info: RequestInfo) -> Fault | None:
        return fault if question(info.body) in numbers and info.times_seen == 1 else None

    return choose


def every_answer(fault: Fault) -> ps.Faults:
    """Every question gets it; the probes do not."""
    return lambda info: fault if question(info.body) is not None else None


def faulty(faults: ps.Faults, *more: str) -> Callable[[Place], Said]:
    """A run that meets these faults."""

    def act(place: Place) -> Said:
        place.server.faults = faults
        return place.run(*more)

    return act


def out_of_order(info: RequestInfo) -> Fault | None:
    """Answers overtake each other: which one waits follows from the question."""
    number = question(info.body)
    return ps.Delay(0.01 * (number * 7 % 11)) if number is not None else None


def speaking(place: Place) -> Said:
    """Answers with everything that a text can have."""
    plain = place.server.answer
    odd = "\ud83d \udc00 \x00 \u202e \u2028 \U0001f4a5 e\u0301 \x1b[31m \ufeff"
    place.server.answer = lambda body: plain(body) + ("" if question(body) is None else odd)
    return place.run()


def trickling_description(place: Place) -> Said:
    """What the server says of itself comes a byte at a time, for longer than it may take."""
    place.server.page_speed = 10.0
    return place.run()


def body_limit(info: RequestInfo) -> Fault | None:
    """A limit on the size of a request, as a proxy before a server has."""
    too_large = len(info.raw) > 3000 and question(info.body) is not None
    return Status(413) if too_large else None


def failing(
    name: str,
    cause: str,
    numbers: frozenset[int],
    fault: Fault,
    says: str,
    *,
    fast: bool = False,
) -> Scenario:
    """Questions that fail until the server is mended: the run is saved as incomplete."""
    n = len(numbers)
    return Scenario(
        name,
        cause,
        faulty(always(numbers, fault), *AT_ONCE, "--timeout", "5"),
        5,
        f"INCOMPLETE: {n} of {N} requests failed, more than 0.5 %; most often: {says}",
        range(N - n, N - n + 1),
        fast=fast,
    )


def passing(
    name: str, cause: str, faults: ps.Faults, *more: str, says: str = "Saved run.json"
) -> Scenario:
    """What a run gets over by itself."""
    return Scenario(name, cause, faulty(faults, *more), 0, says, EVERYTHING, again=None)


TRIES = partial(once, NOW_AND_THEN)
SOME = f"the first try of {len(NOW_AND_THEN)} of {N} questions"
SCENARIOS = (
    failing(
        "5 % permanent 500s",
        f"{len(FIVE_PERCENT)} of {N} questions get 500, however often",
        FIVE_PERCENT,
        Status(500),
        "Internal Server Error",
        fast=True,
    ),
    failing(
        "hangs",
        f"{len(ONE)} of {N} questions is accepted and never answered",
        ONE,
        ps.Hang(),
        "no answer within 5 s",
    ),
    passing("reset in the middle of a body", f"RST after 16 bytes, {SOME}", TRIES(ps.Reset(16))),
    passing(
        "slow-loris answers",
        f"100 bytes a second, {SOME}; 2 s allowed",
        TRIES(ps.SlowBody(100)),
        "--timeout",
        "2",
    ),
    Scenario(
        "slow-loris description",
        "the pages that describe the server come at 10 bytes a second",
        trickling_description,
        74,
        "no OpenAI-compatible server at http://server/v1 (no answer from /models)",
        NOTHING,
    ),
    passing(
        "storm of 429",
        "429 with Retry-After, the first two tries of every question",
        lambda info: (
            Status(429, retry_after=0.05)
            if question(info.body) is not None and info.times_seen <= 2
            else None
        ),
        "--max-retries",
        "3",
    ),
    passing(
        "truncated JSON", f"closed after 16 bytes of the body, {SOME}", TRIES(ps.Truncated(16))
    ),
    failing(
        "truncated JSON that is called complete",
        f"half an object with its own length, {len(ONE)} of {N} questions",
        ONE,
        ps.Garbage(b'{"id": "x", "choices": [{"mess'),
        "the reply is not JSON",
    ),
    failing(
        "invalid JSON",
        f"a proxy's page under JSON's type, {len(ONE)} of {N} questions",
        ONE,
        ps.Garbage(),
        "the reply is not JSON",
    ),
    passing(
        "wrong content type",
        "every correct answer is declared as text/html",
        every_answer(ps.WrongContentType()),
    ),
    failing(
        "a page instead of an answer",
        f"status 200 and HTML, {len(ONE)} of {N} questions",
        ONE,
        ps.WrongContentType(data=b"<html>maintenance</html>"),
        "the reply is not JSON",
    ),
    failing(
        "answer of 50 MB",
        f"{len(ONE)} of {N} questions",
        ONE,
        ps.Huge(50 * 2**20),
        "the reply has more than 33554432 bytes",
    ),
    passing("missing usage", "no answer has token counts", every_answer(ps.MissingUsage())),
    failing(
        "log-probabilities that are NaN",
        f"the bare word NaN, {len(ONE)} of {N} questions",
        ONE,
        ps.NanLogprobs(),
        "the reply is not JSON (NaN is not a JSON number)",
    ),
    passing(
        "wrong model name in the reply",
        "every answer names another model",
        every_answer(ps.WrongModel()),
        says=f"NOTE: {N} of {N} answers name another model than tiny: 'another-model'",
    ),
    passing(
        "duplicate answers",
        "every answer has the same id",
        every_answer(ps.DuplicateId()),
        says=f"NOTE: {N - 1} of {N} answers have the id of another answer",
    ),
    passing("shuffled answers", "answers overtake each other", out_of_order),
    Scenario(
        "unicode and surrogates",
        "every answer has lone surrogates, NUL, bidirectional marks, an escape sequence",
        speaking,
        0,
        "Saved",
        EVERYTHING,
        again=None,
    ),
    Scenario(
        "image bigger than the server takes",
        f"413 for a request above 3000 bytes: 1 of {N}",
        faulty(body_limit),
        5,
        f"INCOMPLETE: 1 of {N} requests failed",
        range(N - 1, N),
    ),
)
