"""Which items a shard asks: every n-th of each task, in the dataset's order. Pure.

By position and not by a hash: parts differ by one item at most, each has the mixture that the
dataset has in its order, and dealing the parts back gives that order again. All repeats of an item
stay in one part. Items that share an image may part: a verdict is on the merged run alone, which
has them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TypeVar

from .dataset import Items
from .errors import UsageError
from .records import ExpectedItem, Sample, Shard, Whole, canonical_json, sha256_hex
from .task import Task

_T = TypeVar("_T")
_HINT = "--shard 2/4 asks the second of four parts"


@dataclass(frozen=True)
class Part:
    """Part `index`, from 1, of `count`."""

    index: int
    count: int


def parse(text: str) -> Part:
    """``2/4`` -> the second of four parts.

    Raises:
        UsageError: there is no such part.
    """
    words = text.split("/")
    if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
        raise UsageError(f"{text!r} names no shard", hint=_HINT)
    part = Part(*map(int, words))
    if not 1 <= part.index <= part.count:
        raise UsageError(f"there is no shard {text}: they are numbered from 1", hint=_HINT)
    return part


def suffix(text: str | None) -> str:
    """For the name of a shard's file; empty for a whole run."""
    if text is None:
        return ""
    part = parse(text)
    return f".shard-{part.index}-of-{part.count}"


def share(items: Sequence[_T], part: Part | Shard | None) -> Sequence[_T]:
    """The items of a part; all of them where there are no parts."""
    return items if part is None else items[part.index - 1 :: part.count]


def dealt(parts: Sequence[Sequence[_T]]) -> Iterator[_T]:
    """The whole that was shared out, in its order."""
    nothing = object()
    for row in zip_longest(*parts, fillvalue=nothing):
        yield from (item for item in row if item is not nothing)  # type: ignore[misc]


def items(whole: Items, part: Part) -> Items:
    """A task's items of a part."""
    found = tuple(share(whole.samples, part))
    record = whole.record.model_copy(update={"fingerprint": fingerprint(found), "n": len(found)})
    return replace(whole, samples=found, record=record)


def fingerprint(items: Iterable[Sample | ExpectedItem]) -> str:
    """As `DatasetRecord.fingerprint`: over ids and contents, in their order."""
    return sha256_hex(canonical_json([[item.id, item.content_hash] for item in items]))


def refuse_empty(part: Part, most: int) -> None:
    """Refuse to share out tasks so that a part of all of them would be empty.

    Args:
        part: One of the parts.
        most: Items of the largest task.

    Raises:
        UsageError: there are more parts than that.
    """
    if part.count > most:
        raise UsageError(
            f"{most} items cannot be shared out to {part.count} shards",
            hint=f"--shard {min(part.index, most)}/{most} or fewer parts",
        )


def record(part: Part, tasks: Sequence[Task], whole: Sequence[Items]) -> Shard:
    """What a shard's run says of itself.

    Raises:
        UsageError: there are more parts than items, so that one would be empty.
    """
    refuse_empty(part, max(len(items.samples) for items in whole))
    return Shard(
        index=part.index,
        count=part.count,
        of=tuple(
            Whole(task=task.name, n=items.record.n, fingerprint=items.record.fingerprint)
            for task, items in zip(tasks, whole, strict=True)
        ),
    )
