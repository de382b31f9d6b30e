"""TOML files, which may be a stranger's."""

from __future__ import annotations

import sys
from typing import Any

from .errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES = 2**20
"""Of any file of settings."""


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
