"""(Run, Run) -> `Comparison`: were they asked the same, how do they differ, and does that matter?

Pure: everything that must be read or known (runs, policy, token evidence, the day) is given."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from . import served, tally
from .checks import checks, refuse_shard
from .errors import NotComparable, UsageError
from .policy import LoadedPolicy
from .records import Check, Comparison, Difference, Noise, Run, Side, Tokens
from .verdict import noise, pooled, suite
from .verdict.gate import gate
from .verdict.pairing import pair
from .verdict.task import Evidence, Terms, difference


@dataclass(frozen=True)
class Inputs:
    """What a comparison rests on beside its two runs."""

    policy: LoadedPolicy
    today: datetime.date
    """Waivers end on a day."""
    baseline_again: Sequence[Run] = ()
    """Further runs of the reference, as A/A runs."""
    candidate_again: Sequence[Run] = ()
    tokens: Mapping[str, Tokens] = field(default_factory=dict)
    """Task -> what was found token by token."""
    notes: Sequence[str] = ()
    """What was done to the runs before, as scoring both by one version."""
    sha256: tuple[str | None, str | None] = (None, None)
    """Of the two run files."""


def compare(baseline: Run, candidate: Run, inputs: Inputs) -> Comparison:
    """Pair two runs item by item, and judge them by a policy.

    Raises:
        NotComparable: they have no task in common, or one is a shard.
        UsageError: an A/A run was not asked what its side was asked.
    """
    for run in (baseline, candidate, *inputs.baseline_again, *inputs.candidate_again):
        refuse_shard(run)
    common = [t.name for t in baseline.tasks if t.name in {c.name for c in candidate.tasks}]
    if not common:
        raise NotComparable(
            f"{baseline.name} ran {_names(baseline)} and {candidate.name} ran {_names(candidate)}: "
            "no task in common"
        )
    found = (
        *(check for task in common for check in checks(baseline, candidate, task)),
        *served.checks(baseline, candidate),
        *tally.checks(baseline, candidate),
    )
    alpha = inputs.policy.policy.alpha
    differences = tuple(_difference(baseline, candidate, task, found, inputs) for task in common)
    differences = suite.flagged(differences, alpha)
    differences = suite.waived(differences, inputs.policy.policy, inputs.today)
    comparable = [d.task for d in differences if d.verdict != "NOT_COMPARABLE"]
    whole = pooled.pooled([pair(baseline, candidate, task) for task in comparable], alpha)
    said = suite.declared(baseline, candidate, inputs.policy)
    return Comparison(
        baseline=_side(baseline, inputs.sha256[0]),
        candidate=_side(candidate, inputs.sha256[1]),
        comparable=len(comparable) == len(differences),
        checks=found,
        differences=differences,
        suite=suite.suite(differences, inputs.policy, said, whole, inputs.today),
        notes=(
            *inputs.notes,
            *_notes(baseline, candidate, common),
            *served.notes(baseline, candidate),
            *tally.notes(baseline, candidate),
        ),
        alpha=alpha,
    )


def _difference(
    baseline: Run, candidate: Run, task: str, found: Sequence[Check], inputs: Inputs
) -> Difference:
    policy = inputs.policy.policy
    held = policy.tasks.get(task)
    terms = Terms(
        alpha=policy.alpha,
        max_error_rate=policy.max_error_rate,
        tier=held.tier if held else None,
        margin=held.margin if held else None,
    )
    evidence = Evidence(
        gate(found, task),
        _noise(baseline, candidate, task, inputs),
        inputs.tokens.get(task),
        tally.doubts(baseline, candidate, *inputs.baseline_again, *inputs.candidate_again),
    )
    return difference(baseline, candidate, task, terms, evidence)


def _noise(baseline: Run, candidate: Run, task: str, inputs: Inputs) -> Noise | None:
    for side, again in ((baseline, inputs.baseline_again), (candidate, inputs.candidate_again)):
        for run in again:
            if task not in {record.name for record in run.tasks}:
                continue
            broken = gate(checks(side, run, task), task).differing
            if broken:
                raise UsageError(
                    f"{run.name} is no repetition of {side.name}: {broken[0].name} differ"
                )
    return noise.noise(
        (baseline, *inputs.baseline_again),
        (candidate, *inputs.candidate_again),
        task,
        inputs.policy.policy.alpha,
    )


def _names(run: Run) -> str:
    return ", ".join(task.name for task in run.tasks)


def _side(run: Run, sha256: str | None) -> Side:
    versions = sorted({f"{epoch.launcher} {epoch.version or 'unknown'}" for epoch in run.epochs})
    return Side(
        name=run.name,
        id=run.id,
        sha256=sha256,
        state=run.state,
        phase=run.phase,
        model=run.model,
        server=", ".join(versions)
        or (f"made elsewhere ({run.imported.source})" if run.imported else "unknown"),
        package_version=run.environment.package_version,
    )


def _notes(baseline: Run, candidate: Run, common: list[str]) -> Iterator[str]:
    if baseline.id == candidate.id:
        yield "both files are the same run"
    for run in (baseline, candidate):
        if run.phase == "preview":
            yield f"{run.name} is a preview: it did not ask the whole benchmark"
        if run.state == "incomplete":
            yield f"{run.name} is incomplete: {run.reason}"
        alone = [task.name for task in run.tasks if task.name not in common]
        if alone:
            yield f"only {run.name} ran {', '.join(alone)}"
    shared = {r.server_id for r in baseline.responses if r.server_id} & {
        r.server_id for r in candidate.responses if r.server_id
    }
    if shared and baseline.id != candidate.id:
        yield f"{len(shared)} answers have one server id on both sides: they are the same answers"
    elif baseline.id != candidate.id and (same := _same_start(baseline, candidate)):
        yield f"both sides were answered by the same start of a server ({same})"


def _same_start(baseline: Run, candidate: Run) -> str | None:
    """The start of a server that both runs name, by address and time."""
    starts = [
        {(e.endpoint, e.process_start) for e in run.epochs if e.process_start is not None}
        for run in (baseline, candidate)
    ]
    both = sorted(starts[0] & starts[1])
    return both[0][0] if both else None


def flips(baseline: Run, candidate: Run, task: str) -> list[tuple[str, float, float]]:
    """(sample, value before, value after) of the paired items whose value changed, losses first."""
    changed = [p for p in pair(baseline, candidate, task).valued if p.change]
    ordered = sorted(changed, key=lambda p: (p.change > 0, p.id))
    return [(p.id, p.baseline, p.candidate) for p in ordered]
