"""Are these the shards of one run: each once, none missing, asked, answered and scored alike?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from .. import shards
from ..config import ASKED, LAUNCHED
from ..errors import IncompleteRun, InvalidRun, NotComparable, UsageError
from ..records import Run, Shard, TaskRecord
from ..store import Stored

_LOCAL = frozenset({"model"})
"""Of settings that decide who answers: a name may be left out, and what served is compared."""
_Said = Callable[[Run], Iterator[tuple[str, object]]]
_ONE_FOR_ALL = (*(name for name in (*ASKED, *LAUNCHED) if name not in _LOCAL), "withhold_text")


def shard_of(stored: Stored) -> Shard:
    """Which shard a file is.

    Raises:
        UsageError: it is none.
    """
    if stored.run.shard is None:
        raise UsageError(
            f"{stored.path} is no shard of a run", hint="flagos-eval run --shard 1/4 makes one"
        )
    return stored.run.shard


def in_order(given: Sequence[Stored]) -> list[Stored]:
    """The shards from the first to the last.

    Raises:
        UsageError: one of the files is no shard.
        NotComparable: they are not parts of one run, or one is there twice.
        IncompleteRun: some are missing; says which.
        InvalidRun: one does not hold the items that are its share.
    """
    first = given[0]
    for other in given[1:]:
        _same_whole(first, other)
    by_index: dict[int, Stored] = {}
    for stored in given:
        shard = shard_of(stored)
        if shard.index in by_index:
            raise NotComparable(
                f"shard {shard} is there twice: {by_index[shard.index].path} and {stored.path}",
                hint="give each shard once",
            )
        by_index[shard.index] = stored
    whole = shard_of(first)
    if missing := [i for i in range(1, whole.count + 1) if i not in by_index]:
        raise _gap(whole, missing)
    found = [by_index[index] for index in sorted(by_index)]
    for stored in found:
        _holds_its_share(stored)
    _make_the_whole(found)
    return found


def _same_whole(one: Stored, other: Stored) -> None:
    a, b = shard_of(one), shard_of(other)
    if a.count != b.count:
        raise NotComparable(
            f"{one.path} is shard {a} and {other.path} is shard {b}: no parts of one run"
        )
    if a.of != b.of:
        names = {task.task for task in a.of} ^ {task.task for task in b.of}
        names = names or {x.task for x, y in zip(a.of, b.of, strict=True) if x != y}
        raise NotComparable(
            f"{one.path} and {other.path} are shards of other questions "
            f"({', '.join(sorted(names))} differ)",
            hint="the same tasks, limit, and revision of the data for every shard",
        )


def _gap(whole: Shard, missing: Sequence[int]) -> IncompleteRun:
    def size(index: int) -> int:
        part = shards.Part(index, whole.count)
        return sum(len(shards.share(range(task.n), part)) for task in whole.of)

    total = sum(task.n for task in whole.of)
    names = ", ".join(f"{index}/{whole.count}" for index in islice(missing, 20))
    more = f" and {len(missing) - 20} more" if len(missing) > 20 else ""
    return IncompleteRun(
        f"{len(missing)} of {whole.count} shards missing: {names}{more} "
        f"({sum(map(size, missing))} of {total} items)",
        hint=f"flagos-eval run --shard {missing[0]}/{whole.count} ..., then merge them all",
    )


def _holds_its_share(stored: Stored) -> None:
    shard = shard_of(stored)
    wanted = {task.task: len(shards.share(range(task.n), shard)) for task in shard.of}
    wanted = {name: n for name, n in wanted.items() if n}
    if wanted != {task.name: len(task.expected) for task in stored.run.tasks}:
        raise InvalidRun(f"{stored.path} does not hold the items of shard {shard}")


def _make_the_whole(found: Sequence[Stored]) -> None:
    for task in shard_of(found[0]).of:
        items = shards.dealt([record.expected for record in records(found, task.task)])
        if shards.fingerprint(items) != task.fingerprint:
            raise InvalidRun(f"the shards of {task.task} do not make up the items of the whole")


def records(found: Sequence[Stored], task: str) -> list[TaskRecord]:
    """A task's records; the last shards of a task with few items have none."""
    return [record for stored in found for record in stored.run.tasks if record.name == task]


# --- Asked, answered and scored alike -------------------------------------------------------------


def alike(found: Sequence[Stored]) -> None:
    """Raise unless the answers of all shards may stand in one run.

    Raises:
        NotComparable: something that decides what is asked, who answers, or what an answer is worth
            differs; says what.
    """
    first = found[0]
    for other in found[1:]:
        _require(first, other, _decided, None)
        _require(
            first,
            other,
            _scored,
            "flagos-eval score FILE -o NEW scores a shard by the installed version, and by a judge",
        )


def _require(one: Stored, other: Stored, what: _Said, hint: str | None) -> None:
    before = dict(what(one.run))
    after = dict(what(other.run))
    for name in before:
        if name in after and before[name] != after[name]:
            raise NotComparable(
                f"{other.path} does not belong to {one.path}: {name} is {after[name]!r}, "
                f"not {before[name]!r}",
                hint=hint or "the shards of a run differ in their questions and in nothing else",
            )


def _decided(run: Run) -> Iterator[tuple[str, object]]:
    yield "the model", run.model
    yield "phase", run.phase
    yield "arm", run.arm
    yield "the policy's hash", run.policy_sha256
    for name in _ONE_FOR_ALL:
        if name in run.settings:
            yield name, run.settings[name].value
    for record in run.tasks:
        yield f"{record.name}: version", record.version
        yield f"{record.name}: prompt", f"{record.prompt} v{record.prompt_version}"
        yield f"{record.name}: sampling", record.sampling
        yield f"{record.name}: passes", record.repeats
    if run.epochs:
        for name in ("version", "model_root", "max_model_len"):
            served = sorted({str(getattr(epoch, name)) for epoch in run.epochs})
            yield f"the server's {name}", ", ".join(served)
    if run.weights is not None:
        yield "the weights' fingerprint", run.weights.fingerprint
    asked = run.dispatch
    yield "operators", (asked.requested, asked.how, asked.version, asked.vendor) if asked else None


def _scored(run: Run) -> Iterator[tuple[str, object]]:
    for record in run.tasks:
        held = [result for result in run.results if result.task == record.name]
        by = [f"{result.scorer} v{result.scorer_version}" for result in held]
        yield f"the scorer of {record.name}", ", ".join(by)
        yield f"the judge of {record.name}", ", ".join(str(result.judge) for result in held)
