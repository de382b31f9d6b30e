"""The rows that every table shares: the release card's three columns, and what they hide."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import JsonValue

from ..inert import inert as inert
from ..records import Check, Comparison, Difference, Span, Status, TaskVerdict

CARD_TASKS = (
    *("charxiv", "cmmmu", "mathverse", "mmmu", "mmmu_pro_standard", "mmmu_pro_vision"),
    *("mm_vet_v2", "mathvision", "cii_bench", "blink", "ocrlite", "ocrlite_zh"),
)
"""The release card's rows in its order."""

NONE = "-"
"""What was not measured, as on release cards."""


@dataclass(frozen=True)
class Row:
    """A task in the table: cells as text that is safe to show, and what they come from."""

    task: str
    baseline: str
    candidate: str
    delta: str
    """As ``+0.33 [-1.20, +1.86]``."""
    margin: str
    verdict: TaskVerdict
    flips: str
    """As ``+31/-28``: paired items worth more / less on the candidate."""
    n: str
    """Paired items, of those expected where some are missing."""
    difference: Difference | None
    """None for a task that the policy names and a run lacks."""


def ordered(comparison: Comparison) -> Comparison:
    """The same with the card's tasks first and in its order."""
    found = {d.task: d for d in comparison.differences}
    return comparison.model_copy(
        update={"differences": tuple(found[name] for name in in_card_order(found))}
    )


def rows(comparison: Comparison) -> list[Row]:
    """One row a task, the card's first and in its order, then the others; what the policy names and
    was not run has a row too."""
    found = {d.task: _row(d) for d in comparison.differences}
    found |= {name: _absent(name) for name in comparison.suite.not_run if name not in found}
    return [found[name] for name in in_card_order(found)]


def in_card_order(tasks: Iterable[str]) -> list[str]:
    """The card's tasks in its order, then the others as they come."""
    places = {name: place for place, name in enumerate(CARD_TASKS)}
    return sorted(tasks, key=lambda name: places.get(name, len(places)))


def _row(difference: Difference) -> Row:
    shown = difference.verdict != "NOT_COMPARABLE"  # what is no evidence is not shown as if it were
    whole = difference.paired == difference.n
    return Row(
        task=inert(difference.task),
        baseline=number(difference.baseline),
        candidate=number(difference.candidate),
        delta=_delta(difference),
        margin=NONE if difference.margin is None else f"±{difference.margin:g}",
        verdict=difference.verdict,
        flips=f"+{difference.gained}/-{difference.lost}" if shown else NONE,
        n=str(difference.n) if whole else f"{difference.paired}/{difference.n}",
        difference=difference,
    )


def _absent(task: str) -> Row:
    return Row(inert(task), NONE, NONE, NONE, NONE, "NOT_RUN", NONE, NONE, None)


def _delta(difference: Difference) -> str:
    if difference.delta is None:
        return NONE
    return f"{difference.delta:+.2f} {span(difference.interval)}".rstrip()


def span(interval: Span | None, digits: int = 2) -> str:
    """As ``[-1.20, +1.86]``; nothing where there is none."""
    return f"[{interval.low:+.{digits}f}, {interval.high:+.{digits}f}]" if interval else ""


def level(comparison: Comparison) -> str:
    """Of the table's intervals, as ``90%``."""
    return f"{100 * (1 - 2 * comparison.alpha):g}%"


def names(comparison: Comparison) -> tuple[str, str]:
    """What the sides are called, told apart where they are called the same."""
    one, other = inert(comparison.baseline.name), inert(comparison.candidate.name)
    return (f"{one} (1)", f"{other} (2)") if one == other else (one, other)


def headers(comparison: Comparison) -> list[str]:
    """Of the table: the card's three columns, then what follows from pairing."""
    one, other = names(comparison)
    return [
        *("Metrics", one, other),
        *(f"delta [{level(comparison)} CI]", "margin", "verdict", "flips", "n"),
    ]


def cells(row: Row) -> list[str]:
    """Of a row, as `headers` names them."""
    verdict = row.verdict.replace("_", " ")
    return [
        *(row.task, row.baseline, row.candidate),
        *(row.delta, row.margin, verdict, row.flips, row.n),
    ]


