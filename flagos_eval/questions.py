"""A task's requests, each built when it is wanted.

Only their hashes are kept: a prompt is often longer than the question that it is made of, and every
repeat has its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

from pydantic import JsonValue

from . import prompt
from .records import ExpectedItem, Request, Sample, Sampling, sha256_hex
from .task import Prompt

Key = tuple[str, str, int, str]
"""`Request.key`."""
_T = TypeVar("_T", Sample, ExpectedItem)


@dataclass(frozen=True)
class Requests(Sequence[Request]):
    """All items of the first repeat, then all of the second, and so on."""

    passes: tuple[tuple[Sample, ...], ...]
    """The items of each repeat in the order in which they are asked."""
    prompt: Prompt
    sampling: Sampling
    limits: Mapping[str, JsonValue]
    hashes: tuple[str, ...]
    """Of each request."""

    def __len__(self) -> int:
        return len(self.hashes)

    @overload
    def __getitem__(self, index: int) -> Request: ...

    @overload
    def __getitem__(self, index: slice) -> list[Request]: ...

    def __getitem__(self, index: int | slice) -> Request | list[Request]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        repeat, at = divmod(place, len(self.passes[0]))
        return _request(self, repeat, self.passes[repeat][at], self.hashes[place])

    def each_key(self) -> Iterator[Key]:
        """What a journal knows the answers by, without building the requests."""
        places = ((sample, repeat) for repeat, one in enumerate(self.passes) for sample in one)
        for (sample, repeat), digest in zip(places, self.hashes, strict=True):
            yield sample.task, sample.id, repeat, digest


def make(
    samples: Sequence[Sample],
    chosen: Prompt,
    sampling: Sampling,
    repeats: int,
    limits: Mapping[str, JsonValue],
) -> Requests:
    """The requests about a task's items: each is built once here, for its hash.

    Raises:
        DatasetError: an image is not at hand.
    """
    passes = tuple(tuple(shuffled(samples, repeat)) for repeat in range(repeats))
    empty = Requests(passes, chosen, sampling, limits, ())
    hashes = tuple(
        _request(empty, repeat, sample).hash for repeat, one in enumerate(passes) for sample in one
    )
    return Requests(passes, chosen, sampling, limits, hashes)


def _request(of: Requests, repeat: int, sample: Sample, digest: str | None = None) -> Request:
    return prompt.request(
        sample, of.prompt, of.sampling, repeat=repeat, mm_processor_kwargs=of.limits, digest=digest
    )


def shuffled(items: Sequence[_T], repeat: int) -> Sequence[_T]:
    """The items in the order of a pass: the dataset's first, then an order of each pass's own, the
    same on every machine, so that a later pass meets other neighbours in its batches."""
    if repeat == 0:
        return items
    return sorted(items, key=lambda item: sha256_hex(f"{repeat}\0{item.id}".encode()))
