"""Experiment -> what became of each arm, and its comparisons. One arm that fails does not take the
others along."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import comparison_file, errors, signing, store
from . import run as running
from .arms import Experiment, Ready
from .arms_file import VERSUS, Pair
from .compare_files import LoadTask, compare_files
from .errors import FlagosEvalError, UsageError
from .progress import Note, Reporter
from .records import Comparison
from .reports import json as as_json

State = Literal["kept", "finished before", "finished", "invalid", "incomplete", "failed"]
USABLE: tuple[State, ...] = ("kept", "finished before", "finished", "invalid")


@dataclass(frozen=True)
class Outcome:
    """What became of an arm."""

    arm: str
    state: State
    path: Path
    """Its run file; not there if it failed."""
    why: str | None = None
    """Of an invalid, incomplete or failed one."""
    error: FlagosEvalError | None = None

    @property
    def code(self) -> int:
        """The exit code that ``run`` would have."""
        if self.error is not None:
            return self.error.exit_code
        codes: dict[State, int] = {
            "invalid": errors.EXIT_NOT_COMPARABLE,
            "incomplete": errors.EXIT_INCOMPLETE,
        }
        return codes.get(self.state, errors.EXIT_OK)


@dataclass(frozen=True)
class Compared:
    """What became of a pair."""

    pair: Pair
    path: Path
    comparison: Comparison | None
    """None if it was not made."""
    why: str | None = None
    """It was not made."""
    error: FlagosEvalError | None = None


def ask(experiment: Experiment, listen: Callable[[], Reporter]) -> Iterator[Outcome]:
    """Run the arms that are not finished, one after the other.

    Args:
        experiment: The arms, checked.
        listen: Makes a listener for one arm.

    Raises:
        Interrupted: stopped by a signal; what was answered is kept.
    """
    for arm in experiment.arms:
        if arm.job is None:
            yield Outcome(arm.name, "kept", arm.path)
        elif arm.finished:
            yield _before(arm)
        else:
            yield _ask(arm, listen)


def _before(arm: Ready) -> Outcome:
    invalid = store.load(arm.path).invalid
    if invalid:
        return Outcome(arm.name, "invalid", arm.path, "; ".join(invalid))
    return Outcome(arm.name, "finished before", arm.path)


def _ask(arm: Ready, listen: Callable[[], Reporter]) -> Outcome:
    assert arm.job is not None
    try:
        with listen() as report:
            report(Note("arm", f"{arm.name}: {arm.path}"))
            if arm.choice is not None:
                report(Note("server", arm.choice.why))
            run = running.execute(arm.job, report)
    except FlagosEvalError as error:
        # Whatever it is, it is this arm's: what all arms need was there before the first started.
        state: State = "incomplete" if error.exit_code == errors.EXIT_INCOMPLETE else "failed"
        return Outcome(arm.name, state, arm.path, error.message, error)
    if run.state == "incomplete":
        return Outcome(arm.name, "incomplete", arm.path, run.reason)
    if run.invalid:
        return Outcome(arm.name, "invalid", arm.path, "; ".join(run.invalid))
    return Outcome(arm.name, "finished", arm.path)


def compare(
    experiment: Experiment,
    outcomes: Sequence[Outcome],
    folder: Path,
    load_task: LoadTask,
) -> Iterator[Compared]:
    """Compare the pairs of which both arms are finished, and save each beside the runs.

    Args:
        experiment: The arms.
        outcomes: What became of them.
        folder: Where comparisons go.
        load_task: Name -> task, for scoring again.

    """
    files = {o.arm: str(o.path.resolve()) for o in outcomes if o.state in USABLE}
    for pair in experiment.pairs:
        path = folder / f"{VERSUS.join(pair)}.json"
        absent = [name for name in pair if name not in files]
        if absent:
            yield Compared(pair, path, None, f"{' and '.join(absent)} not finished")
            continue
        try:
            found, _ = compare_files(
                *(files[name] for name in pair),
                policy_name=experiment.policy,
                load_task=load_task,
                again=_repetitions(experiment, pair, files),
            )
            _save(found, path)
        except FlagosEvalError as error:
            yield Compared(pair, path, None, error.message, error)
            continue
        yield Compared(pair, path, found)


def _save(found: Comparison, path: Path) -> None:
    """Write a comparison, unless somebody signed another one of that name.

    Raises:
        UsageError: somebody did.
        FileError: it cannot be written.
    """
    data = as_json.render(found).encode("ascii")
    there = path.is_file()
    if there and comparison_file.read_bytes(path) == data:
        return
    if there and signing.signatures(path):
        raise UsageError(
            f"{path} is signed and stays as it is: it would not be the same any more",
            hint="-o another folder, with the runs that it was made of",
        )
    with store.atomic_write(path) as out:
        out.write(data)


def _repetitions(experiment: Experiment, pair: Pair, files: Mapping[str, str]) -> list[str]:
    """Further runs of the sides, as ``compare --noise`` takes them: what a side differs in from
    itself. An arm that is the other side is not among them."""
    return [
        f"{side}={files[arm.name]}"
        for side, name in zip(("reference", "candidate"), pair, strict=True)
        for arm in experiment.arms
        if arm.repeat_of == name and arm.name not in pair and arm.name in files
    ]


def exit_code(codes: Sequence[int]) -> int:
    """The code of the whole: the first arm or comparison that could not be made at all (2, 74)
    before the first of 4, 5, 1, 3, 0."""
    stops = [code for code in codes if code in (errors.EXIT_USAGE, errors.EXIT_IO)]
    return stops[0] if stops else errors.worst_exit_code(*codes)
