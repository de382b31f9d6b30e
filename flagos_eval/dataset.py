"""Task -> Samples: read a benchmark's rows, check them, and keep a way to its image bytes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import hub
from .errors import DatasetError, UsageError
from .images import BankedRow, ImageBank
from .records import DatasetRecord, Sample, canonical_json, sha256_hex
from .task import GeneratedDataset, HubDataset, Task


@dataclass(frozen=True)
class Items:
    """A task's items, ready to be asked."""

    samples: tuple[Sample, ...]
    record: DatasetRecord
    bank: ImageBank
    preview: bool
    """Fewer items than the benchmark has, or another split of it."""


@dataclass(frozen=True)
class Source:
    """Where to look for a task's data."""

    data_dir: Path | None = None
    split: str | None = None
    revision: str | None = None
    limit: int | None = None
    absent_images: bool = False
    """Accept items whose images are not at hand: enough to score answers, not to ask questions."""


# fmt: off
_SHAPE = (
    KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError,
)
# fmt: on
"""What reading raises where data is not as it is documented."""


def load(task: Task, source: Source) -> Items:
    """All samples of a task, in the dataset's order.

    With `source.limit` the items are the first by the hash of their id: the same choice on every
    machine, and not the dataset's first subject.

    Raises:
        DatasetError: unreachable, gated, incomplete or of another shape; says which and what to do.
        UsageError: the benchmark has no such split.
    """
    dataset, split = task.dataset, _split(task, source)
    bank = ImageBank()
    rows, record = _open(task, source, split, bank)
    samples = tuple(_samples(task, rows))
    expected = len(samples) if dataset.n[split] is None else dataset.n[split]
    if len(samples) != expected:
        raise DatasetError(
            f"{task.name}: {len(samples)} items in split {split!r}, the benchmark has {expected}",
            hint="another revision of the data? --revision TASK=REV picks one",
        )
    samples = _limited(samples, source.limit)
    fingerprint = sha256_hex(canonical_json([[s.id, s.content_hash] for s in samples]))
    return Items(
        samples=samples,
        record=DatasetRecord(**record, split=split, fingerprint=fingerprint, n=len(samples)),
        bank=bank,
        preview=split != dataset.split or len(samples) != expected,
    )


def check(task: Task, source: Source) -> None:
    """Look whether the data is there, without loading it; what is on the hub shows when it is.

    Raises:
        DatasetError: a folder is missing, or lacks the files of the split.
        UsageError: the benchmark has no such split.
    """
    dataset, split = task.dataset, _split(task, source)
    if isinstance(dataset, GeneratedDataset) or source.data_dir is None:
        return
    folder = local_folder(task, dataset, source.data_dir)
    if hub.is_hub_layout(folder):
        hub.files(task.name, dataset, folder, split)
    elif dataset.local is not None:
        next(_local(task, dataset, folder, split, ImageBank(), source.absent_images), None)
    else:
        raise _no_parquet(task, dataset, folder)


def size(task: Task, source: Source) -> int | None:
    """How many items `load` will give, or None where only the data knows."""
    n = task.dataset.n[_split(task, source)]
    return n if n is None or source.limit is None else min(n, source.limit)


def _split(task: Task, source: Source) -> str:
    dataset = task.dataset
    split = source.split or dataset.split
    if split not in dataset.n:
        raise UsageError(f"{task.name} has no split {split!r}; it has {', '.join(dataset.n)}")
    return split


def _no_parquet(task: Task, dataset: HubDataset, folder: Path) -> DatasetError:
    return DatasetError(
        f"{task.name}: there are no parquet files in {folder}",
        hint=hub.how_to_copy(task.name, dataset),
    )


def _samples(task: Task, rows: Iterable[BankedRow]) -> Iterator[Sample]:
    seen: set[str] = set()
    for index, row in enumerate(rows):
        try:
            sample = task.to_sample(row)
        except _SHAPE as error:
            raise DatasetError(
                f"{task.name}: row {index} is not of the documented shape "
                f"({type(error).__name__}: {str(error)[:200]})"
            ) from error
        if sample.id in seen:
            raise DatasetError(f"{task.name}: id {sample.id!r} is there twice")
        seen.add(sample.id)
        yield sample


