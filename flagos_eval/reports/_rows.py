"""The rows that every table shares: the release card's three columns, and what they hide."""

from __future__ import annotations

import unicodedata

from ..records import Comparison, Difference, Status

LEGEND = (
    "delta: points over the paired items, candidate minus reference. lost / gained: paired items "
    "worth less / more on the candidate. no value: failed requests on either side."
)
NO_VERDICT = "No verdict: this version measures differences and does not judge them."


def headers(comparison: Comparison) -> list[str]:
    """Metrics | reference | candidate, then n, paired, delta, lost, gained, failed."""
    names = [inert(comparison.baseline), inert(comparison.candidate)]
    if names[0] == names[1]:
        names = [f"{names[0]} (1)", f"{names[1]} (2)"]
    return ["Metrics", *names, "n", "paired", "delta", "lost", "gained", "no value"]


def rows(comparison: Comparison) -> list[list[str]]:
    """One row a task."""
    return [_row(difference) for difference in comparison.differences]


def _row(difference: Difference) -> list[str]:
    counts = (difference.baseline_counts, difference.candidate_counts)
    failed = [sum(c.get(s, 0) for s in (Status.ERROR, Status.NOT_RUN)) for c in counts]
    return [
        inert(difference.task),
        number(difference.baseline),
        number(difference.candidate),
        str(difference.n),
        str(difference.paired),
        "-" if difference.delta is None else f"{difference.delta:+.2f}",
        str(difference.lost),
        str(difference.gained),
        f"{failed[0]} / {failed[1]}",
    ]


def number(value: float | None) -> str:
    """Two decimals, as release cards print them; ``-`` for what was not measured."""
    return "-" if value is None else f"{value:.2f}"


def statuses(comparison: Comparison) -> list[list[str]]:
    """One row per task and status that occurs on either side."""
    found = []
    for difference in comparison.differences:
        for status in Status:
            counts = [
                c.get(status, 0) for c in (difference.baseline_counts, difference.candidate_counts)
            ]
            if any(counts):
                found.append([inert(difference.task), status.value, *map(str, counts)])
    return found


def comparability(comparison: Comparison) -> str:
    """One sentence on whether both sides were asked the same."""
    differing = [c for c in comparison.checks if c.state == "differs" and c.blocking]
    if differing:
        return "NOT COMPARABLE: " + "; ".join(
            inert(f"{check.name} differ" + (f" ({check.detail})" if check.detail else ""))
            for check in differing
        )
    unverified = [c.name for c in comparison.checks if c.state == "not_verified"]
    if unverified:
        return f"comparable as far as known; not verified: {inert(', '.join(unverified))}"
    return (
        f"comparable: {len(comparison.checks)} checks equal (items, requests, parameters, tokens)"
    )


def inert(text: str) -> str:
    """Foreign text for a terminal or a table: no control characters, which could act on it."""
    return "".join(c if c.isprintable() else _replaced(c) for c in text)


def _replaced(character: str) -> str:
    return " " if unicodedata.category(character) == "Zs" else "�"  # Zs: as the wide Chinese space
