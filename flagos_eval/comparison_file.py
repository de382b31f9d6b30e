"""A comparison as ``flagos-eval report -o x.json`` stores it, and the run files it was made of."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from . import archive, bounded, store
from .errors import CorruptFile, FileError, FlagosEvalError, InvalidRun, UsageError
from .records import Comparison, Side

_MAX_BYTES = 256 * 2**20
_HEAD = 4096
_PIECE = 2**20
_RUN_HEAD = re.compile(rb'\A\{\s*"schema_version"\s*:\s*1\s*,\s*"id"\s*:\s*("(?:[^"\\]|\\.)*")')
"""How every run file begins."""


def read_bytes(path: Path, limit: int = _MAX_BYTES) -> bytes:
    """A file's bytes.

    Raises:
        FileError: it cannot be read, or is larger than `limit`.
    """
    try:
        if not path.is_file():  # a pipe that a stranger names would be waited for
            raise FileError(f"cannot read {path}: not a file, or not there")
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    return bounded.read_bytes(path, limit)


def json_object(data: bytes, path: Path) -> dict[str, Any]:
    """The object that a file holds; `path` is for the message.

    Raises:
        CorruptFile: it holds none.
    """
    try:
        content = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):  # a ValueError also for a number of 5000 digits
        content = None
    if not isinstance(content, dict):
        raise CorruptFile(
            f"{path} is not JSON that flagos-eval wrote",
            hint="a comparison is written by flagos-eval report REFERENCE CANDIDATE -o x.json",
        )
    return content


def parse(data: bytes, path: Path) -> Comparison:
    """A comparison from the bytes of its file; `path` is for the messages.

    Raises:
        CorruptFile: it is not JSON.
        UsageError: it is no comparison, or one of another version.
        InvalidRun: it is not as any comparison is written.
    """
    content = json_object(data, path)
    if "differences" not in content or "suite" not in content:
        raise UsageError(
            f"{path} is no comparison of flagos-eval",
            hint="write one: flagos-eval report REFERENCE CANDIDATE -o x.json",
        )
    if content.get("schema_version") != 1:
        raise UsageError(f"{path} has another schema version than 1", hint="upgrade flagos-eval")
    try:
        return Comparison.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "comparison"
        raise InvalidRun(
            f"{path}: {where}: {first['msg']}"[:400],
            hint="the file was edited after it was written, or by another version",
        ) from error


# --- The runs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SideFile:
    """What was found of a side's run file."""

    path: Path | None
    """None where nothing is at hand."""
    same: bool
    """Whether it has the hash that the comparison has of it."""


ABSENT = SideFile(None, False)


def sides(
    comparison: Comparison, path: Path, runs: Sequence[Path] = ()
) -> tuple[SideFile, SideFile]:
    """The two run files, as given, or else as found beside the comparison and in ``results/``.

    A file is a side's if its hash is the comparison's; a file of the same run with another hash is
    told as such only where no other has the right one.

    Args:
        comparison: What they were compared by.
        path: Its file.
        runs: Files to take instead of looking for them.

    Raises:
        FileError: a given file cannot be read.
        UsageError: a given file is neither side's run.
    """
    both = (comparison.baseline, comparison.candidate)
    for given in runs:
        if not any(_is_of(side, store.find(given)) for side in both):
            raise UsageError(
                f"{given} is neither {comparison.baseline.name} nor {comparison.candidate.name}, "
                "which were compared"
            )
    named = [store.find(given) for given in runs]
    folders = dict.fromkeys((path.parent, store.RESULTS))
    beside = [file for folder in folders for file in _run_files(folder)]
    one, other = (_side_file(side, (*named, *beside)) for side in both)
    return one, other


def _run_files(folder: Path) -> Iterator[Path]:
    """Run files before packs, whose hashes take longer."""
    for suffix in (".json", ".zip"):
        yield from sorted(file for file in folder.glob(f"*{suffix}") if file.is_file())


def _side_file(side: Side, files: Iterable[Path]) -> SideFile:
    other = ABSENT
    for file in files:
        if file.suffix == ".zip":
            if side.sha256 is not None and _digest(file) == side.sha256:
                return SideFile(file, True)
        elif run_id(file) == side.id:
            if side.sha256 is not None and _digest(file) == side.sha256:
                return SideFile(file, True)
            other = other if other.path else SideFile(file, False)
    return other


def _is_of(side: Side, file: Path) -> bool:
    if side.sha256 is not None and _digest(file) == side.sha256:
        return True
    return run_id(file) == side.id


def run_id(file: Path) -> str | None:
    """The id of the run in a file, from how run files begin; None for any other file."""
    try:
        if file.suffix == ".zip":
            head = archive.read_member(file, archive.RUN)[:_HEAD]
        else:
            with file.open("rb") as opened:
                head = opened.read(_HEAD)
        found = _RUN_HEAD.match(head)
        return str(json.loads(found[1])) if found else None
    except (OSError, ValueError, FlagosEvalError):
        return None  # somebody else's file, which is no run of ours


def _digest(file: Path) -> str:
    """Of a file that may be a pack of gigabytes."""
    found = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while piece := opened.read(_PIECE):
                found.update(piece)
    except OSError as error:
        raise FileError(f"cannot read {file}: {error.strerror}") from error
    return found.hexdigest()
