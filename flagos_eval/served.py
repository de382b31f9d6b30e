"""Which models and machines answered, as far as two runs say: `Check`s and notes. Pure.

None of it forbids a comparison. A port may serve quantised or converted weights, and runs on
another machine by intention; what must be equal is what was asked, and prompt tokens, which a
different tokenizer, template or image processor changes, are checked for themselves. But a reader
has to see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import JsonValue

from .records import Check, Run
from .weights import kind

_SHOWN = 4


def checks(baseline: Run, candidate: Run) -> Iterator[Check]:
    """Of the runs as a whole: weights where a side knows its own, and hosts where one is
    unknown."""
    if baseline.weights is not None or candidate.weights is not None:
        yield _weights(baseline, candidate)
    if baseline.dispatch is not None or candidate.dispatch is not None:
        yield _operators(baseline, candidate)
    if any(map(_unknown, (baseline, candidate))):
        yield Check(
            name="host",
            state="not_verified",
            baseline=host(baseline),
            candidate=host(candidate),
            blocking=False,
            detail="a server on another host was asked, and nothing says what that host is "
            "(flagos-eval facts there, run --facts FILE here)",
        )


def _unknown(run: Run) -> bool:
    """Whether a server was asked that this program did not start, and nothing says where it ran."""
    return any(epoch.launcher == "external" for epoch in run.epochs) and host(run) is None


def host(run: Run) -> str | None:
    """The machine that answered, as its own tools named it; None if nothing says so."""
    facts = {fact.name: fact.value for fact in run.facts}
    platform = facts.get("host:platform")
    if not isinstance(platform, str):
        return None
    devices = facts.get("host:devices")
    names: list[JsonValue] = devices if isinstance(devices, list) else []
    kinds = [f"{names.count(name)} x {name}" for name in dict.fromkeys(map(str, names))]
    versions = [
        f"{what} {facts[name]}".strip()
        for name, what in (("host:driver", "driver"), ("host:sdk", ""))
        if name in facts
    ]
    return ", ".join([platform, *kinds, *versions])


def notes(baseline: Run, candidate: Run) -> Iterable[str]:
    """What a reader of the table has to know about who answered."""
    for run in (baseline, candidate):
        kinds = {str(f.value) for f in run.facts if f.name == "host:platform"}
        if len(kinds) > 1:
            said = ", ".join(sorted(kinds))
            yield f"{run.name} was answered on several kinds of machine: {said}"
    hosts = [host(run) for run in (baseline, candidate)]
    if None not in hosts and hosts[0] != hosts[1]:
        yield f"hosts: {baseline.name} {hosts[0]}; {candidate.name} {hosts[1]}"
    elif hosts[0] not in (None, "cpu") and baseline.id != candidate.id:
        # Labels are file names; what the machines say of themselves is what counts.
        said = f"both sides say they ran on {hosts[0]}"
        yield f"{said}: by its own facts the candidate is no other chip"
    for run in (baseline, candidate):
        yield from (f"{run.name}: {said}" for said in oddities(run))
    yield from (*ran(baseline), *ran(candidate))
    if baseline.weights is not None and candidate.weights is not None:
        differing = _differing(baseline, candidate)
        if differing:
            yield f"the sides do not serve the same files: {_by_kind(differing)}"


def oddities(run: Run) -> Iterator[str]:
    """What answers say of themselves and one engine would not: another model's name, as a router to
    several models gives, or the id of another answer, as a cache gives."""
    answers = [response for response in run.responses if response.text is not None]
    known = (None, run.model, *(epoch.model for epoch in run.epochs))
    others = [r.server_model for r in answers if r.server_model not in known]
    if others:
        names = ", ".join(sorted({repr(name) for name in others})[:_SHOWN])
        said = f"{len(others)} of {len(answers)} answers name another model"
        yield f"{said} than {run.model}: {names}"
    ids = [response.server_id for response in answers if response.server_id]
    if repeated := len(ids) - len(set(ids)):
        yield f"{repeated} of {len(answers)} answers have the id of another answer"


def _weights(baseline: Run, candidate: Run) -> Check:
    one, other = baseline.weights, candidate.weights
    if one is None or other is None:
        state, detail = "not_verified", "a side does not know its weights"
    elif one.fingerprint == other.fingerprint:
        state, detail = "equal", None
    else:
        state, detail = "differs", _by_kind(_differing(baseline, candidate))
    return Check(
        name="weights",
        state=state,
        baseline=f"{one.source} {one.fingerprint[:12]}" if one else None,
        candidate=f"{other.source} {other.fingerprint[:12]}" if other else None,
        blocking=False,
        detail=detail,
    )


def _operators(baseline: Run, candidate: Run) -> Check:
    """FlagGems' operators: that sides differ in them is often the very purpose."""
    one, other = (operators(run) for run in (baseline, candidate))
    unknown = one is None or other is None
    return Check(
        name="operators",
        state="not_verified" if unknown else "equal" if one == other else "differs",
        baseline=one,
        candidate=other,
        blocking=False,
        detail="a side did not write down which of FlagGems' operators ran (--flag-gems)"
        if unknown
        else None,
    )


def operators(run: Run) -> str | None:
    """Which of FlagGems' operators the engine called, as ``all: 26 ran``;
    None if nothing says so."""
    dispatch = run.dispatch
    if dispatch is None:
        return None
    names = {op.name for op in dispatch.operators}
    return f"{dispatch.requested}: {len(names) or 'none'} ran"


def ran(run: Run) -> Iterator[str]:
    """One line about the operators of a side, by how often they ran."""
    dispatch = run.dispatch
    if dispatch is None:
        return
    said = f"{run.name}: FlagGems {dispatch.version or ''}".rstrip()
    said += f" ({dispatch.vendor})" if dispatch.vendor else ""
    names = list(dict.fromkeys(op.name for op in dispatch.operators))
    found = f"{len(names)} operators ran: {', '.join(names)}" if names else "no operator ran"
    idle = f"; never called: {', '.join(dispatch.idle)}" if dispatch.idle else ""
    yield f"{said}, asked for {dispatch.requested}: {found}{idle}"


def _differing(baseline: Run, candidate: Run) -> list[str]:
    assert baseline.weights is not None and candidate.weights is not None
    one, other = baseline.weights.files, candidate.weights.files
    return sorted(name for name in {**one, **other} if one.get(name) != other.get(name))


def _by_kind(names: list[str]) -> str:
    """As ``tokenizer: tokenizer.json; weights: 18 files``."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(kind(name) or "other", []).append(name)
    return "; ".join(
        f"{group}: {', '.join(found) if len(found) <= _SHOWN else f'{len(found)} files'}"
        for group, found in groups.items()
    )
