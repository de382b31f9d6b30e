"""Reading a pack: a zip with a run, what belongs to it, and SHA256SUMS.

Nothing is ever unpacked to the disk, so the names in a stranger's pack cannot lead anywhere.
"""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from .errors import CorruptFile, FileError
from .records import sha256_hex

RUN = "run.json"
SUMS = "SHA256SUMS"
IMAGES = "images"
_MAX_MEMBER = 2 * 2**30


def read_run(path: Path) -> bytes:
    """The run file's bytes, after every member was checked against SHA256SUMS.

    Raises:
        FileError: the pack cannot be read.
        CorruptFile: a member is missing, added or altered; names it.
    """
    sums = _parse_sums(read_member(path, SUMS), path)
    with _open(path) as archive:
        names = {info.filename for info in archive.infolist()} - {SUMS}
    if names != set(sums):
        odd = sorted(names ^ set(sums))[0]
        raise CorruptFile(f"{path}: {odd} is in the pack or in {SUMS}, and not in both")
    for name, digest in sums.items():
        if sha256_hex(read_member(path, name)) != digest:
            raise CorruptFile(f"{path}: {name} is not what was packed")
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
                raise CorruptFile(f"{path}: {name} unpacks to {info.file_size} bytes")
            return archive.read(info)
        except KeyError as error:
            raise CorruptFile(f"{path} is no pack of a run: it has no {name}") from error
        except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError) as error:
            raise CorruptFile(f"{path}: {name} is damaged ({error})") from error


def image_names(path: Path) -> set[str]:
    """SHA-256 of the images in a pack."""
    with _open(path) as archive:
        paths = [PurePosixPath(info.filename) for info in archive.infolist()]
    return {member.name for member in paths if member.parts[0] == IMAGES}


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise CorruptFile(f"{path} is not a pack: {error}") from error
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error


def _parse_sums(data: bytes, path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64:
            raise CorruptFile(f"{path}: {SUMS} line {number} is damaged")
        found[name] = digest
    return found
