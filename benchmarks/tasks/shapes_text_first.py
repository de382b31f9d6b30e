"""Shapes' questions about one picture, with the picture last: requests that every version of
``vllm bench serve`` can send, which until it took a message's parts put one picture after the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flagos_eval import catalog
from flagos_eval.records import Sample
from flagos_eval.task import GeneratedDataset, Parts, Prompt, Row, Task

_SHAPES = catalog.load_task("shapes")
_N = 320


def rows(split: str) -> Iterator[dict[str, Any]]:
    """Those of Shapes' rows that have one picture."""
    assert isinstance(_SHAPES.dataset, GeneratedDataset)
    return (dict(row) for row in _SHAPES.dataset.rows(split) if row["image_2"] is None)


def to_sample(row: Row) -> Sample:
    """Shapes' own item, as this task's."""
    item = _SHAPES.to_sample(row)
    return Sample.create(
        task=TASK.name,
        id=item.id,
        input=item.input,
        choices=item.choices,
        target=item.target,
        group=item.group,
        license=item.license,
    )


def build(sample: Sample) -> Parts:
    """Shapes' own prompt, the picture last."""
    picture, text = _SHAPES.prompts[0].build(sample)
    return (text, picture)


TASK = Task(
    name="shapes_text_first",
    version=1,
    title="Shapes with one picture, the text first",
    dataset=GeneratedDataset(id="benchmark/shapes-text-first", n={"test": _N}, rows=rows),
    to_sample=to_sample,
    prompts=(Prompt("text-first", 1, build, "Shapes, its two parts changed over"),),
    scorers=_SHAPES.scorers,
    max_tokens=_SHAPES.max_tokens,
    license=_SHAPES.license,
    tags=("demo",),
)
