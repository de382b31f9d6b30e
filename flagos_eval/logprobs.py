"""The log-probabilities that runs kept, read back item by item."""

from __future__ import annotations

import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import samples
from .errors import CorruptFile
from .records import Run

_MAX_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Token:
    """One token of an answer."""

    text: str
    logprob: float
    """Natural logarithm."""
    others: dict[str, float]
    """The alternatives that the server reported, the token itself among them as a rule."""


Trace = tuple[Token, ...]
"""An answer, token by token."""


def read(run: Run, path: Path, task: str) -> dict[str, Trace]:
    """Item -> its first answer, token by token; empty where the run kept none.

    Raises:
        FileError: the file is missing.
        CorruptFile: it is not the one that the run was written with, or a line of it is damaged.
    """
    stored = [file for file in run.files if file.kind == "logprobs"]
    if not stored:
        return {}
    name = stored[0].path
    wanted = {
        r.logprobs_line: r.sample_id
        for r in run.responses
        if r.task == task and r.repeat == 0 and r.logprobs_line is not None
    }
    data = samples.read_stored(path, stored[0])
    return {
        wanted[number]: _trace(line, f"{name} line {number + 1}")
        for number, line in enumerate(lines(data, name))
        if number in wanted
    }


def lines(data: bytes, name: str) -> Iterator[bytes]:
    """The lines of a file of log-probabilities.

    Raises:
        CorruptFile: it is damaged.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as unpacked:
            read = 0
            for line in unpacked:
                read += len(line)
                if read > _MAX_BYTES:
                    raise CorruptFile(f"{name} holds more than {_MAX_BYTES} bytes")
                yield line
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptFile(f"{name} is damaged ({error})") from error


def _trace(line: bytes, where: str) -> Trace:
    try:
        return tuple(
            Token(str(text), _finite(value), {str(t): _finite(v) for t, v in others})
            for text, value, others in json.loads(line)["tokens"]
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CorruptFile(f"{where} is damaged ({type(error).__name__})") from error


def _finite(value: Any) -> float:
    """A log-probability. None that is endless or no number was ever written (see `reply`), and one
    would make every average of tokens the same."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number
