"""Before a run: what the policy's margins ask of it, and whether a true port would pass.

Pure. A *true port* is the same model: its difference is 0, and it flips items as often one way as
the other. How often is either given, or measured between runs of the reference itself; then it is
known too which part of the flips varies from pass to pass, and only that part repeats can shrink.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .errors import UsageError
from .planning_noise import Measured
from .policy import Tier
from .records import Record, Sha256, Span
from .stats import power, settle
from .stats.interval import Interval, normal_critical
from .stats.repeats import Components

RATES = (0.01, 0.02, 0.05, 0.08, 0.10)
"""Flip rates to show a policy at, while nobody has measured one."""
ASSUMED = 0.08
"""Taken where no rate is given: near what bf16 against fp32 flips, and a guess."""
STRICT = 0.95
MOST_ITEMS = 200_000
"""More than any benchmark has."""

Origin = Literal["given", "measured", "assumed"]
Help = Literal["not needed", "yes", "no", "not measured"]


@dataclass(frozen=True)
class Flips:
    """How often a true port is expected to flip an item."""

    rate: float
    origin: Origin
    again: Measured | None = None
    """What the reference does to itself: the part of `rate` that repeats can shrink. None: it was
    not measured, and all flips are taken as fixed."""


@dataclass(frozen=True)
class Design:
    """One task as it is to be run."""

    task: str
    n: int
    margin: float
    """Points."""
    tier: Tier | None = None
    waived: bool = False
    """Whether the policy accepts INCONCLUSIVE."""
    flips: Flips | None = None
    """None: nothing is known, and nothing is promised."""
    seconds: float | None = None
    """Of the server's time for one request."""


@dataclass(frozen=True)
class Terms:
    """What all tasks are planned by."""

    alpha: float = 0.05
    power: float = 0.80
    repeat: int = 1
    """Passes on each side."""


class TaskPlan(Record):
    """What one task's design can show."""

    task: str
    n: int
    tier: Tier | None
    margin: float
    """Points."""
    flips: float | None = None
    """Percent of the items that a true port is expected to flip."""
    flips_from: Origin | None = None
    again: float | None = None
    """Percent that flip when the reference is run again."""
    again_interval: Span | None = None
    """Of it, in percent."""
    within_variance: float | None = None
    """Variance of an item's value from pass to pass, values 0..1, averaged over the items."""
    design_effect: float = 1.0
    consistent: float | None = None
    """Probability that a true port is CONSISTENT."""
    false_drift: float | None = None
    """Probability that it is called DRIFT."""
    passes_policy: float | None = None
    """Probability that it meets what the policy asks; None where the task does not decide."""
    needed_passes: int | None = None
    """Passes on each side with which `consistent` reaches the power, for these items; None: no
    number does."""
    repeats_help: Help | None = None
    """``not measured``: every flip is taken as fixed, as most are at temperature 0."""
    least_half_width: float | None = None
    """Points: half the interval that is left however often both sides are asked."""
    needed_items: int | None = None
    """Items with which one pass would do; None: more than 200,000."""
    drift_at_power: float | None = None
    """Points: the smallest true difference that is called DRIFT with the power asked for."""
    drift_at_95: float | None = None
    """The same with probability 0.95."""
    hours: float | None = None
    """Of one side, all passes."""


class Joint(Record):
    """The probability that a true port passes the whole policy."""

    independent: float
    """If tasks do not hang together."""
    least: float
    """Whatever their dependence."""
    most: float
    flips: float | None = None
    """Percent, the same for each task; None: each task's own."""


class Plan(Record):
    """What a policy asks of a run, and what it can be expected to show."""

    policy: str | None = None
    """Its name; None where the margins were given."""
    policy_sha256: Sha256 | None = None
    alpha: float
    power: float
    repeat: int
    tasks: tuple[TaskPlan, ...]
    joint: Joint | None = None
    """None where no task decides, or a deciding one's flips are not known."""
    at_other_rates: tuple[Joint, ...] = ()
    hours: float | None = None
    """Of one side, all tasks and passes; None where a task's are not known."""
    pace: str | None = None
    """Where the hours come from."""
    notes: tuple[str, ...] = ()


# --- What follows ---------------------------------------------------------------------------------


def plan_task(design: Design, terms: Terms) -> TaskPlan:
    """What a task of this size and margin can show.

    Raises:
        UsageError: a margin of 100 points or more, which everything is inside of, no items, or more
            than 200,000.
    """
    if not (0 < design.margin < 100 and 1 <= design.n <= MOST_ITEMS):
        raise UsageError(
            f"{design.task}: {design.n} items and a margin of {design.margin:g} points"
        )
    hours = None if design.seconds is None else design.n * terms.repeat * design.seconds / 3600
    bare = TaskPlan(
        task=design.task, n=design.n, tier=design.tier, margin=design.margin, hours=hours
    )
    if design.flips is None:
        return bare
    return bare.model_copy(update=_expected(design, design.flips, terms))


