"""Files that may be a stranger's, read up to a size."""

from __future__ import annotations

from pathlib import Path

from .errors import FileError


def read_bytes(path: Path, most: int, *, what: str = "") -> bytes:
    """A file's bytes; also those of a pipe, which has no size before it is read.

    Args:
        path: The file.
        most: Bytes that it may have.
        what: What it is, for the message.

    Raises:
        FileError: it cannot be read, or is larger.
    """
    name = f"{what} {path}".lstrip()
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise FileError(f"cannot read {name}: {error.strerror}") from error
    if len(data) > most:
        raise FileError(f"{name} is larger than any such file ({most} bytes)")
    return data
