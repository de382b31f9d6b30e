"""TOML files, which may be a stranger's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .errors import FileError, UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES = 2**20


def read_bytes(path: Path) -> bytes:
    """A TOML file's bytes.

    Raises:
        FileError: it cannot be read, or is larger than 1 MiB.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise FileError(f"{path} is larger than any file of settings ({MOST_BYTES} bytes)")
    return data


def parse(data: bytes, name: str) -> dict[str, Any]:
    """Its content; `name` is for the message.

    Raises:
        UsageError: it is not TOML; names the place.
    """
    try:
        content: dict[str, Any] = tomllib.loads(data.decode("utf-8"))
    except RecursionError as error:
        raise UsageError(f"{name} is not TOML: it is nested too deep") from error
    except ValueError as error:  # of TOML, of UTF-8, and of a number of 5000 digits
        raise UsageError(f"{name} is not TOML: {error}") from error
    return content
