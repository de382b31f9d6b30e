"""The samples sidecar: what was asked, kept beside the run, so that showing, re-scoring and
reporting need neither dataset nor network.

One gzipped JSON-lines file a task, named by the hash of its content and so shared by runs of the
same items."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pydantic import ValidationError

from . import archive
from .errors import CorruptFile, FileError
from .records import ImagePart, Run, Sample, StoredFile, TextPart, canonical_json, sha256_hex
from .store import atomic_write

if TYPE_CHECKING:
    from .images import ImageBank

FOLDER = "samples"
_THUMBNAIL = 96
_MAX_BYTES = 2 * 2**30


@dataclass(frozen=True)
class StoredSample:
    """A sample as it was kept."""

    sample: Sample
    thumbnails: dict[str, str]
    """SHA-256 of the image that was sent -> data URL of a small JPEG."""


def write(
    samples: Sequence[Sample], bank: ImageBank, run_path: Path, *, withhold: bool = False
) -> StoredFile:
    """Store a task's samples beside a run file, or find that they are there already.

    Args:
        samples: The items of one task.
        bank: Where their images are.
        run_path: The run file; the sidecar goes to ``samples/`` beside it.
        withhold: Leave out texts and thumbnails (for data whose licence does not let them travel);
            the hashes stay.

    Raises:
        FileError: the folder cannot be written.
    """
    lines = (_line(sample, bank, withhold) for sample in samples)
    return keep(lines, samples[0].task, run_path)


def keep(lines: Iterable[bytes], task: str, run_path: Path) -> StoredFile:
    """Store lines of a task's samples as `write` does, each with its end.

    Raises:
        FileError: the folder cannot be written.
    """
    folder, digest = run_path.parent / FOLDER, hashlib.sha256()

    def path() -> Path:
        return folder / f"{task}-{digest.hexdigest()[:16]}.jsonl.gz"

    def unless_held() -> Path | None:
        return None if _holds(path(), digest.digest()) else path()

    # One by one: the thumbnails of a large benchmark need not fit in memory. The time stamp of a
    # gzip file would make equal contents differ.
    with (
        atomic_write(folder / "samples", final=unless_held) as out,
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, filename="", mtime=0) as packed,
    ):
        for line in lines:
            digest.update(line)
            packed.write(line)
    return StoredFile(
        kind="samples",
        path=f"{FOLDER}/{path().name}",
        sha256=_digest(path().open("rb")).hex(),
        task=task,
    )


def _holds(path: Path, digest: bytes) -> bool:
    """Whether an earlier run left the same samples, undamaged."""
    try:
        return _digest(gzip.open(path)) == digest
    except (OSError, EOFError, zlib.error):
        return False


def _digest(file: IO[bytes] | gzip.GzipFile) -> bytes:
    """SHA-256 of what is in a file, which is closed."""
    found = hashlib.sha256()
    with file:
        while piece := file.read(2**20):
            found.update(piece)
    return found.digest()


def _line(sample: Sample, bank: ImageBank, withhold: bool) -> bytes:
    if withhold:
        bare = sample.model_copy(
            update={
                "input": tuple(
                    TextPart(text="") if isinstance(part, TextPart) else part
                    for part in sample.input
                ),
                "choices": (),
                "target": (),
                "metadata": {},
                "withheld": True,
            }
        )
        return canonical_json({"sample": bare.model_dump(), "thumbnails": {}}) + b"\n"
    present = [image for image in sample.images if not image.absent]
    made = {image.sha256: _thumbnail(image, bank) for image in present}
    thumbnails = {digest: url for digest, url in made.items() if url is not None}
    return canonical_json({"sample": sample.model_dump(), "thumbnails": thumbnails}) + b"\n"


def _thumbnail(part: ImagePart, bank: ImageBank) -> str | None:
    """A small JPEG as a data URL, or None for an image that cannot be decoded.

    A cut file has a readable header and may well have been answered or refused by the server: that
    it has no picture to show must not keep a run from being saved.
    """
    from PIL import Image

    from .images import OPENED

    data = bank.read(part)
    try:
        with Image.open(io.BytesIO(data), formats=OPENED) as image:
            # JPEG decodes at a fraction of its size.
            image.draft("RGB", (2 * _THUMBNAIL, 2 * _THUMBNAIL))
            small = image.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    out = io.BytesIO()
    small.save(out, format="JPEG", quality=60)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def read(
    run: Run, run_path: Path, task: str, only: Container[str] | None = None
) -> dict[str, StoredSample]:
    """A task's samples by id, checked against the run.

    Args:
        run: The run.
        run_path: Its file, beside which its samples are.
        task: One of its tasks.
        only: The ids that are wanted, which is much quicker if they are few; None for all.

    Raises:
        FileError: the sidecar is missing.
        CorruptFile: it is not what was written; names the line.
    """
    stored = [file for file in run.files if file.kind == "samples" and file.task == task]
    if not stored:
        raise FileError(f"{run_path} has no samples stored for {task}")
    path = run_path.parent / stored[0].path
    found = _parse(read_stored(run_path, stored[0]), path, only)
    expected = {
        item.id: item.content_hash
        for item in run.task(task).expected
        if only is None or item.id in only
    }
    held = {id: kept.sample.content_hash for id, kept in found.items()}
    # A run that was made elsewhere may not know what was asked, only by which name.
    if any(held.get(id) != digest for id, digest in expected.items() if digest is not None) or (
        held.keys() != expected.keys()
    ):
        raise CorruptFile(f"{path} does not hold the items of {run_path}")
    return found


def lines(run: Run, run_path: Path, task: str) -> list[bytes]:
    """A task's samples as the lines that they were written as, each with its end.

    Raises:
        FileError: the sidecar is missing.
        CorruptFile: it is not what was written, or holds another number of items.
    """
    stored = [file for file in run.files if file.kind == "samples" and file.task == task]
    if not stored:
        raise FileError(f"{run_path} has no samples stored for {task}")
    data = _unpack(read_stored(run_path, stored[0]), run_path.parent / stored[0].path)
    found = data.splitlines(keepends=True)
    if len(found) != len(run.task(task).expected):
        raise CorruptFile(f"{stored[0].path} does not hold the items of {run_path}")
    return found


def _unpack(data: bytes, path: Path) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as unpacked:
            found = unpacked.read(_MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptFile(f"{path} is damaged ({error})") from error
    if len(found) > _MAX_BYTES:
        raise CorruptFile(f"{path} unpacks to more than {_MAX_BYTES} bytes")
    return found


def _parse(data: bytes, path: Path, only: Container[str] | None) -> dict[str, StoredSample]:
    content = _unpack(data, path)
    found: dict[str, StoredSample] = {}
    for number, line in enumerate(content.splitlines(), 1):
        try:
            entry = json.loads(line)
            if only is not None and entry["sample"]["id"] not in only:
                continue
            sample = Sample.model_validate(entry["sample"])
            thumbnails = {str(k): str(v) for k, v in entry["thumbnails"].items()}
        except (
            ValidationError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise CorruptFile(
                f"{path} line {number} is damaged ({type(error).__name__})"
            ) from error
        found[sample.id] = StoredSample(sample, thumbnails)
    return found


def read_stored(run_path: Path, file: StoredFile) -> bytes:
    """The bytes of a file that belongs to a run, from beside it or out of its pack, checked by
    hash.

    Raises:
        FileError: it is missing.
        CorruptFile: it is not the file that the run was written with.
    """
    if run_path.suffix == ".zip":
        data = archive.read_member(run_path, file.path)
    else:
        path = (run_path.parent / file.path).resolve()
        # The path comes from a run file, which may be a stranger's.
        if not path.is_relative_to(run_path.parent.resolve()):
            raise CorruptFile(f"{run_path} names a file outside its folder: {file.path!r}")
        try:
            if path.is_file() and path.stat().st_size > _MAX_BYTES:
                raise CorruptFile(f"{path} is larger than any file of a run ({_MAX_BYTES} bytes)")
            data = path.read_bytes()
        except OSError as error:
            raise FileError(
                f"cannot read {path}, which belongs to {run_path}: {error.strerror}",
                hint="move a run with flagos-eval pack, which takes along what belongs to it",
            ) from error
    if sha256_hex(data) != file.sha256:
        raise CorruptFile(f"{file.path!r} is not the file that {run_path} was written with")
    return data