def _expected(design: Design, flips: Flips, terms: Terms) -> dict[str, object]:
    margin, level, again = design.margin / 100, 1 - 2 * terms.alpha, flips.again
    parts = _components(design.n, flips)
    rate, effect = _variance(design, flips, terms)
    found = power.outcomes(design.n, margin, rate, confidence=level, design_effect=effect)
    repeats = settle.passes(0.0, parts, margin, confidence=level, power=terms.power)
    drifts = [
        power.detectable_drift(
            design.n, margin, rate, power=wanted, confidence=level, design_effect=effect
        )
        for wanted in (terms.power, STRICT)
    ]
    clustering = again.design_effect if again else 1.0
    return {
        "flips": 100 * rate,
        "flips_from": flips.origin,
        "again": 100 * again.rate if again else None,
        "again_interval": _percent(again.interval) if again and again.interval else None,
        "within_variance": again.rate / 2 if again else None,
        "design_effect": clustering,
        "consistent": found.inside,
        "false_drift": found.above + found.below,
        "passes_policy": _passes(design, found),
        "needed_passes": repeats.passes,
        "repeats_help": _help(repeats.passes, again is not None),
        "least_half_width": 100 * repeats.least_half_width,
        "needed_items": _needed(margin, rate, clustering, terms),
        "drift_at_power": _points(drifts[0]),
        "drift_at_95": _points(drifts[1]),
    }


def _needed(margin: float, rate: float, effect: float, terms: Terms) -> int | None:
    level = 1 - 2 * terms.alpha
    # The exact search takes minutes where it ends in millions; the normal formula is near by then.
    z = normal_critical(level) + normal_critical(terms.power)
    if rate * (z / margin) ** 2 * effect > MOST_ITEMS:
        return None
    return power.required_items(
        margin, rate, power=terms.power, confidence=level, design_effect=effect
    )


def _components(n: int, flips: Flips) -> Components:
    """The variance of a true port's difference: none of it is systematic, and what the reference
    does not do to itself stays however often both are asked."""
    run = flips.again.rate if flips.again else 0.0
    effect = flips.again.design_effect if flips.again else 1.0
    fixed = max(0.0, flips.rate - run)
    return Components(n=max(1, int(n / effect)), passes=1, fixed=fixed, run=run)


_NO_FLIPS = 1e-12
"""A rate below this is none: far less than one flip in the largest benchmark."""


def _variance(design: Design, flips: Flips, terms: Terms) -> tuple[float, float]:
    """The rate of flips between single passes, and how much less or more than so many independent
    items the design is worth: shared images take away, repeats add."""
    parts = _components(design.n, flips)
    clustering = flips.again.design_effect if flips.again else 1.0
    whole = parts.fixed + parts.run
    if whole < _NO_FLIPS:
        return 0.0, clustering
    return min(1.0, whole), (parts.fixed + parts.run / terms.repeat) / whole * clustering


def _passes(design: Design, found: power.Outcomes) -> float | None:
    if design.tier in (None, "advisory"):
        return None
    if design.tier == "supporting" and design.waived:
        return 1.0 - found.above - found.below
    return found.inside


def _help(passes: int | None, measured: bool) -> Help:
    if passes == 1:
        return "not needed"
    if not measured:
        return "not measured"
    return "no" if passes is None else "yes"


def _percent(interval: Interval) -> Span:
    return Span(
        low=100 * interval.low, high=100 * interval.high, level=interval.confidence, method="Wilson"
    )


def _points(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


# --- The whole policy -----------------------------------------------------------------------------


def plan(designs: Sequence[Design], terms: Terms, *, rates: Sequence[float] = ()) -> Plan:
    """Every task's plan, and the probability that a true port passes all that decide.

    Args:
        designs: The tasks.
        terms: What all are planned by.
        rates: Further flip rates to give the joint probability at, the same for every task.

    Raises:
        UsageError: no tasks, or one whose margin or number of items cannot be planned with.
    """
    if not designs:
        raise UsageError("no task to plan")
    tasks = tuple(plan_task(design, terms) for design in designs)
    deciding = [design for design in designs if _decides(design)]
    others = [_joint([_chance(_at(d, rate), terms) for d in deciding], rate) for rate in rates]
    hours = [task.hours for task in tasks if task.hours is not None]
    return Plan(
        alpha=terms.alpha,
        power=terms.power,
        repeat=terms.repeat,
        tasks=tasks,
        joint=_joint([t.passes_policy for t in tasks if t.tier not in (None, "advisory")], None),
        at_other_rates=tuple(joint for joint in others if joint is not None),
        hours=sum(hours) if len(hours) == len(tasks) else None,
    )


def _decides(design: Design) -> bool:
    return design.tier not in (None, "advisory")


def _at(design: Design, rate: float) -> Design:
    again = design.flips.again if design.flips else None
    return replace(design, flips=Flips(rate, "assumed", again))


def _chance(design: Design, terms: Terms) -> float | None:
    """Of a true port to meet what the policy asks of this task."""
    assert design.flips is not None
    rate, effect = _variance(design, design.flips, terms)
    found = power.outcomes(
        design.n, design.margin / 100, rate, confidence=1 - 2 * terms.alpha, design_effect=effect
    )
    return _passes(design, found)


def _joint(chances: Sequence[float | None], rate: float | None) -> Joint | None:
    known = [chance for chance in chances if chance is not None]
    if not known or len(known) < len(chances):
        return None
    found = power.joint(known)
    return Joint(
        independent=found.independent,
        least=found.least,
        most=found.most,
        flips=None if rate is None else 100 * rate,
    )