def _limited(samples: tuple[Sample, ...], limit: int | None) -> tuple[Sample, ...]:
    if limit is None or limit >= len(samples):
        return samples
    chosen = sorted(samples, key=lambda s: sha256_hex(f"{s.task}\0{s.id}".encode()))[:limit]
    kept = {s.id for s in chosen}
    return tuple(s for s in samples if s.id in kept)


def _open(
    task: Task, source: Source, split: str, bank: ImageBank
) -> tuple[Iterable[BankedRow], dict[str, Any]]:
    dataset = task.dataset
    if isinstance(dataset, GeneratedDataset):
        drawn = enumerate(dataset.rows(split))
        rows = (BankedRow(row, bank, f"{task.name} row {i}") for i, row in drawn)
        return rows, {"id": dataset.id, "origin": "generated"}
    folder = local_folder(task, dataset, source.data_dir) if source.data_dir else None
    record: dict[str, Any] = {"id": dataset.repo, "config": ", ".join(dataset.configs) or None}
    record["requested_revision"] = source.revision or dataset.revision
    if folder is None:
        tables, record["revision"] = hub.open_tables(task.name, dataset, source.revision, split)
        record["origin"] = "hub"
    elif hub.is_hub_layout(folder):
        tables = hub.read_tables(task.name, dataset, folder, split)
        record["origin"] = "modelscope" if hub.is_modelscope(folder) else "local"
        record["revision"] = hub.fetched_revision(folder)
    elif dataset.local is not None:
        record["origin"] = "local"
        return _local(task, dataset, folder, split, bank, source.absent_images), record
    else:
        raise _no_parquet(task, dataset, folder)
    return _tabled(task, dataset, tables, bank, source.absent_images), record


def local_folder(task: Task, dataset: HubDataset, data_dir: Path) -> Path:
    """``DIR/<task>`` or one of the dataset's own folder names if it is there, else ``DIR``."""
    if not data_dir.is_dir():
        raise DatasetError(f"the data folder {data_dir} does not exist")
    for name in (task.name, *dataset.folders):
        if (data_dir / name).is_dir():
            return data_dir / name
    return data_dir


def _local(
    task: Task, dataset: HubDataset, folder: Path, split: str, bank: ImageBank, absent: bool
) -> Iterator[BankedRow]:
    """Rows of a copy in the benchmark's own format."""
    assert dataset.local is not None
    index = 0
    try:
        for index, row in enumerate(dataset.local(folder, split)):
            if index == 0:
                hub.check_fields(task.name, dataset, row)
            where = f"{task.name} row {index}"
            yield BankedRow(row, bank, where, root=folder, absent_images=absent)
    except _SHAPE as error:
        raise DatasetError(
            f"{task.name}: {folder} is no copy of the documented shape, at row {index} or after it "
            f"({type(error).__name__}: {str(error)[:200]})",
            hint=hub.how_to_copy(task.name, dataset),
        ) from error


def _tabled(
    task: Task, dataset: HubDataset, tables: Iterable[Any], bank: ImageBank, absent: bool
) -> Iterator[BankedRow]:
    """Rows of tables as the hub has them, one after the other."""
    numbers = itertools.count()
    for table in map(dataset.prepare, tables) if dataset.prepare else tables:
        for index, row in enumerate(table):
            if index == 0:
                hub.check_fields(task.name, dataset, row)
            if dataset.number is not None:
                row = {**row, dataset.number: next(numbers)}
            for values in dataset.expand(row) if dataset.expand else (row,):
                yield BankedRow(
                    values,
                    bank,
                    f"{task.name} row {index}",
                    refetch=hub.refetcher(table, index),
                    absent_images=absent,
                )
