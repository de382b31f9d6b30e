"""A run file: its seal, its files, its questions, its scores and its results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .. import archive, comparison_file, seal, shards, store
from ..errors import CorruptFile, FlagosEvalError
from ..records import Run, TaskRecord
from ..scoring.batch import Tick
from ..task import Task
from . import operators, questions, scores
from .counters import check_counters
from .ledger import Ledger, Verified

LoadTask = Callable[[str], Task]
_MAX_BYTES = 2 * 2**30


def verify_run(path: Path, load_task: LoadTask, *, tick: Tick = lambda: None) -> Verified:
    """Compute everything in a run again that follows from its stored responses.

    Args:
        path: A run file or a pack.
        load_task: Name -> the installed task.
        tick: Told of each item that is scored.

    Raises:
        FileError, CorruptFile, UsageError: it cannot be read, or is no run.
        InvalidRun: its numbers contradict each other already; says which.
    """
    data = (
        archive.read_run(path)
        if path.suffix == ".zip"
        else comparison_file.read_bytes(path, _MAX_BYTES)
    )
    run = store.parse(data, path)
    ledger = Ledger()
    _check_seal(ledger, data, path)
    whole = questions.check_files(ledger, run, path)
    operators.check(ledger, run, path, whole)
    known: dict[str, Task] = {}
    for record in run.tasks:
        questions.check_settings(ledger, run, record)
        asked = questions.items(ledger, run, path, record, whole)
        task = _task(ledger, record, load_task)
        if task is not None:
            known[record.name] = task
        if asked is None or task is None:
            ledger.unchecked.append(f"{record.name}: requests, scores and results")
            continue
        part = questions.Part(run, record, task, asked)
        questions.check_requests(ledger, part)
        scores.check_results(ledger, part, tick)
    try:
        questions.check_logprobs(ledger, run, path, whole)
    except CorruptFile as error:
        ledger.wrong("log-probabilities", "a file of them", error.message)
    check_counters(ledger, run)
    if run.imported is None:
        _check_share(ledger, run)
        _check_state(ledger, run)
        _check_phase(ledger, run, known)
    return ledger.close(f"run {run.name}")


def _check_seal(ledger: Ledger, data: bytes, path: Path) -> None:
    held = seal.holds(data)
    if held is None and seal.FIELD in comparison_file.json_object(data, path):
        held = False  # there is a seal, and not where it was put
    if held is None:
        ledger.unchecked.append(
            "what does not follow from the responses, as times and facts (the file has no seal)"
        )
    elif held:
        ledger.checked.append("the seal")
    else:
        ledger.wrong("seal", "what was written", "the file was changed since")


def _task(ledger: Ledger, record: TaskRecord, load_task: LoadTask) -> Task | None:
    try:
        return load_task(record.name)
    except FlagosEvalError as error:
        ledger.unchecked.append(f"{record.name}: {error.message}")
        return None


def _check_share(ledger: Ledger, run: Run) -> None:
    """A shard has every n-th item of each task; which ones, only the whole could show."""
    if run.shard is not None:
        wanted = {task.task: len(shards.share(range(task.n), run.shard)) for task in run.shard.of}
        held = {task.name: len(task.expected) for task in run.tasks}
        ledger.same(f"items of shard {run.shard}", held, {k: n for k, n in wanted.items() if n})


def _check_state(ledger: Ledger, run: Run) -> None:
    """A run is complete if everything has a response, and few enough of those are errors."""
    setting = run.settings.get("max_error_rate")
    if setting is None or not isinstance(setting.value, int | float):
        return
    total = sum(len(item.request_hashes) for task in run.tasks for item in task.expected)
    errors = sum(response.error is not None for response in run.responses)
    whole = len(run.responses) == total and errors <= setting.value * total
    ledger.same("state", run.state, "complete" if whole else "incomplete")


def _check_phase(ledger: Ledger, run: Run, known: dict[str, Task]) -> None:
    """Fewer items than a benchmark has, or another split of it, is a preview; the items of a shard
    count together with those of the others."""
    whole = {task.task: task.n for task in run.shard.of} if run.shard else {}
    found: list[bool | None] = []
    for record in run.tasks:
        task = known.get(record.name)
        if task is None or task.version != record.version:
            found.append(None)
            continue
        dataset = task.dataset
        n = dataset.n.get(record.dataset.split)
        asked = whole.get(record.name, len(record.expected))
        other = record.dataset.split != dataset.split
        found.append(other or (None if n is None else asked != n))
    if True in found:
        ledger.same("phase", run.phase, "preview")
    elif None not in found:
        ledger.same("phase", run.phase, "official")
