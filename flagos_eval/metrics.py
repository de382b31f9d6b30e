"""Scores -> Result: counts that add up, aggregations by name, groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .records import ExpectedItem, Group, Metric, Result, Sample, Score, Status
from .task import Aggregation, Task

Pair = tuple["str | None", "float | None"]


def aggregate(
    task: Task, samples: Iterable[Sample | ExpectedItem], scores: Sequence[Score]
) -> Result:
    """One task's result by one scorer.

    Args:
        task: Names the aggregations.
        samples: Every item that was expected; gives the groups.
        scores: One per item and repeat, all by the same scorer.

    Raises:
        ValueError: no scores, or scores by several scorers.
    """
    scorers = {(s.scorer, s.scorer_version, s.judge) for s in scores}
    if len(scorers) != 1:
        raise ValueError(
            f"{task.name}: expected the scores of one scorer, got {sorted(map(str, scorers))}"
        )
    scorer, version, judge = scorers.pop()
    groups = {sample.id: sample.group for sample in samples}
    pairs: list[Pair] = [(groups[s.sample_id], s.value) for s in scores]
    return Result(
        task=task.name,
        scorer=scorer,
        scorer_version=version,
        judge=judge,
        n=len(scores),
        counts=dict(
            sorted(Counter(s.status for s in scores).items(), key=lambda kv: _ORDER[kv[0]])
        ),
        metrics=tuple(_metric(aggregation, pairs) for aggregation in _ordered(task, scorer)),
        groups=_groups(pairs),
    )


def _ordered(task: Task, scorer: str) -> list[Aggregation]:
    """The scorer's headline first, then the others in the task's order."""
    headline = next((s.headline for s in task.scorers if s.name == scorer), None)
    return sorted(task.aggregations, key=lambda aggregation: aggregation.name != headline)


_ORDER = {status: index for index, status in enumerate(Status)}


def _metric(aggregation: Aggregation, pairs: Sequence[Pair]) -> Metric:
    """The value over what has one, and its bounds with everything else wrong or right."""
    valued = [(group, value) for group, value in pairs if value is not None]
    return Metric(
        name=aggregation.name,
        of_groups=aggregation.of_groups,
        value=_percent(aggregation.reduce(valued)),
        low=_percent(aggregation.reduce([(g, 0.0 if v is None else v) for g, v in pairs])),
        high=_percent(aggregation.reduce([(g, 1.0 if v is None else v) for g, v in pairs])),
    )


def _percent(value: float | None) -> float | None:
    return None if value is None else 100.0 * value


def _groups(pairs: Sequence[Pair]) -> tuple[Group, ...]:
    names = sorted({group for group, _ in pairs if group is not None})
    found = []
    for name in names:
        values = [value for group, value in pairs if group == name]
        valued = [value for value in values if value is not None]
        mean = 100.0 * sum(valued) / len(valued) if valued else None
        found.append(Group(name=name, n=len(values), valued=len(valued), value=mean))
    return tuple(found)
