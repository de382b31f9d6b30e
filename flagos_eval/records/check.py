"""What a run file must satisfy, checked when a run is built and when it is read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .score import Result, Score, Status

if TYPE_CHECKING:
    from .run import Run, TaskRecord


def check_run(run: Run) -> None:
    """Checked when a run is built and when it is read: every item once, nothing foreign, sums
    right."""
    for task in run.tasks:
        _check_task(run, task)
    if len({task.name for task in run.tasks}) != len(run.tasks):
        raise ValueError("the same task is there twice")
    expected = {
        (task.name, item.id, repeat, request_hash)
        for task in run.tasks
        for item in task.expected
        for repeat, request_hash in enumerate(item.request_hashes)
    }
    answered = [response.key for response in run.responses]
    if len(set(answered)) != len(answered):
        raise ValueError("the same request is answered twice")
    if not expected.issuperset(answered):
        key = next(key for key in answered if key not in expected)
        raise ValueError(
            f"an answer to a request that was not expected: task {key[0]}, sample {key[1]}"
        )
    if run.state == "complete" and len(answered) != len(expected):
        raise ValueError(f"complete, yet {len(expected) - len(answered)} requests have no response")
    starts = {epoch.index for epoch in run.epochs}
    if not starts.issuperset(c.epoch for part in run.parts for c in part.counters):
        raise ValueError("counters of a start of a server that is not there")
    failed = {response.key[:3]: response.error is not None for response in run.responses}
    scores: dict[tuple[str, str, int], list[Score]] = {}
    for score in run.scores:
        scores.setdefault((score.task, score.scorer, score.scorer_version), []).append(score)
        _check_score(score, failed.get((score.task, score.sample_id, score.repeat)))
    for result in run.results:
        rows = scores.pop((result.task, result.scorer, result.scorer_version), [])
        _check_result(result, rows, {key[:3] for key in expected if key[0] == result.task})
    for task_name, scorer, version in scores:
        raise ValueError(f"{task_name}: scores by {scorer} v{version} belong to no result")


def _check_task(run: Run, task: TaskRecord) -> None:
    if task.name.endswith(".py") or "/" in task.name:
        # Benchmarks are code that is loaded by name: a stranger's run must not bring its own.
        raise ValueError(f"{task.name!r} is a path, and no benchmark's name")
    if len({item.id for item in task.expected}) != len(task.expected):
        raise ValueError(f"{task.name}: the same item is there twice")
    unknown = task.prompt is None or task.sampling is None
    unknown |= any(None in (item.content_hash, *item.request_hashes) for item in task.expected)
    if unknown and run.imported is None:
        raise ValueError(f"{task.name}: what was asked is not known, yet it was asked here")
    for item in task.expected:
        if len(item.request_hashes) != task.repeats:
            raise ValueError(f"{task.name}: sample {item.id} is not asked {task.repeats} times")
    if not any(result.task == task.name for result in run.results):
        raise ValueError(f"{task.name}: no result")


def _check_score(score: Score, failed: bool | None) -> None:
    """A failed request (`failed`) or one that was not made (None) is never an answer."""
    stated = (score.status is Status.NOT_RUN, score.status is Status.ERROR)
    if stated != (failed is None, failed is True):
        raise ValueError(
            f"{score.task}: the score of sample {score.sample_id} is {score.status.value}, "
            "its response says otherwise"
        )


def _check_result(result: Result, rows: list[Score], places: set[tuple[str, str, int]]) -> None:
    if len(rows) != result.n or len(places) != result.n:
        raise ValueError(
            f"{result.task}: {len(rows)} scores by {result.scorer} for {result.n} expected"
        )
    if {(s.task, s.sample_id, s.repeat) for s in rows} != places:
        raise ValueError(f"{result.task}: the scored items are not those that were asked")
    found = Counter(s.status for s in rows)
    for status in Status:
        if found[status] != result.counts.get(status, 0):
            raise ValueError(
                f"{result.task}: {found[status]} scores are {status.value}, "
                "its count says otherwise"
            )
    if all(s.value is not None for s in rows):
        for metric in result.metrics:
            if not metric.low == metric.value == metric.high:
                raise ValueError(
                    f"{result.task}: every item has a value, yet {metric.name} is uncertain"
                )
