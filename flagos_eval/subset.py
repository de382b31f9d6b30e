"""A part of a run's items as a run of its own: for trying what fewer questions would have shown."""

from __future__ import annotations

from collections.abc import Callable, Container
from pathlib import Path

from . import metrics, samples
from .records import Run
from .task import Task


def subset(
    run: Run, path: Path, load_task: Callable[[str], Task], keep: Container[tuple[str, str]]
) -> Run:
    """The run as if only some of its items had been asked: a preview.

    Args:
        run: A run.
        path: Its file, beside which its samples are.
        load_task: Name -> task, for the aggregations.
        keep: (task, item) of those to keep, at least one of every task.

    Raises:
        FileError, CorruptFile: the samples are missing or damaged.
    """
    tasks = [
        record.model_copy(
            update={
                "expected": tuple(i for i in record.expected if (record.name, i.id) in keep),
            }
        )
        for record in run.tasks
    ]
    scores = tuple(s for s in run.scores if (s.task, s.sample_id) in keep)
    results = []
    for result in run.results:
        stored = samples.read(run, path, result.task)
        own = [
            s
            for s in scores
            if (s.task, s.scorer, s.scorer_version)
            == (result.task, result.scorer, result.scorer_version)
        ]
        items = [stored[s.sample_id].sample for s in own]
        results.append(metrics.aggregate(load_task(result.task), items, own))
    return run.model_copy(
        update={
            "phase": "preview",
            "parts": (),  # counters are of the whole run
            "tasks": tuple(tasks),
            "responses": tuple(r for r in run.responses if (r.task, r.sample_id) in keep),
            "scores": scores,
            "results": tuple(results),
        }
    )
