"""Reading a pack: a zip with a run, what belongs to it, and SHA256SUMS.

Nothing is ever unpacked to the disk, so the names in a stranger's pack cannot lead anywhere.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from .errors import CorruptFile, FileError
from .records import sha256_hex

RUN = "run.json"
SUMS = "SHA256SUMS"
IMAGES = "images"
_MAX_MEMBER = 2 * 2**30
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(RuntimeError, NotImplementedError, ValueError, OverflowError),
)
"""What the zip module raises at damage, encryption and unknown compression."""


def read_run(path: Path) -> bytes:
    """The run file's bytes, after every member was checked against SHA256SUMS.

    Raises:
        FileError: the pack cannot be read.
        CorruptFile: a member is missing, added or altered; names it.
    """
    sums = _parse_sums(read_member(path, SUMS), path)
    with _open(path) as archive:
        names = [info.filename for info in archive.infolist()]
    if len(set(names)) != len(names):
        raise CorruptFile(f"{path}: a name is in the pack twice")
    if set(names) != {*sums, SUMS}:
        odd = sorted({*names} ^ {*sums, SUMS})[0]
        raise CorruptFile(f"{path}: {odd!r} is in the pack or in {SUMS}, and not in both")
    for name, digest in sums.items():
        if sha256_hex(read_member(path, name)) != digest:
            raise CorruptFile(f"{path}: {name!r} is not what was packed")
    return read_member(path, RUN)


def read_member(path: Path, name: str) -> bytes:
    """One member's bytes.

    Raises:
        FileError: the pack cannot be read.
        CorruptFile: no such member, a damaged one, or one that unpacks to an absurd size.
    """
    with _open(path) as archive:
        try:
            info = archive.getinfo(name)
            if info.file_size > _MAX_MEMBER:
                raise CorruptFile(f"{path}: {name!r} unpacks to {info.file_size} bytes")
            return archive.read(info)
        except KeyError as error:
            raise CorruptFile(f"{path} is no pack of a run: it has no {name!r}") from error
        except _DAMAGE as error:
            raise CorruptFile(f"{path}: {name!r} is damaged ({error})") from error


def image_names(path: Path) -> set[str]:
    """SHA-256 of the images in a pack."""
    with _open(path) as archive:
        paths = [PurePosixPath(info.filename) for info in archive.infolist()]
    return {member.name for member in paths if member.parent == PurePosixPath(IMAGES)}


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    except _DAMAGE as error:
        raise CorruptFile(f"{path} is not a pack: {error}") from error


def _parse_sums(data: bytes, path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64:
            raise CorruptFile(f"{path}: {SUMS} line {number} is damaged")
        found[name] = digest
    return found
