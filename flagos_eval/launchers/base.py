"""The interface of a launcher: get a server, watch it, stop all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..records import Fact


@dataclass(frozen=True)
class LaunchRequest:
    """What a launcher is asked for."""

    model: str | None
    """A folder with weights, or the name of a model that is served already."""
    base_urls: tuple[str, ...] = ()
    python: str | None = None
    """Interpreter that has the serving engine, where it is not this one."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Flags of the serving engine, without dashes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the server."""
    folder: Path = Path("results")
    """Where logs go."""
    name: str = "server"
    """Stem of the log's name."""
    image_limits: bool = False
    """Requests will carry ``mm_processor_kwargs``, which the server must accept."""
    on_event: Callable[[str], None] = lambda message: None
    """Told in plain words what is going on while a server starts."""


class ServerHandle(Protocol):
    """A server that can be asked."""

    urls: tuple[str, ...]
    model: str | None
    """The name it serves the model under; None if the user must say."""
    launcher: str
    pid: int | None
    log: Path | None
    facts: tuple[Fact, ...]
    """Command and environment as they took effect, without secrets."""

    def check(self) -> None:
        """Raises `ServerDied`, with the log's last lines, if the server is gone."""
        ...


class Launcher(Protocol):
    """Gets a server for the time of a ``with`` block, and leaves nothing running."""

    name: str

    def plan(self, request: LaunchRequest) -> tuple[str, ...]:
        """The exact command that `start` would run; empty if it starts nothing."""
        ...

    def start(self, request: LaunchRequest) -> AbstractContextManager[ServerHandle]:
        """Start and wait until it is ready.

        Raises:
            ServerStartFailed: it died or never became ready; with the log's last lines.
        """
        ...
