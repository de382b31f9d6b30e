"""What every stored record is made of."""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1
"""Of the run file, the journal and the samples sidecar; raised when an older reader would misread
them."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Utc = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")]


def _stays_inside(path: str) -> str:
    plain = PurePosixPath(path)
    outside = plain.is_absolute() or not plain.parts or ".." in plain.parts
    if outside or str(plain) != path or "\0" in path:
        raise ValueError(f"{path!r} is not a path below the folder of the run file")
    return path


InnerPath = Annotated[str, AfterValidator(_stays_inside)]
"""A file below the run file's folder. It may come from a stranger, and is read and written to."""


_FIELDS_SETS: dict[frozenset[str], set[str]] = {}


class Record(BaseModel):
    """Base of everything stored: immutable, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        protected_namespaces=(),  # pydantic 2.9 warns of `model_root`
    )

    def model_post_init(self, context: Any) -> None:
        """Let records share the names of the fields that they were given.

        Pydantic keeps them as a set in every instance: half of what a response takes, and a run
        has hundreds of thousands of records. Nothing changes a set, as records are frozen."""
        own = self.__pydantic_fields_set__
        object.__setattr__(
            self, "__pydantic_fields_set__", _FIELDS_SETS.setdefault(frozenset(own), own)
        )


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, so that equal values have equal bytes (and hashes).

    Lone surrogates, which JSON from strangers may hold, are escaped rather than refused.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return text.encode("ascii")


def sha256_hex(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()
