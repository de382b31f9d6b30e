"""What a server's machine says about itself, as a file that is carried to where it is asked from.

A laptop's own facts say nothing about a server behind ``--base-url``. ``flagos-eval facts`` runs
where the server does; ``run --facts FILE`` attaches what it wrote. A hash over the content shows
that the file is as it was written. That it is about the server that answered shows only in the time
at which that server's process started, which both sides can see; without it the facts are told, not
verified."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from . import __version__, bounded, weights
from .clock import utc_now
from .environment import variables
from .errors import CorruptFile, UsageError
from .launchers._boot import effective_facts
from .operators import evidence
from .platforms import _software
from .platforms.base import Platform
from .records import Dispatch, Epoch, Fact, Record, Sha256, Utc, Weights, canonical_json, sha256_hex
from .server import Server

_MOST_BYTES = 64 * 2**20
_CLOCK = 1e-3
"""Seconds by which two readings of one start time may differ."""


class SeenServer(Record):
    """A server that ran on the machine, as it answered there."""

    url: str
    version: str | None
    models: tuple[str, ...]
    process_start: float | None


class FactsFile(Record):
    """Facts about one machine."""

    flagos_eval_facts: Literal[1] = 1
    made_at: Utc
    package_version: str
    facts: tuple[Fact, ...]
    weights: Weights | None = None
    dispatch: Dispatch | None = None
    server: SeenServer | None = None
    sha256: Sha256 = "0" * 64
    """Of everything else."""


def collect(
    platform: Platform,
    *,
    python: str | None = None,
    model: str | None = None,
    base_url: str | None = None,
    operators: Path | None = None,
    api_key: str | None = None,
) -> FactsFile:
    """What this machine says about itself.

    Args:
        platform: The machine.
        python: Interpreter that has the serving engine, where it is not this one.
        model: Folder of the weights that are served, to be fingerprinted.
        base_url: Address of the server on this machine.
        operators: Folder in which it writes down its operators.
        api_key: The server's key.

    Raises:
        ServerRefused: the server does not accept the key.
        CorruptFile: `operators` is no such folder.
        UsageError: `model` is no folder.
        ServerUnreachable: nothing answers at `base_url`.
    """
    import os

    found = [*platform.facts(), *_software.facts(_software.packages(python))]
    seen = None
    if base_url is not None:
        server = Server(base_url, api_key=api_key)
        identity = server.identity()
        seen = SeenServer(
            url=server.url,
            version=identity.version,
            models=tuple(entry.id for entry in identity.models),
            process_start=identity.process_start,
        )
        port = urllib.parse.urlsplit(server.url).port
        found += effective_facts(set(), port, {}) if port else ()
    chosen = variables(os.environ)
    if chosen:
        found.append(Fact.model_validate(_fact("host:environment", chosen)))
    return _signed(
        FactsFile(
            made_at=utc_now(),
            package_version=__version__,
            facts=tuple(found),
            weights=_weights(model) if model else None,
            dispatch=evidence.of_folder(operators) if operators else None,
            server=seen,
        )
    )


def _fact(name: str, value: object) -> dict[str, object]:
    return {"name": name, "value": value, "source": "client", "verified": True}


def _weights(model: str) -> Weights | None:
    if weights.parse(model).origin != "folder":
        raise UsageError(f"{model} is no folder", hint="--model FOLDER, as the server was given it")
    return weights.fingerprint(weights.fetch(model, lambda text: None))


def _signed(file: FactsFile) -> FactsFile:
    return file.model_copy(update={"sha256": _hash(file)})


def _hash(file: FactsFile) -> str:
    return sha256_hex(canonical_json(file.model_dump(mode="json", exclude={"sha256"})))


def dump(file: FactsFile) -> str:
    """The file's text."""
    return json.dumps(file.model_dump(mode="json"), ensure_ascii=True, indent=1) + "\n"


def load(path: Path) -> FactsFile:
    """Read a file of facts.

    Raises:
        FileError: it cannot be read, or is larger than 64 MiB.
        UsageError: it is no such file.
        CorruptFile: it is not what was written.
    """
    data = bounded.read_bytes(path, _MOST_BYTES)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{path} is not JSON: it is damaged or cut") from error
    if not isinstance(content, dict) or "flagos_eval_facts" not in content:
        raise UsageError(f"{path} holds no facts", hint="flagos-eval facts -o FILE writes some")
    try:
        file = FactsFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "facts"
        raise CorruptFile(f"{path}: {where}: {first['msg']}") from error
    if file.sha256 != _hash(file):
        raise CorruptFile(
            f"{path} was changed after it was written", hint="make it again: flagos-eval facts"
        )
    return file


def load_all(paths: Sequence[str]) -> tuple[FactsFile, ...]:
    """Several files; raises as `load` does."""
    return tuple(load(Path(path)) for path in paths)


def attach(file: FactsFile, epochs: Iterable[Epoch]) -> tuple[Fact, ...]:
    """The facts as a run states them: imported, and verified if the file saw the very process that
    answered."""
    proven = is_about(file, epochs)
    about = Fact(name="facts:made_at", value=file.made_at, source="imported", verified=proven)
    stated = Fact(name="facts:sha256", value=file.sha256, source="imported", verified=True)
    given = [
        fact.model_copy(update={"source": "imported", "verified": proven}) for fact in file.facts
    ]
    return (about, stated, *given)


def is_about(file: FactsFile, epochs: Iterable[Epoch]) -> bool:
    """Whether a start of a server that answered is the one that the file saw."""
    start = file.server.process_start if file.server else None
    return start is not None and any(
        epoch.process_start is not None and abs(epoch.process_start - start) < _CLOCK
        for epoch in epochs
    )
