"""What a comparison says, in sentences that every format shares; foreign names are inert."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from typing import Final, get_args

from ..records import (
    Bounds,
    Comparison,
    Difference,
    Indicator,
    Noise,
    Side,
    Status,
    TaskVerdict,
    Tokens,
)
from ._rows import NONE, Row, check_marks, inert, names, number, rows, span
from .base import Sides

DECLARED: Final = {
    "both": "both runs recorded this policy before they started",
    "baseline": "only the reference recorded this policy before it started",
    "candidate": "only the candidate recorded this policy before it started",
    "neither": "NO run recorded this policy before it started: it may have been chosen afterwards",
}
_ORDER: Final[tuple[TaskVerdict, ...]] = get_args(TaskVerdict)
_NEXT: Final = {
    "NOT_COMPARABLE": "make the sides equal in this and run again; no difference is shown, for it "
    "would not be evidence",
    "INVALID_RUN": "resume the run (the same command) until no request is without an answer; one "
    "whose server did not use the operators that were asked for is run again, to another file",
    "NOT_RUN": "named by the policy and not compared: run on both sides, or declare another policy",
}
EXTERNAL: Final = (
    "Not part of this comparison: whether the reference itself scores what its model card says. "
    "Two sides can agree and both be wrong."
)


def headline(comparison: Comparison) -> str:
    """The verdict, and how many tasks came out how."""
    return f"{comparison.suite.verdict}: {tally(comparison)}"


def tally(comparison: Comparison) -> str:
    """As ``5 CONSISTENT, 1 DRIFT, 2 NOT RUN``."""
    counts = Counter(row.verdict for row in rows(comparison))
    said = (f"{counts[name]} {name.replace('_', ' ')}" for name in _ORDER if counts[name])
    return ", ".join(said) or "no task"


def policy(comparison: Comparison, digits: int = 64) -> str:
    """Which policy decided, and whether it was declared beforehand."""
    suite = comparison.suite
    digest = suite.policy_sha256[:digits] + ("…" if digits < 64 else "")
    said = f"policy {inert(suite.policy)} (sha256 {digest}), alpha {comparison.alpha:g}"
    return f"{said}; {DECLARED[suite.declared]}"


def side(found: Side) -> str:
    """Who answered, and in which file that is."""
    digest = f", run file sha256 {found.sha256}" if found.sha256 else ", run file not hashed"
    return inert(
        f"model {found.model}, {found.server}; {found.state}, {found.phase} run {found.id} by "
        f"flagos-eval {found.package_version}{digest}"
    )


def pooled(comparison: Comparison) -> str | None:
    """All tasks together, with the warning that it decides nothing."""
    found = comparison.suite.pooled
    if found is None:
        return None
    alike = (
        "the tasks do not share one difference"
        if found.q_p_value < 0.05
        else "the tasks may share one difference"
    )
    return (
        f"Pooled over {found.items} items ({found.clusters} independent): {found.delta:+.2f} "
        f"{span(found.interval)}; {alike} (Cochran's Q {found.q:.1f} on {found.q_df}, "
        f"p {p_value(found.q_p_value)}). It overrides no task."
    )


def p_value(p: float) -> str:
    """As ``0.012`` or ``< 0.001``."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def suite_reasons(comparison: Comparison) -> list[str]:
    """The policy's reasons that no row of the table repeats."""
    tasks = tuple(f"{row.task}: {row.verdict}" for row in rows(comparison))
    said = map(inert, comparison.suite.reasons)
    return [reason for reason in said if not reason.startswith(tasks)]


# --- Why a task is not consistent -----------------------------------------------------------------


@dataclass(frozen=True)
class Doubt:
    """What stands against a task, or against several of which there is nothing else to say."""

    tasks: str
    verdict: TaskVerdict
    reasons: list[str]


def doubts(comparison: Comparison) -> list[Doubt]:
    """One entry a task that is not consistent, or is flagged or waived; those that were not run
    share the last one."""
    shown = rows(comparison)
    found = [
        Doubt(row.task, row.verdict, why(row))
        for row in shown
        if row.difference is not None
        and (row.verdict != "CONSISTENT" or row.difference.flags or row.difference.waived)
    ]
    absent = [row.task for row in shown if row.difference is None]
    if absent:
        found.append(Doubt(", ".join(absent), "NOT_RUN", [_NEXT["NOT_RUN"]]))
    return found


def why(row: Row) -> list[str]:
    """Sentences: reasons, what the difference consists of, flags, waivers and the next step."""
    found = row.difference
    if found is None:
        return [_NEXT["NOT_RUN"]]
    said = [inert(reason) for reason in found.reasons]
    if found.verdict in ("DRIFT", "INCONCLUSIVE"):
        said += _cause(found)
    said += (flag(found, name) for name in found.flags)
    said += (inert(waiver) for waiver in found.waived)
    if found.verdict == "DRIFT":
        also = "a gain is drift too: " if (found.delta or 0) > 0 else ""
        said.append(f"{also}read the answers that changed (report -o page.html, or show --flips)")
    if found.verdict in _NEXT:
        said.append(_NEXT[found.verdict])
    return said + _settling(found)


def _settling(found: Difference) -> list[str]:
    """What would settle an inconclusive task. Passes are named only where what varies between them
    was measured: at temperature 0 most flips are the same in every pass."""
    said = []
    if found.needed_items is not None:
        said.append(f"about {found.needed_items} items would settle it, if it goes on as it began")
    if found.needed_passes is not None:
        said.append(f"about {found.needed_passes} passes on each side would settle it")
    elif said:
        said.append("no number of passes over the same items is known to")
    return said


