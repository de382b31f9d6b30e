"""What the null server counts tells a queue that stayed full from one that ran dry."""

from __future__ import annotations

import pytest

from benchmarks.null_server import Counts


def full(counts: Counts, n: int) -> Counts:
    """`n` requests, of which 32 are in flight from there on."""
    for _ in range(n):
        if counts.in_flight == 32:
            counts.ended()
        counts.arrived(1)
    return counts


def drained(counts: Counts) -> Counts:
    while counts.in_flight:
        counts.ended()
    return counts


def test_a_queue_that_stays_full_never_has_fewer_than_it_is_counted_from() -> None:
    page = drained(full(Counts(), 400)).page()
    assert (page["lowest_in_flight"], page["requests_below_half"]) == (29, 0)


def test_a_queue_that_runs_dry_shows() -> None:
    page = drained(full(drained(full(Counts(), 200)), 200)).page()
    assert (page["lowest_in_flight"], page["requests_below_half"]) == (0, 16)


@pytest.mark.parametrize("n", [0, 1])
def test_hardly_any_requests_are_counted_too(n: int) -> None:
    assert full(Counts(), n).page()["requests"] == n
