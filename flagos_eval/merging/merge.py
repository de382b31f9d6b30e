"""Shards in any order -> the run that would have been made without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from .. import __version__, archive, metrics, outcome, questions, seal, shards, store
from ..errors import InvalidRun, NotComparable, UsageError
from ..records import (
    ExpectedItem,
    Response,
    Result,
    Revision,
    Run,
    Score,
    TaskRecord,
    Whole,
    sha256_hex,
)
from ..store import Stored
from ..task import Task
from . import belonging, files, together

LoadTask = Callable[[str], Task]
_Place = tuple[str, str, int]


def merge(
    paths: Sequence[Path],
    out: Path,
    load_task: LoadTask,
    *,
    at: str,
    command: tuple[str, ...],
    name: str | None = None,
) -> Run:
    """Put the shards of a run together, and save the run with its files.

    Everything is kept; results are computed again from the scores. The order of the files does not
    matter.

    Args:
        paths: Files or packs of all shards.
        out: The run file to write.
        load_task: Name -> task, for the aggregations.
        at: UTC time of the merge.
        command: As typed.
        name: The run's name in tables; None takes the output's.

    Raises:
        UsageError: a file is no shard, `out` is one of them, or a benchmark is installed in another
            version.
        NotComparable: they are not of one run, or overlap.
        IncompleteRun: some are missing.
        InvalidRun: one was changed after it was written.
        FileError, CorruptFile: a file is missing or damaged.
    """
    if not paths:
        raise UsageError("merge takes the files of all shards")
    given = [_load(path) for path in paths]
    if any(one.path.resolve() == out.resolve() for one in given):
        raise UsageError(f"{out} is one of the shards, which stay as they are", hint="-o NEW.json")
    found = belonging.in_order(given)
    belonging.alike(found)
    tasks = _installed(found, load_task)
    said = together.judges([one.run for one in found])
    stored, moved = files.write(found, belonging.shard_of(found[0]), out)
    run = _run(found, tasks, moved, name)
    made = f"merged {len(found)} shards"
    revision = Revision(at=at, command=command, package_version=__version__, note=made)
    run = run.model_copy(
        update={
            "name": name or out.stem,
            "files": stored,
            "judges": said,
            "revisions": (*run.revisions, revision),
        }
    )
    run = Run.model_validate(run.model_dump())
    store.save(run, out)
    return run


def _load(path: Path) -> Stored:
    """A shard that is, byte for byte, as it was written: the merged file gets a seal of its own,
    under which nobody would find a change."""
    found = store.find(path)
    loaded = store.load(found)
    data = archive.read_run(found) if found.suffix == ".zip" else found.read_bytes()
    if seal.holds(data) is not True:
        raise InvalidRun(
            f"{found} was changed after it was written",
            hint="flagos-eval verify shows what does not match; take the file as it was made",
        )
    return Stored(loaded, found)


def _installed(found: Sequence[Stored], load_task: LoadTask) -> dict[str, Task]:
    tasks: dict[str, Task] = {}
    for whole in belonging.shard_of(found[0]).of:
        task = tasks[whole.task] = load_task(whole.task)
        asked = belonging.records(found, whole.task)[0].version
        if task.version != asked:
            raise UsageError(
                f"{whole.task} v{asked} was asked, and v{task.version} is installed",
                hint="merge with the flagos-eval that made the shards",
            )
    return tasks


def _run(
    found: Sequence[Stored], tasks: dict[str, Task], moved: Sequence[int], name: str | None
) -> Run:
    runs = [one.run for one in found]
    first = runs[0]
    epochs, numbers = together.epochs(runs)
    settings = together.settings(runs, name)
    records = [_record(found, whole) for whole in belonging.shard_of(found[0]).of]
    responses = _responses(runs, records, numbers, moved)
    scores, results = _worth(runs, records, tasks)
    total = sum(len(record.expected) * record.repeats for record in records)
    allowed = settings["max_error_rate"].value if "max_error_rate" in settings else 0.0
    state, reason = outcome.of(responses, total, float(str(allowed)))
    parents = tuple(run.id for run in runs)
    return first.model_copy(
        update={
            "id": sha256_hex(" ".join(parents).encode())[:32],
            "state": state,
            "reason": reason,
            "shard": None,
            "parents": parents,
            "started_at": min(run.started_at for run in runs),
            "ended_at": max(run.ended_at for run in runs),
            "settings": settings,
            "epochs": epochs,
            # Shards that ask one server see each other's traffic in its counters: added up, they
            # prove nothing, and are not verified.
            "parts": (),
            "facts": together.facts(runs),
            "capabilities": together.capabilities(runs),
            "weights": together.weights(runs),
            "dispatch": together.dispatch(runs),
            "revisions": tuple(dict.fromkeys(r for run in runs for r in run.revisions)),
            "results": tuple(results),
            "tasks": tuple(records),
            "responses": tuple(responses),
            "scores": tuple(scores),
        }
    )


def _record(found: Sequence[Stored], whole: Whole) -> TaskRecord:
    parts = belonging.records(found, whole.task)
    data = parts[0].dataset.model_copy(update={"fingerprint": whole.fingerprint, "n": whole.n})
    expected = tuple(shards.dealt([part.expected for part in parts]))
    return parts[0].model_copy(update={"dataset": data, "expected": expected})


def _responses(
    runs: Sequence[Run],
    records: Sequence[TaskRecord],
    numbers: Sequence[dict[int, int]],
    moved: Sequence[int],
) -> list[Response]:
    """Every response, in the order in which the whole would have been asked."""
    held: dict[_Place, Response] = {}
    for run, own, lines in zip(runs, numbers, moved, strict=True):
        for response in run.responses:
            update: dict[str, int] = {}
            if response.epoch is not None:
                update["epoch"] = _new_number(run, own, response.epoch)
            if response.logprobs_line is not None:
                update["logprobs_line"] = response.logprobs_line + lines
            held[response.key[:3]] = response.model_copy(update=update)
    places = (
        (record.name, item.id, repeat)
        for record in records
        for repeat in range(record.repeats)
        for item in questions.shuffled(record.expected, repeat)
    )
    return [
        held[place].model_copy(update={"order": order})
        for order, place in enumerate(places)
        if place in held
    ]


def _new_number(run: Run, numbers: dict[int, int], epoch: int) -> int:
    if epoch not in numbers:
        raise InvalidRun(
            f"{run.name}: an answer names start {epoch} of a server, which is not there"
        )
    return numbers[epoch]


def _worth(
    runs: Sequence[Run], records: Sequence[TaskRecord], tasks: dict[str, Task]
) -> tuple[list[Score], list[Result]]:
    """Scores in the order in which a run has them, and the results that follow from them."""
    scores: list[Score] = []
    results: list[Result] = []
    held = {
        (s.task, s.scorer, s.scorer_version, s.sample_id, s.repeat): s
        for run in runs
        for s in run.scores
    }
    for record in records:
        one = next(run for run in runs if any(task.name == record.name for task in run.tasks))
        own: dict[tuple[str, int], list[Score]] = {}
        for score in one.scores:
            if score.task == record.name:
                own.setdefault((score.scorer, score.scorer_version), [])
        for by, rows in own.items():
            for item, repeat in _places(record):
                key = (record.name, *by, item.id, repeat)
                rows.append(held[key])
            scores += rows
        for result in one.results:
            if result.task == record.name:
                by = (result.scorer, result.scorer_version)
                results.append(_result(tasks[record.name], record, own[by]))
    return scores, results


def _places(record: TaskRecord) -> list[tuple[ExpectedItem, int]]:
    return [(item, repeat) for repeat in range(record.repeats) for item in record.expected]


def _result(task: Task, record: TaskRecord, rows: Sequence[Score]) -> Result:
    judges = {score.judge for score in rows}
    if len(judges) > 1:
        raise NotComparable(
            f"{record.name}: graded by {' and '.join(sorted(map(str, judges)))}",
            hint="merge shards without grades, and grade the run: flagos-eval score",
        )
    return metrics.aggregate(task, record.expected, rows)
