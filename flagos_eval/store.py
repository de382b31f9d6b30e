"""Run files: written whole or not at all, read with every number checked.

A run file is JSON with one record a line, so that it can be read by eye, searched with grep and
diffed. See docs/run-file.md."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from . import archive, seal
from .errors import CorruptFile, FileError, InvalidRun, UsageError
from .records import SCHEMA_VERSION, Run

RESULTS = Path("results")
"""Where runs go, and where a bare name is looked for."""

_MAX_RUN_BYTES = 2 * 2**30
_LISTS = ("responses", "scores", "results", "facts", "epochs", "parts", "capabilities", "files")


@dataclass(frozen=True)
class Stored:
    """A run and the file that it was read from."""

    run: Run
    path: Path


def find(name: str | Path) -> Path:
    """The file of that name, also looked for in ``results/``.

    Raises:
        FileError: neither exists.
    """
    path = Path(name)
    for candidate in (path, RESULTS / path):
        if candidate.is_file():
            return candidate
    where = f"{path} (nor {RESULTS / path})" if not path.is_absolute() else str(path)
    raise FileError(f"there is no file {where}", hint="flagos-eval ls runs")


@contextmanager
def atomic_write(
    path: Path, *, final: Callable[[], Path | None] | None = None
) -> Iterator[IO[bytes]]:
    """Write a file that appears complete or not at all.

    Args:
        path: The file.
        final: Called when everything is written, for a file in the same folder whose name follows
            from its content: the path that it gets, or None to drop it.

    Raises:
        FileError: the folder cannot be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed below, before it is renamed
            dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False
        )
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error
    temporary = Path(handle.name)
    try:
        with handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        place = final() if final else path
        if place is not None:
            temporary.chmod(0o644)
            temporary.replace(place)
    except OSError as error:
        raise FileError(
            f"cannot write {path}: {error.strerror}",
            hint="free some space and run the same command again",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def save(run: Run, path: Path) -> None:
    """Write a run file, one record a line, the seal at its end.

    Raises:
        FileError: the folder cannot be written, or the disk is full.
    """
    names = [name for name in type(run).model_fields if name != seal.FIELD]
    with atomic_write(path) as out:
        out.writelines(seal.pieces(_field(name, getattr(run, name)) for name in names))


def _field(name: str, value: Any) -> Iterator[str]:
    yield f"{json.dumps(name)}: "
    if name in _LISTS and value:
        yield from _lines(_json(item) for item in value)
    elif name == "tasks":
        yield from _lines(map(_task, value))
    else:
        yield _json(value)


def _lines(items: Iterable[str]) -> Iterator[str]:
    """A list with an element a line."""
    yield "[\n"
    for number, item in enumerate(items):
        yield f",\n{item}" if number else item
    yield "\n]"


def _task(record: Any) -> str:
    head = _json(record.model_dump(exclude={"expected"}))
    expected = ",\n".join(_json(item) for item in record.expected)
    return f'{head[:-1]},"expected":[\n{expected}\n]}}'


def _json(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump()  # mode="json" would alter lone surrogates in keys
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def load(name: str | Path) -> Run:
    """Read a run file, or the run in a pack.

    Raises:
        FileError: there is no such file, or it cannot be read.
        CorruptFile: it is cut or not JSON; names the line.
        UsageError: it is no run file, or one of a newer version.
        InvalidRun: its numbers contradict each other.
    """
    path = find(name)
    if path.suffix == ".zip":
        return parse(archive.read_run(path), path)
    try:
        if path.stat().st_size > _MAX_RUN_BYTES:
            raise FileError(f"{path} is larger than any run file ({_MAX_RUN_BYTES} bytes)")
        return parse(path.read_bytes(), path)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error


def parse(data: bytes, path: Path) -> Run:
    """A run from the bytes of its file; `path` is for the messages. Raises as `load` does."""
    try:
        content = json.loads(data.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:  # a ValueError also for a number of 5000 digits
        line = f" line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise CorruptFile(
            f"{path}{line}: not valid JSON ({_short(error)}): the file is damaged or cut",
            hint="take it again from where it was made; pack and SHA256SUMS guard a transfer",
        ) from error
    if not isinstance(content, dict) or "schema_version" not in content:
        raise UsageError(f"{path} is not a run file of flagos-eval")
    version = content["schema_version"]
    if version != SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        hint = "upgrade flagos-eval" if newer else "it was not written by flagos-eval"
        raise UsageError(
            f"{path} has schema version {_short(repr(version))}, "
            f"this flagos-eval reads {SCHEMA_VERSION}",
            hint=hint,
        )
    if "responses" not in content:
        raise UsageError(f"{path} is not a run file of flagos-eval")
    content.pop(seal.FIELD, None)  # it is the file's and not the run's, which may go elsewhere
    try:
        return Run.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "run"
        raise InvalidRun(
            f"{path}: {_short(where)}: {_short(first['msg'])}",
            hint="the file was edited or damaged after it was written",
        ) from error


def _short(message: object) -> str:
    """A message that quotes the file, which may be a stranger's, for a terminal."""
    text = str(message).removeprefix("Value error, ")
    text = "".join(c if c.isprintable() else "�" for c in text[:201])
    return text if len(text) <= 200 else text[:200] + "…"
