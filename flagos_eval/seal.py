"""The last field of a stored file: a hash over every byte before it, by which a change by hand is
found.

It proves nothing against somebody who computes it again: what a release was signed on is held by
the hashes in its signature."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator

from .records import sha256_hex

FIELD = "seal"
_END = re.compile(rb',\n"seal": "([0-9a-f]{64})"\n\}\n\Z')
_LENGTH = 79
"""Bytes of the seal and what ends the file."""


def sealed(fields: Iterable[str]) -> bytes:
    """A file of one JSON object, its last field the seal.

    Args:
        fields: Each a name and a value as JSON.
    """
    return b"".join(pieces([field] for field in fields))


def pieces(fields: Iterable[Iterable[str]]) -> Iterator[bytes]:
    """The file of `sealed` piece by piece, for one that need not fit in memory.

    Args:
        fields: Each the pieces of a name and a value as JSON.
    """
    digest = hashlib.sha256()
    for number, field in enumerate(fields):
        for piece in itertools.chain([",\n" if number else "{\n"], field):
            data = piece.encode("utf-8", "surrogatepass")
            digest.update(data)
            yield data
    yield f',\n"{FIELD}": "{digest.hexdigest()}"\n}}\n'.encode("ascii")


def holds(data: bytes) -> bool | None:
    """Whether a file is, byte for byte, what was written; None if it has no seal at its end."""
    found = _END.search(data, max(0, len(data) - _LENGTH))
    return sha256_hex(data[: found.start()]) == found[1].decode("ascii") if found else None
