"""The append-only journal of a run in progress.

One line an event: CRC-32 of the rest in eight hexadecimal digits, a space, JSON. A line goes out in
one ``write``, so a killed process leaves at most its last line torn, which the next start cuts off.
Any other damage is an error that names the line. The file is removed once the run file is safely
written."""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError

from .errors import CorruptFile, FileError, JournalLocked, SettingsChanged, UsageError
from .records import (
    SCHEMA_VERSION,
    Capability,
    Epoch,
    Fact,
    Response,
    RunPart,
    Weights,
)

Key = tuple[str, str, int, "str | None"]
_ENCODER = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Learnt:
    """What the parts of a run found out about its servers."""

    facts: tuple[Fact, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    weights: Weights | None = None

    def then(self, later: Learnt) -> Learnt:
        """With what was learnt later, which counts where both speak: readers take the last fact of
        a name. One that was otherwise before stays on record."""
        known = {capability.name: capability for capability in self.capabilities}
        known |= {capability.name: capability for capability in later.capabilities}
        earlier = (fact for fact in self.facts if fact not in later.facts)
        return Learnt(
            facts=(*earlier, *later.facts),
            capabilities=tuple(known.values()),
            weights=later.weights or self.weights,
        )


@dataclass(frozen=True)
class Kept:
    """What an earlier start of the same run left."""

    responses: dict[Key, Response]
    """The last response to each request, errors included."""
    epochs: tuple[Epoch, ...]
    started_at: str
    run_id: str
    torn: bool
    """A torn last line was cut off."""
    parts: tuple[RunPart, ...] = ()
    """Each as it was last written; without those of versions that wrote none."""
    learnt: Learnt = Learnt()
    identity: Mapping[str, JsonValue] = field(default_factory=dict)
    """What must be the same, as far as it was known when the earlier start ended."""


class Journal:
    """Appends what happens; use `open_journal` to make one."""

    def __init__(self, path: Path, descriptor: int, kept: Kept) -> None:
        self.path, self.kept = path, kept
        self._descriptor = descriptor

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock; what was appended stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def response(self, response: Response, logprobs: JsonValue = None) -> None:
        """Append an answer, or a failure, with its log-probabilities."""
        event: dict[str, Any] = {"response": response.model_dump(exclude_defaults=True)}
        if logprobs is not None:
            event["logprobs"] = logprobs
        self._append(event)

    def epoch(self, epoch: Epoch) -> None:
        """Append the start of a server."""
        self._append({"epoch": epoch.model_dump()})

    def part(self, part: RunPart) -> None:
        """Append what is known of a part of the run; the last entry of a part counts."""
        self._append({"part": part.model_dump()})

    def learnt(self, learnt: Learnt) -> None:
        """Append what was found out about the servers."""
        event = {
            "facts": [fact.model_dump() for fact in learnt.facts],
            "capabilities": [capability.model_dump() for capability in learnt.capabilities],
            "weights": learnt.weights.model_dump() if learnt.weights else None,
        }
        self._append({"learnt": event})

    def identify(self, identity: Mapping[str, JsonValue]) -> None:
        """Append what must be the same and was not known when the journal was opened.

        Raises:
            SettingsChanged: an earlier start of the run had something else.
        """
        known = self.kept.identity
        _same(self.path, known, identity, known.keys() & identity.keys())
        new = {name: value for name, value in identity.items() if name not in known}
        if new:
            self._append({"identity": new})
            self.kept = replace(self.kept, identity={**known, **new})

    def sync(self) -> None:
        """Force what was appended to the disk."""
        os.fsync(self._descriptor)

    def remove(self) -> None:
        """Delete the file: its content is in a run file now."""
        self.path.unlink(missing_ok=True)
        self.close()

    def _append(self, event: Mapping[str, Any]) -> None:
        _write(self._descriptor, self.path, event)

    def logprobs(self) -> Iterator[tuple[Key, JsonValue]]:
        """Log-probabilities by request, in the order of the answers; read from the file one by one.

        A request may come twice: the later one counts.
        """
        for event in _events(self.path):
            if event.get("logprobs") is not None:
                yield Response.model_validate(event["response"]).key, event["logprobs"]


def open_journal(
    path: Path,
    identity: Mapping[str, JsonValue],
    *,
    run_id: str,
    started_at: str,
    fresh: bool = False,
) -> Journal:
    """Open, lock and repair a journal, or begin one.

    Args:
        path: The file; its folder is made.
        identity: Every setting that must be the same for answers to belong together. What is known
            only later follows with `Journal.identify`.
        run_id: Name of a run that begins here.
        started_at: UTC time of a run that begins here.
        fresh: Begin anew, dropping what is there.

    Raises:
        SettingsChanged: it was begun with other settings; names them.
        JournalLocked: another process writes to it.
        CorruptFile: a line other than a torn last one is damaged; names it.
        FileError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error
    try:
        _lock(descriptor, path)
        if fresh:
            os.ftruncate(descriptor, 0)
        torn = _cut_torn_line(descriptor, path)
        with _without_collection():
            kept = _read(path, torn)
        if kept is None or not kept.responses:
            # Without answers there is nothing that other settings could be mixed with.
            os.ftruncate(descriptor, 0)
            header = {
                "journal": SCHEMA_VERSION,
                "run_id": run_id,
                "started_at": started_at,
                "identity": dict(identity),
            }
            _write(descriptor, path, header)
            kept = Kept({}, (), started_at, run_id, torn, identity=identity)
        else:
            _same_settings(path, kept.identity, identity)
    except BaseException:
        os.close(descriptor)
        raise
    return Journal(path, descriptor, kept)


def check_settings(path: Path, identity: Mapping[str, JsonValue]) -> None:
    """Raise what `open_journal` would raise about settings, and leave the file as it is.

    Raises:
        SettingsChanged: it holds answers and was begun with other settings; names them.
        CorruptFile: a line other than a torn last one is damaged; names it.
        FileError: it cannot be read.
    """
    if not path.is_file():
        return
    try:
        kept = _read(path, torn=False)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    if kept is not None and kept.responses:
        _same_settings(path, kept.identity, identity)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise JournalLocked(
            f"another flagos-eval is writing {path}",
            hint="wait for it, or choose another output with -o",
        ) from error


def _write(descriptor: int, path: Path, event: Mapping[str, Any]) -> None:
    data = _ENCODER.encode(event).encode("ascii")
    line = b"%08x %s\n" % (zlib.crc32(data), data)
    try:
        written = os.write(descriptor, line)
        if written != len(line):
            # A full disk can take part of a line. Nothing may ever be appended to a torn one.
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise FileError(
            f"cannot write {path}: {error.strerror}",
            hint="what was answered before is kept: free some space and run the same command again",
        ) from error


def _cut_torn_line(descriptor: int, path: Path) -> bool:
    """Cut what follows the last line end: the line that a killed process did not finish."""
    try:
        data = path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end == len(data):
            return False
        os.ftruncate(descriptor, end)
    except OSError as error:
        raise FileError(f"cannot repair {path}: {error.strerror}") from error
    return True


def _events(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return
            checksum, _, data = line[:-1].partition(b" ")
            try:
                if checksum != b"%08x" % zlib.crc32(data):
                    raise ValueError("checksum does not match")
                event = json.loads(data)
                if not isinstance(event, dict):
                    raise ValueError("not an event")
            except (ValueError, RecursionError) as error:
                raise _damaged(path, number, str(error)) from error
            yield event


def _damaged(path: Path, number: int, reason: str) -> CorruptFile:
    return CorruptFile(
        f"{path} line {number} is damaged ({reason})",
        hint="restore the file, or start over with --fresh (answers kept so far are lost)",
    )


def _read(path: Path, torn: bool) -> Kept | None:
    """What the journal holds, or None if it has not even a header."""
    header: dict[str, Any] | None = None
    responses: dict[Key, Response] = {}
    epochs: list[Epoch] = []
    parts: dict[int, RunPart] = {}
    learnt = Learnt()
    identity: dict[str, JsonValue] = {}
    for number, event in enumerate(_events(path), 1):
        if header is None:
            header = _header(path, event)
            identity.update(header["identity"])
            continue
        try:
            if "response" in event:
                response = Response.model_validate(event["response"])
                responses[response.key] = response
            elif "epoch" in event:
                epochs.append(Epoch.model_validate(event["epoch"]))
            elif "part" in event:
                part = RunPart.model_validate(event["part"])
                parts[part.index] = part
            elif "identity" in event:
                identity |= _IDENTITY.validate_python(event["identity"])
            elif "learnt" in event:
                learnt = learnt.then(_LEARNT.validate_python(event["learnt"]))
            else:
                raise _damaged(path, number, "unknown event")
        except ValidationError as error:
            raise _damaged(path, number, error.errors()[0]["msg"]) from error
    if header is None:
        return None
    kept = Kept(responses, tuple(epochs), header["started_at"], header["run_id"], torn)
    return replace(kept, parts=tuple(parts.values()), learnt=learnt, identity=identity)


_LEARNT = TypeAdapter(Learnt)
_IDENTITY = TypeAdapter(dict[str, JsonValue])


@contextmanager
def _without_collection() -> Iterator[None]:
    """Reading makes a million objects and no cycles: looking for some takes half as long again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _header(path: Path, event: dict[str, Any]) -> dict[str, Any]:
    version = event.get("journal")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UsageError(
            f"{path} was begun by a newer version of flagos-eval (journal {version}, this one "
            f"continues {SCHEMA_VERSION})",
            hint="upgrade flagos-eval, or choose another output with -o",
        )
    kinds = {"run_id": str, "started_at": str, "identity": dict}
    whole = all(isinstance(event.get(name), kind) for name, kind in kinds.items())
    if version != SCHEMA_VERSION or not whole:
        raise UsageError(
            f"{path} is not a journal that this version can continue",
            hint="start over with --fresh, or choose another output with -o",
        )
    return event


def _same_settings(
    path: Path, before: Mapping[str, JsonValue], identity: Mapping[str, JsonValue]
) -> None:
    """Compare what both know, and all settings, which are known from the beginning: their names are
    identifiers, and those of what is known of a task ("mmmu items") are not."""
    names = {name for name in before.keys() ^ identity.keys() if name.isidentifier()}
    _same(path, before, identity, names | (before.keys() & identity.keys()))


def _same(
    path: Path,
    before: Mapping[str, JsonValue],
    identity: Mapping[str, JsonValue],
    names: Iterable[str],
) -> None:
    now = json.loads(json.dumps(dict(identity)))
    changed = sorted(name for name in names if before.get(name) != now.get(name))
    if changed:
        shown = "; ".join(
            f"{name} was {_brief(before.get(name))}, is {_brief(now.get(name))}" for name in changed
        )
        raise SettingsChanged(
            f"{path} was begun with other settings: {shown}",
            hint="--fresh starts over and drops the answers kept so far; -o chooses another output",
        )


def _brief(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
