"""One task on both sides -> its `Difference`, with a verdict and the reasons for it.

The rule, against a two-sided margin that was declared beforehand: CONSISTENT if the 90 % interval
is inside it, DRIFT if it is wholly outside on one side, INCONCLUSIVE otherwise. Everything that
makes the numbers less than they seem (answers that are missing, checks that nothing verified, a
reference that does not agree with itself) can only take a verdict back to INCONCLUSIVE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from ..records import (
    Bounds,
    Difference,
    GroupDifference,
    Noise,
    Run,
    Status,
    TaskVerdict,
    Tokens,
)
from ..stats import settle
from ..stats.binary import Table, mcnemar
from ..stats.equivalence import Position, position
from ..stats.paired import Paired, Withheld
from ..stats.repeats import Components, components
from . import indicators as leading
from .estimate import Design, as_span, bounds, estimate
from .gate import Gate
from .pairing import Pairs, Valued, by_repeat, pair

UNEQUAL_ERRORS = 0.01
"""Exact p below which one side's requests failed more often than the other's."""

_WITHHELD = {
    Withheld.FEW_CLUSTERS: "fewer than 30 independent items with graded values: no interval holds",
    Withheld.NO_VARIANCE: "no graded value differs between the sides: they do not say how far "
    "others could",
    Withheld.LONE_CLUSTER: "a group consists of one cluster: it shows no variation",
}


@dataclass(frozen=True)
class Terms:
    """What a task is held to."""

    alpha: float
    max_error_rate: float
    tier: str | None
    margin: float | None
    """Points; None where the policy does not name the task."""


@dataclass(frozen=True)
class Evidence:
    """What was found out about a task beside its values."""

    gate: Gate
    noise: Noise | None = None
    tokens: Tokens | None = None
    doubts: tuple[str, ...] = ()
    """About the runs as a whole: why no verdict can rest on them."""


def difference(
    baseline: Run, candidate: Run, task: str, terms: Terms, evidence: Evidence
) -> Difference:
    """The task's entry in a comparison.

    Flags and Holm's correction need all tasks, and are added by ``suite.flagged``.

    Raises:
        KeyError: a run lacks the task.
    """
    pairs = pair(baseline, candidate, task)
    before, after = baseline.result(task), candidate.result(task)
    metric = before.metrics[0]
    shown = _shown(baseline, candidate, pairs, terms, evidence)
    return Difference(
        task=task,
        metric=metric.name,
        scorer=before.scorer,
        n=len(pairs.items),
        paired=len(pairs.valued),
        clusters=len({p.cluster for p in pairs.valued}),
        baseline=metric.value,
        candidate=next((m.value for m in after.metrics if m.name == metric.name), None),
        lost=sum(p.change < 0 for p in pairs.valued),
        gained=sum(p.change > 0 for p in pairs.valued),
        tier=terms.tier,
        margin=terms.margin,
        indicators=leading.indicators(baseline, candidate, task),
        length_ratio=leading.length_ratio(baseline, candidate, task),
        noise=evidence.noise,
        tokens=evidence.tokens,
        baseline_counts=before.counts,
        candidate_counts=after.counts,
        **shown,
    )


def _shown(
    baseline: Run, candidate: Run, pairs: Pairs, terms: Terms, evidence: Evidence
) -> dict[str, object]:
    """The fields that are evidence, and so stay empty where the sides cannot be compared."""
    if not evidence.gate.comparable:
        names = [_sentence(c.name, c.detail) for c in evidence.gate.differing]
        return {"delta": None, "verdict": "NOT_COMPARABLE", "reasons": tuple(names)}
    design = design_of(baseline, candidate, pairs.task)
    found = estimate(pairs.valued, design, terms.alpha) if pairs.valued else None
    edges = bounds(pairs, design, terms.alpha, terms.margin) if pairs.valued else None
    verdict, reasons = _decide(baseline, candidate, pairs, found, edges, terms, evidence)
    fine = leading.ended(baseline, pairs.task) & leading.ended(candidate, pairs.task)
    changes = [p.change for p in pairs.valued if p.id in fine]
    return {
        "delta": 100 * found.delta if found else None,
        "interval": as_span(found) if found else None,
        "p_value": found.p_value if found else None,
        "verdict": verdict,
        "reasons": reasons,
        "bounds": edges,
        **_settling(baseline, candidate, pairs, design, found, verdict, terms),
        "both_ended": 100 * fmean(changes) if changes else None,
        "both_ended_n": len(changes),
        "groups": _groups(pairs.valued),
    }


def _sentence(name: str, detail: str | None) -> str:
    return f"{name} differ: {detail}" if detail else f"{name} differ"


def design_of(baseline: Run, candidate: Run, task: str) -> Design:
    """What kind of values a task has on both sides."""
    sides = [by_repeat(run, task) for run in (baseline, candidate)]
    known = [v for side in sides for found in side.values() for v in found if v is not None]
    return Design(
        binary=all(value in (0, 1) for value in known),
        repeats=min(run.task(task).repeats for run in (baseline, candidate)),
        of_groups=baseline.result(task).metrics[0].of_groups,
    )


# --- The rule -------------------------------------------------------------------------------------

_Decision = tuple[TaskVerdict, tuple[str, ...]]


def _decide(
    baseline: Run,
    candidate: Run,
    pairs: Pairs,
    found: Paired | None,
    edges: Bounds | None,
    terms: Terms,
    evidence: Evidence,
) -> _Decision:
    invalid = [f"{run.name}: {why}" for run in (baseline, candidate) for why in run.invalid]
    if invalid:
        return "INVALID_RUN", tuple(invalid)
    waiting = [
        run.result(pairs.task).counts.get(Status.UNJUDGED, 0) for run in (baseline, candidate)
    ]
    if any(waiting):
        said = f"{waiting[0]} and {waiting[1]} answers wait for a judge"
        return "INCONCLUSIVE", (f"{said}: flagos-eval score RUN --judge-base-url ...",)
    if found is None:
        return "INVALID_RUN", ("no item has a value on both sides",)
    broken = _broken(baseline, candidate, pairs.task, terms)
    if broken is not None:
        return broken
    if found.withheld is not None:
        return "INCONCLUSIVE", (_WITHHELD[found.withheld],)
    if terms.margin is None:
        return "INCONCLUSIVE", ("the policy declares no margin for this task",)
    place = position(found.interval, terms.margin / 100)
    doubts = tuple(_doubts(baseline, candidate, place, edges, terms.margin, evidence))
    if place is Position.UNDECIDED:
        return "INCONCLUSIVE", (_undecided(found, terms.margin), *doubts)
    if doubts:
        return "INCONCLUSIVE", doubts
    assert found.interval is not None
    ends = f"{100 * found.interval.low:+.2f} to {100 * found.interval.high:+.2f}"
    if place is Position.INSIDE:
        return "CONSISTENT", (f"the interval {ends} is inside ±{terms.margin:g} points",)
    way = "above" if place is Position.ABOVE else "below"
    return "DRIFT", (f"the interval {ends} is wholly {way} ±{terms.margin:g} points",)


def _broken(baseline: Run, candidate: Run, task: str, terms: Terms) -> _Decision | None:
    """Too many requests without an answer, or more on one side than on the other."""
    failed = [_failed(run, task) for run in (baseline, candidate)]
    reasons: list[str] = []
    for run, items in zip((baseline, candidate), failed, strict=True):
        rate = sum(items.values()) / len(items)
        if rate > terms.max_error_rate:
            reasons.append(f"{100 * rate:.2f} % of {run.name}'s requests have no answer")
    both = sorted(failed[0].keys() & failed[1].keys())
    lost = sum(failed[0][id] and not failed[1][id] for id in both)
    gained = sum(failed[1][id] and not failed[0][id] for id in both)
    if both and mcnemar(Table(n=len(both), gained=gained, lost=lost)) < UNEQUAL_ERRORS:
        reasons.append(f"requests failed unequally: {lost} on one side only, {gained} on the other")
    if not reasons:
        return None
    if "incomplete" in (baseline.state, candidate.state):
        return "INCONCLUSIVE", (*reasons, "a run is incomplete: the same command resumes it")
    return "INVALID_RUN", tuple(reasons)


def _failed(run: Run, task: str) -> dict[str, bool]:
    missing = (Status.ERROR, Status.NOT_RUN)
    found: dict[str, bool] = {}
    result = run.result(task)
    for score in run.scores:
        if (score.task, score.scorer, score.scorer_version) == (
            task,
            result.scorer,
            result.scorer_version,
        ):
            found[score.sample_id] = found.get(score.sample_id, False) or score.status in missing
    return found


def _doubts(
    baseline: Run,
    candidate: Run,
    place: Position,
    edges: Bounds | None,
    margin: float,
    evidence: Evidence,
) -> Sequence[str]:
    """Why a verdict that the interval would give is not given."""
    found = list(evidence.doubts)
    unverified = evidence.gate.unverified
    if unverified:
        found.append("not verified: " + ", ".join(check.name for check in unverified))
    if edges is not None and edges.verdict_moves:
        found.append(
            f"{edges.missing} items have no value on a side; with them the difference is anywhere "
            f"from {edges.low:+.2f} to {edges.high:+.2f}"
        )
    noise = evidence.noise
    if noise is not None and (
        noise.delta_interval.low < -margin or noise.delta_interval.high > margin
    ):
        found.append(
            f"a side differs from itself by {noise.delta_interval.low:+.2f} to "
            f"{noise.delta_interval.high:+.2f} points: fix the reference first"
        )
    if place is Position.INSIDE and "preview" in (baseline.phase, candidate.phase):
        found.append("a preview: only part of the benchmark was asked")
    return found


def _undecided(found: Paired, margin: float) -> str:
    assert found.interval is not None
    ends = f"{100 * found.interval.low:+.2f} to {100 * found.interval.high:+.2f}"
    return f"the interval {ends} is neither inside nor outside ±{margin:g} points"


# --- What would settle it -------------------------------------------------------------------------


def _settling(
    baseline: Run,
    candidate: Run,
    pairs: Pairs,
    design: Design,
    found: Paired | None,
    verdict: TaskVerdict,
    terms: Terms,
) -> dict[str, int | None]:
    """Items or passes that would settle an inconclusive task."""
    if verdict != "INCONCLUSIVE" or found is None or found.interval is None:
        return {}
    if terms.margin is None or position(found.interval, terms.margin / 100) is not (
        Position.UNDECIDED
    ):
        return {}
    margin = terms.margin / 100
    needed = settle.items(found.delta, found.interval, found.n, margin)
    passes = None
    if design.repeats > 1 and not design.of_groups:
        found_passes = settle.passes(found.delta, _components(baseline, candidate, pairs), margin)
        passes = found_passes.passes
    return {"needed_items": needed, "needed_passes": passes}


def _components(baseline: Run, candidate: Run, pairs: Pairs) -> Components:
    clusters = [p.cluster for p in pairs.valued]
    rows = []
    for run in (baseline, candidate):
        table = by_repeat(run, pairs.task)
        columns = [[v for v in table[p.id] if v is not None] for p in pairs.valued]
        rows.append(list(zip(*columns, strict=True)))
    return components(rows[0], rows[1], clusters)


def _groups(items: Sequence[Valued]) -> tuple[GroupDifference, ...]:
    """Each stratum on its own, for the eye: no interval, an uncorrected p."""
    strata: dict[str, list[Valued]] = {}
    for item in items:
        if item.stratum is not None:
            strata.setdefault(item.stratum, []).append(item)
    if len(strata) < 2:
        return ()
    found = []
    for name in sorted(strata):
        members = strata[name]
        lost, gained = sum(p.change < 0 for p in members), sum(p.change > 0 for p in members)
        before = fmean(p.baseline for p in members)
        after = fmean(p.candidate for p in members)
        found.append(
            GroupDifference(
                name=name,
                n=len(members),
                baseline=100 * before,
                candidate=100 * after,
                delta=100 * (after - before),
                lost=lost,
                gained=gained,
                p_value=mcnemar(Table(n=len(members), gained=gained, lost=lost)),
            )
        )
    return tuple(found)
