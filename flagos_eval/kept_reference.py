"""A reference run that is kept, and used again for later releases: may it still serve as one?"""

from __future__ import annotations

import datetime

from . import archive, comparison_file, seal, store
from .errors import UsageError
from .records import Run
from .store import Stored

MAX_AGE = 180.0
"""Days. Drivers, datasets and this program change; a reference is made again twice a year."""

_MAX_BYTES = 2 * 2**30
_DAY = datetime.timedelta(days=1)


def load(name: str, *, max_age: float, now: str) -> Stored:
    """A finished run that may serve as a reference today.

    Args:
        name: A run file or pack, also looked for in ``results/``.
        max_age: Days since it ended, at most.
        now: UTC time of now.

    Raises:
        FileError, CorruptFile, InvalidRun: it cannot be read, or is not what was written.
        UsageError: it is no run, not finished, too old, or was changed after it was written.
    """
    path = store.find(name)
    packed = path.suffix == ".zip"
    data = archive.read_run(path) if packed else comparison_file.read_bytes(path, _MAX_BYTES)
    run = store.parse(data, path)
    if not seal.holds(data):
        raise UsageError(
            f"{path} cannot be the reference: it was changed after it was written, or has no seal "
            "that shows that it was not",
            hint=f"flagos-eval verify {path}",
        )
    if run.state == "incomplete":
        raise UsageError(
            f"{path} cannot be the reference: it is incomplete ({run.reason})",
            hint="the command that made it goes on where it stopped",
        )
    if run.invalid:
        raise UsageError(
            f"{path} cannot be the reference: it is invalid ({'; '.join(run.invalid)})",
            hint="run the reference again",
        )
    age = (_moment(now) - _moment(run.ended_at)) / _DAY
    if age > max_age:
        raise UsageError(
            f"{path} cannot be the reference: it ended on {run.ended_at[:10]}, {age:.0f} days ago, "
            f"and may be {max_age:g} days old",
            hint="run the reference again, or say how old it may be: --reference-max-age DAYS",
        )
    return Stored(run, path)


def refuse_preview(reference: Stored, *, wanted: bool) -> None:
    """Raise if a run that is meant to be whole would become a preview by following one.

    Args:
        reference: What is followed.
        wanted: Whether this run was asked for as a preview, by a limit or another split.

    Raises:
        UsageError: it would.
    """
    if reference.run.phase == "preview" and not wanted:
        limit = _value(reference.run, "limit")
        raise UsageError(
            f"{reference.path} cannot be the reference: it is a preview, which did not ask the "
            "whole benchmark",
            hint=f"make this run a preview too: --limit {limit}" if limit else "take a whole run",
        )


def _value(run: Run, name: str) -> object:
    return run.settings[name].value if name in run.settings else None


def _moment(utc: str) -> datetime.datetime:
    """A time of a record, to the second."""
    try:
        return datetime.datetime.fromisoformat(f"{utc[:19]}+00:00")
    except ValueError as error:
        raise UsageError(f"{utc} is no date: when the reference ended is not known") from error