def legend(comparison: Comparison) -> str:
    """What the columns mean."""
    return (
        "delta: points over the paired items, candidate minus reference, with its "
        f"{level(comparison)} interval. CONSISTENT: the interval is inside the margin; DRIFT: "
        "wholly outside on one side. flips: items worth +more/-less on the candidate. n: paired "
        "items, of those expected where some have no value on a side."
    )


def number(value: float | None, digits: int = 2) -> str:
    """Two decimals, as release cards print them; ``-`` for what was not measured."""
    return NONE if value is None else f"{value:.{digits}f}"


def statuses(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Headers, and one row a task: items that ended in each status that occurs, ``13 / 46``."""
    sides = [(d.baseline_counts, d.candidate_counts) for d in comparison.differences]
    used = [status for status in Status if any(c.get(status) for pair in sides for c in pair)]
    found = [
        [inert(d.task), *(f"{one.get(s, 0)} / {other.get(s, 0)}" for s in used)]
        for d, (one, other) in zip(comparison.differences, sides, strict=True)
    ]
    return ["task", *(status.value.replace("_", " ") for status in used)], found


# --- Checks ---------------------------------------------------------------------------------------


def by_concern(checks: Iterable[Check]) -> list[Check]:
    """What stands against comparing first: blocking differences, then what nobody verified."""
    weights = {"differs": 0, "not_verified": 2, "equal": 4}
    return sorted(checks, key=lambda check: weights[check.state] + (not check.blocking))


_MARKS = {"equal": "=", "differs": "≠", "not_verified": "?"}


def check_grid(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Headers, and one row a task: ``=``, ``≠`` or ``?`` (not verified) for each kind of check."""
    found: dict[str, dict[str, str]] = {}
    for check in comparison.checks:
        if check.task is not None:
            found.setdefault(check.task, {})[kind(check)] = _MARKS[check.state]
    kinds = list(dict.fromkeys(name for marks in found.values() for name in marks))
    rows = [
        [inert(task), *(found[task].get(name, "") for name in kinds)]
        for task in in_card_order(found)
    ]
    return ["task", *map(inert, kinds)], rows


def check_marks(comparison: Comparison) -> dict[str, str]:
    """Task -> how many of its checks are equal, and how many are not: ``6 =, 1 ≠``."""
    found: dict[str, list[str]] = {}
    for check in comparison.checks:
        if check.task is not None:
            found.setdefault(check.task, []).append(_MARKS[check.state])
    return {
        task: ", ".join(f"{marks.count(m)} {m}" for m in _MARKS.values() if m in marks)
        for task, marks in found.items()
    }


def kind(check: Check) -> str:
    """What is checked, without the task's name: ``prompt tokens``."""
    return check.name.removeprefix(f"{check.task}: ")


def comparability(comparison: Comparison) -> str:
    """One sentence on whether both sides were asked the same."""
    differing = [c for c in comparison.checks if c.state == "differs" and c.blocking]
    if differing:
        said = "; ".join(
            inert(f"{check.name} differ" + (f" ({check.detail})" if check.detail else ""))
            for check in differing
        )
        return f"NOT COMPARABLE: {said}"
    unverified = [c.name for c in comparison.checks if c.state == "not_verified" and c.blocking]
    if unverified:
        return f"comparable as far as known; not verified: {inert(', '.join(unverified))}"
    equal = sum(check.state == "equal" for check in comparison.checks)
    said = f"comparable: {equal} checks equal (items, requests, parameters, tokens)"
    aside = [c.name for c in comparison.checks if c.state == "not_verified"]
    return f"{said}; not verified: {inert(', '.join(aside))}" if aside else said


def value(found: JsonValue) -> str:
    """A side's value of a check, as text."""
    if found is None:
        return "not known"
    if isinstance(found, dict):
        return inert(", ".join(f"{key} {value(found[key])}" for key in found))
    return inert(found if isinstance(found, str) else json.dumps(found, ensure_ascii=False))