def _cause(found: Difference) -> list[str]:
    """Whether the difference goes away among answers that both sides finished."""
    if found.delta is None or found.both_ended is None or found.both_ended_n == found.paired:
        return []
    said = (
        f"{found.both_ended:+.2f} among the {found.both_ended_n} pairs in which both sides gave an "
        "answer and stopped by themselves"
    )
    if 3 * abs(found.both_ended) < abs(found.delta):
        said += ": most of the difference is in the form or length of answers"
    return [said]


def flag(found: Difference, name: str) -> str:
    """A flag in words, with its direction."""
    if name == "CHANGED":
        way = "gained" if (found.delta or 0) > 0 else "lost"
        p = NONE if found.p_holm is None else p_value(found.p_holm)
        return f"CHANGED: the candidate {way}, whatever the margin says (p {p}, Holm)"
    return f"{name}: tokens or flips differ by more than a side differs from itself (Holm)"


# --- Noise, health and tokens ---------------------------------------------------------------------


def noise(found: Noise | None) -> str:
    """The A/A figures of a task."""
    if found is None:
        return "not measured: no A/A runs were given"
    return (
        f"{found.rate:.2f}% of {found.items} items flip when a side is run again "
        f"({span(found.rate_interval).replace('+', '')}, {found.passes} pairs of passes); "
        f"{found.excess:+.2f} points more between the sides {span(found.excess_interval)}, "
        f"p {p_value(found.p_value)}"
    )


def counts(found: Difference, *wanted: Status) -> str:
    """Of these statuses, as ``2 / 5``: reference / candidate."""
    sides = (found.baseline_counts, found.candidate_counts)
    one, other = (sum(side.get(status, 0) for status in wanted) for side in sides)
    return f"{one} / {other}"


def indicator(found: Indicator) -> str:
    """A leading indicator with its interval."""
    return (
        f"{found.name} {found.baseline} / {found.candidate} of {found.n}: {found.delta:+.2f} "
        f"{span(found.interval)}, p {p_value(found.p_value)}"
    )


def bounds(found: Bounds) -> str:
    """How far the answers that are missing could move the difference."""
    then = "the verdict would move" if found.verdict_moves else "the verdict stands"
    return (
        f"{found.missing} items have no value on a side; with them the difference is anywhere from "
        f"{found.low:+.2f} to {found.high:+.2f}: {then}"
    )


HEALTH = (
    *("task", "checks", "no value", "unparsed", "cut"),
    *("length", "A/A flips", "excess", "near ties"),
)
_MEANINGS = {
    "checks": "= equal, ≠ different, ? not verified",
    "no value": "no answer, or none that could be judged, reference / candidate",
    "cut": "at the token limit",
    "length": "completion tokens, candidate over reference",
    "A/A flips": "items that change when a side is run again",
    "excess": "points more between the sides",
    "near ties": "first divergences at which the sides' choices were about as likely",
}


def health_legend(shown: Container[str] = HEALTH) -> str:
    """What the columns mean."""
    said = (f"{name}: {meaning}" for name, meaning in _MEANINGS.items() if name in shown)
    return ". ".join(said) + "."


_NO_VALUE = (
    *(Status.ERROR, Status.NOT_RUN, Status.JUDGE_FAILED),
    *(Status.UNJUDGED, Status.DROPPED, Status.UNSCORED),
)


def health(comparison: Comparison) -> list[list[str]]:
    """One row a task, as `HEALTH` names the columns."""
    marks = check_marks(comparison)
    return [
        [row.task, marks.get(row.difference.task, NONE), *_health(row.difference)]
        for row in rows(comparison)
        if row.difference is not None
    ]


def _health(found: Difference) -> list[str]:
    aa = found.noise
    return [
        counts(found, *_NO_VALUE),
        counts(found, Status.UNPARSED, Status.EMPTY, Status.REFUSED),
        counts(found, Status.TRUNCATED),
        number(found.length_ratio),
        NONE if aa is None else f"{aa.rate:.1f}%",
        NONE if aa is None else f"{aa.excess:+.1f} {span(aa.excess_interval, 1)}",
        near_ties(found.tokens),
    ]


def near_ties(found: Tokens | None) -> str:
    """As ``12 of 14``."""
    return NONE if found is None else f"{found.near_ties} of {found.diverged}"


def tokens(found: Tokens) -> str:
    """What was seen token by token; the reading of it comes first."""
    origin = "calibrated on A/A runs" if found.calibrated else "a default, not calibrated"
    where = "" if found.median_divergence is None else f", at token {found.median_divergence:g}"
    return inert(
        f"{found.reading} {found.same_text} of {found.pairs} texts are the same; {found.diverged} "
        f"diverge{where} (median), {found.near_ties} of them at near ties (threshold "
        f"{found.threshold:g} nats, {origin}). Over {found.compared} common tokens: mean "
        f"difference {found.mean_difference:+.4f} {span(found.mean_interval, 4)}, mean absolute "
        f"{found.mean_absolute:.4f}, 99th percentile {found.p99_absolute:.4f} nats."
    )


# --- Again ----------------------------------------------------------------------------------------


def reproduce(comparison: Comparison, sides: Sides | None = None) -> str:
    """The command that makes this comparison again, with the names of the run files if known."""
    one, other = comparison.baseline.name, comparison.candidate.name
    if sides is not None:
        one, other = str(sides.baseline.path), str(sides.candidate.path)
    words = ("flagos-eval", "compare", one, other, "--policy", comparison.suite.policy_source)
    return inert(shlex.join(words))


def title(comparison: Comparison) -> str:
    """What was compared with what."""
    one, other = names(comparison)
    return f"{other} against {one}"
