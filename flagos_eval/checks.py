"""Are two runs answers to the same questions? One `Check` a condition, with both values. Pure.

Item content, requests, prompt, sampling, scorer, judge and prompt tokens must be equal, or no
difference between the answers is evidence. The revision and the origin of a dataset are worth
knowing and no more: the items' own content decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import JsonValue

from .errors import NotComparable
from .records import Check, JudgeRecord, Run, TaskRecord

_SHOWN = 3
_KEPT = 20
"""Items of a difference that a check names."""


def refuse_shard(run: Run) -> None:
    """Raise `NotComparable` for a part of a run: what it asked is no benchmark."""
    if run.shard is not None:
        raise NotComparable(
            f"{run.name} is shard {run.shard} of a run, and no run to compare with",
            hint=f"flagos-eval merge all {run.shard.count} shards, and take what comes of it",
        )


def checks(baseline: Run, candidate: Run, task: str) -> Iterator[Check]:
    """Every condition for comparing a task, each with what both sides have."""
    one, other = baseline.task(task), candidate.task(task)
    yield _check(task, "items", _contents(one), _contents(other))
    yield _check(task, "requests", _requests(one), _requests(other))
    yield _plain(task, "prompt", _prompt(one), _prompt(other))
    yield _plain(task, "sampling", _sampling(one), _sampling(other))
    yield _plain(task, "scorer", _scorer(baseline, task), _scorer(candidate, task))
    yield from _judge(baseline, candidate, task)
    yield _tokens(baseline, candidate, task)
    yield _plain(task, "passes", one.repeats, other.repeats, blocking=False)
    yield _plain(task, "dataset", _origin(one), _origin(other), blocking=False)


def _origin(record: TaskRecord) -> str:
    data = record.dataset
    return f"{data.id} {data.split} at {data.revision or 'unknown revision'} ({data.origin})"


def _prompt(record: TaskRecord) -> str | None:
    return f"{record.prompt} v{record.prompt_version}" if record.prompt else None


def _sampling(record: TaskRecord) -> JsonValue:
    return record.sampling.model_dump() if record.sampling else None


def _contents(record: TaskRecord) -> Hashes:
    return {item.id: item.content_hash for item in record.expected}


def _requests(record: TaskRecord) -> Hashes:
    # Sides may repeat differently often; the first pass is asked by both.
    return {item.id: item.request_hashes[0] for item in record.expected}


Hashes = dict[str, "str | None"]
"""Item -> hash; None where a run that was made elsewhere does not have it."""


def _check(task: str, what: str, one: Hashes, other: Hashes) -> Check:
    """An item that one side lacks differs; one whose hash is not known is not verified."""
    odd = [
        key
        for key in {**one, **other}
        if key not in one
        or key not in other
        or (one[key] != other[key] and None not in (one[key], other[key]))
    ]
    unknown = [key for key in one if one[key] is None or other.get(key) is None]
    detail = f"{len(odd)} differ; first: {', '.join(odd[:_SHOWN])}" if odd else None
    if unknown and not odd:
        detail = f"{len(unknown)} have no hash on a side"
    return Check(
        name=f"{task}: {what}",
        task=task,
        state="differs" if odd else "not_verified" if unknown else "equal",
        baseline=f"{len(one)} items",
        candidate=f"{len(other)} items",
        blocking=True,
        detail=detail,
        samples=tuple(odd[:_KEPT]),
    )


def _plain(
    task: str, what: str, one: JsonValue, other: JsonValue, *, blocking: bool = True
) -> Check:
    unknown = one is None or other is None
    return Check(
        name=f"{task}: {what}",
        task=task,
        state="not_verified" if unknown else "equal" if one == other else "differs",
        baseline=one,
        candidate=other,
        blocking=blocking,
        detail="a side does not say" if unknown else None,
    )


def _scorer(run: Run, task: str) -> str:
    result = run.result(task)
    return f"{result.scorer} v{result.scorer_version}"


def _judge(baseline: Run, candidate: Run, task: str) -> Iterable[Check]:
    """Where answers were graded: by the same model on both sides, which gave the same grades to the
    questions that are known."""
    names = [run.result(task).judge for run in (baseline, candidate)]
    if names == [None, None]:
        return
    one, other = (
        next((judge for judge in run.judges if judge.model == name), None)
        for run, name in zip((baseline, candidate), names, strict=True)
    )
    check = _plain(task, "judge", *names)
    changes: dict[str, str] = {}
    if None in names:
        changes = {"detail": "a side was not graded by a judge"}
    elif check.state == "equal":
        if one is None or other is None or not one.anchors.keys() & other.anchors.keys():
            detail = "the sides have no known question in common"
            changes = {"state": "not_verified", "detail": detail}
        elif differing := _judges_differ(one, other):
            changes = {"state": "differs", "detail": differing}
    yield check.model_copy(update=changes)


def _judges_differ(one: JudgeRecord, other: JudgeRecord) -> str | None:
    """What tells two judges of one name apart."""
    odd = [
        f"{name} {one.anchors[name]} and {other.anchors[name]}"
        for name in sorted(one.anchors.keys() & other.anchors.keys())
        if one.anchors[name] != other.anchors[name]
    ]
    if odd:
        return f"known questions are graded otherwise: {'; '.join(odd[:_SHOWN])}"
    if one.served and other.served and not set(one.served) & set(other.served):
        return f"it called itself {', '.join(one.served)} and {', '.join(other.served)}"
    return None


def _tokens(baseline: Run, candidate: Run, task: str) -> Check:
    """``usage.prompt_tokens``: the same questions through the same template, tokenizer and image
    resize."""
    one, other = _prompt_tokens(baseline, task), _prompt_tokens(candidate, task)
    both = sorted(key for key in one.keys() & other.keys() if None not in (one[key], other[key]))
    odd = [key for key in both if one[key] != other[key]]
    silent = sum(None in (one[key], other[key]) for key in one.keys() & other.keys())
    detail = f"{len(odd)} of {len(both)} differ; first: {', '.join(odd[:_SHOWN])}" if odd else None
    if not odd and (silent or not both):
        detail = f"{silent} answers have no token count on a side" if both else "no token counts"
    return Check(
        name=f"{task}: prompt tokens",
        task=task,
        state="differs" if odd else "equal" if detail is None else "not_verified",
        baseline=sum(one[key] or 0 for key in both),
        candidate=sum(other[key] or 0 for key in both),
        blocking=True,
        detail=detail,
        samples=tuple(odd[:_KEPT]),
    )


def _prompt_tokens(run: Run, task: str) -> dict[str, int | None]:
    """Item -> tokens of its question, None where the server did not say; answered items only."""
    return {
        r.sample_id: r.usage.prompt_tokens if r.usage else None
        for r in run.responses
        if r.task == task and r.repeat == 0 and r.error is None
    }
