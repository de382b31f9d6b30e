"""What belongs to shards beside their run files, as what belongs to the whole."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from .. import logprobs, samples, shards
from ..records import Shard, StoredFile, sha256_hex
from ..store import Stored, atomic_write


def write(
    found: Sequence[Stored], whole: Shard, out: Path
) -> tuple[tuple[StoredFile, ...], list[int]]:
    """Write the files of the merged run.

    Args:
        found: The shards in their order.
        whole: Names the tasks.
        out: The merged run's file.

    Returns:
        (the files, for each shard how far the numbers of its log-probabilities' lines move).

    Raises:
        FileError: one of the shards' files is missing, or `out`'s folder cannot be written.
        CorruptFile: one is not what its shard was written with.
    """
    stored = [_samples(found, task.task, out) for task in whole.of if _kept(found, task.task)]
    traces, moved = _logprobs(found, out)
    return (*stored, *traces, *_others(found, out)), moved


def _kept(found: Sequence[Stored], task: str) -> bool:
    return any(
        file.kind == "samples" and file.task == task for one in found for file in one.run.files
    )


def _samples(found: Sequence[Stored], task: str, out: Path) -> StoredFile:
    parts = [
        samples.lines(one.run, one.path, task)
        for one in found
        if any(record.name == task for record in one.run.tasks)
    ]
    return samples.keep(shards.dealt(parts), task, out)


def _logprobs(found: Sequence[Stored], out: Path) -> tuple[list[StoredFile], list[int]]:
    """One shard's lines after the other's."""
    held = [next((f for f in one.run.files if f.kind == "logprobs"), None) for one in found]
    moved: list[int] = []
    if not any(held):
        return [], [0] * len(found)
    path = out.with_name(f"{out.stem}.logprobs.jsonl.gz")
    number = 0
    with (
        atomic_write(path) as target,
        gzip.GzipFile(fileobj=target, mode="wb", filename="", mtime=0) as packed,
    ):
        for one, file in zip(found, held, strict=True):
            moved.append(number)
            if file is None:
                continue
            for line in logprobs.lines(samples.read_stored(one.path, file), file.path):
                packed.write(line)
                number += 1
    return [StoredFile(kind="logprobs", path=path.name, sha256=_digest(path))], moved


def _others(found: Sequence[Stored], out: Path) -> list[StoredFile]:
    copied = []
    for index, one in enumerate(found, 1):
        for file in one.run.files:
            if file.kind in ("samples", "logprobs"):
                continue
            name = f"{out.stem}.shard-{index}.{PurePosixPath(file.path).name}"
            with atomic_write(out.with_name(name)) as target:
                target.write(samples.read_stored(one.path, file))
            copied.append(file.model_copy(update={"path": name}))
    return copied


def _digest(path: Path) -> str:
    return sha256_hex(path.read_bytes())
