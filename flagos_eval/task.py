"""What a benchmark file declares: a frozen `Task` that holds functions, never state.

A benchmark is one file in ``tasks/`` that sets ``TASK``. See docs/add-a-benchmark.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .records import ImagePart, Sample, TextPart

Parts = tuple["TextPart | ImagePart", ...]


class Row(Protocol):
    """One record of a dataset: a read-only mapping that can also hand out its images."""

    def __getitem__(self, key: str, /) -> Any: ...

    def image(self, field: str) -> ImagePart:
        """The image in `field` as a part of a question; its bytes stay where they are.

        Raises:
            DatasetError: the field is empty, the file is missing, or it is no image.
        """
        ...


@dataclass(frozen=True)
class Judgement:
    """A scorer's reading of one text."""

    answer: str | None
    """What was found; None if the text holds no answer (the item becomes *unparsed*, worth 0)."""
    value: float
    """0..1."""


@dataclass(frozen=True)
class Scorer:
    """A pure rule from a sample and a text to a `Judgement`. It never raises and never guesses."""

    name: str
    version: int
    score: Callable[[Sample, str], Judgement]
    source: str
    """Paper, equation or upstream file that the rule reproduces."""


@dataclass(frozen=True)
class Prompt:
    """A pure rule from a sample to the parts of one user message."""

    name: str
    version: int
    build: Callable[[Sample], Parts]
    source: str


@dataclass(frozen=True)
class Aggregation:
    """A named way from the values of all items to one number.

    `reduce` takes (group, value) pairs, value 0..1, and returns 0..1, or None for no items.
    """

    name: str
    reduce: Callable[[Iterable[tuple[str | None, float]]], float | None]


def micro(values: Iterable[tuple[str | None, float]]) -> float | None:
    """The mean over items."""
    found = [value for _, value in values]
    return sum(found) / len(found) if found else None


def macro(values: Iterable[tuple[str | None, float]]) -> float | None:
    """The unweighted mean of the groups' means."""
    groups: dict[str | None, list[float]] = {}
    for group, value in values:
        groups.setdefault(group, []).append(value)
    means = [sum(found) / len(found) for found in groups.values()]
    return sum(means) / len(means) if means else None


ACCURACY = Aggregation("accuracy", micro)


@dataclass(frozen=True)
class HubDataset:
    """A dataset on the Hugging Face hub, or a local copy of the benchmark's own repository."""

    repo: str
    split: str
    """The split that is the benchmark; another one makes the run a preview."""
    n: Mapping[str, int]
    """Rows per split, checked after loading."""
    fields: tuple[str, ...]
    """Fields that `to_sample` reads, checked on the first row."""
    config: str | None = None
    revision: str | None = None
    local: Callable[[Path, str], Iterable[Mapping[str, Any]]] | None = None
    """Reads a folder in the repository's own format: (folder, split) -> rows with `fields`. Images
    are given as paths relative to the folder."""


@dataclass(frozen=True)
class GeneratedDataset:
    """A dataset that is drawn from a seed, the same bytes everywhere."""

    id: str
    n: Mapping[str, int]
    rows: Callable[[str], Iterable[Mapping[str, Any]]]
    """Split -> rows; images are given as bytes."""
    split: str = "test"
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A benchmark."""

    name: str
    version: int
    title: str
    dataset: HubDataset | GeneratedDataset
    to_sample: Callable[[Row], Sample]
    prompts: tuple[Prompt, ...]
    """The first is the default."""
    scorers: tuple[Scorer, ...]
    """The first is the default."""
    aggregations: tuple[Aggregation, ...] = (ACCURACY,)
    """The first is the headline."""
    max_tokens: int = 4096
    license: str | None = None
    paper: str | None = None
    card_name: str | None = None
    """The row's name on a release card, where it is not `name`."""
    tags: tuple[str, ...] = field(default=())
