"""The interface of a launcher: get a server, watch it, stop all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ..operators.selection import Selection
from ..platforms.base import Platform
from ..records import Fact


@dataclass(frozen=True)
class EngineSettings:
    """How a server computes. The defaults are the same on every side, whatever the engine's are."""

    tensor_parallel: int = 1
    """Devices that one copy of the model is spread over."""
    data_parallel: int = 1
    """Copies of the model."""
    max_model_len: int | None = None
    """Tokens of prompt and answer; None takes the model's own."""
    max_pixels: int | None = None
    """Of an image; the server's image processor is told, for servers that ignore it in requests."""
    min_pixels: int | None = None
    seed: int = 0
    prefix_caching: bool = False
    """A request is computed differently when its prefix is cached (vllm#40896)."""
    eager: bool = True
    """Without graphs, which differ between engines and keep operators from being recorded."""


@dataclass(frozen=True)
class LaunchRequest:
    """What a launcher is asked for."""

    model: str | None
    """A folder with weights, or the name of a model that is served already."""
    served_name: str | None = None
    """Name to serve it under; None takes the folder's."""
    base_urls: tuple[str, ...] = ()
    python: str | None = None
    """Interpreter that has the serving engine, where it is not this one."""
    engine: EngineSettings = EngineSettings()
    settings: Mapping[str, str] = field(default_factory=dict)
    """Flags of the serving engine, without dashes; they overrule `engine`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the server."""
    flag_gems: Selection | None = None
    """Which operators are to be FlagGems'; None leaves that to the server, and records nothing."""
    platform: Platform | None = None
    """The machine; a launcher that needs it and has none asks it."""
    image: str | None = None
    """Container image."""
    inside: Literal["vllm", "flagscale"] = "vllm"
    """What runs in the container."""
    docker_arguments: tuple[str, ...] = ()
    """More arguments of ``docker run``."""
    folder: Path = Path("results")
    """Where logs go."""
    name: str = "server"
    """Stem of the log's name."""
    image_limits: bool = False
    """Requests will carry ``mm_processor_kwargs``, which the server must accept."""
    on_event: Callable[[str], None] = lambda message: None
    """Told in plain words what is going on while a server starts."""


@dataclass(frozen=True)
class LaunchPlan:
    """What `start` would do."""

    commands: tuple[tuple[str, ...], ...] = ()
    """In their order; empty if nothing is started. A port that is chosen at the start is 0."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Name -> content of what is written for them."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that are set for the last of them."""
    notes: tuple[str, ...] = ()
    """What depends on what is found at the start."""


class ServerHandle(Protocol):
    """A server that can be asked."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Base URLs."""
        ...

    @property
    def model(self) -> str | None:
        """The name it serves the model under; None if the user must say."""
        ...

    @property
    def launcher(self) -> str:
        """The launcher's name."""
        ...

    @property
    def pid(self) -> int | None:
        """The server's first process; None if it is not a process of this machine."""
        ...

    @property
    def container(self) -> str | None:
        """The container's name; None if it is not in one."""
        ...

    @property
    def log(self) -> Path | None:
        """What it wrote."""
        ...

    @property
    def operators(self) -> Path | None:
        """Folder where it writes down its operators (`operators.folder`); None if it does not."""
        ...

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Command and environment as they took effect, without secrets."""
        ...

    @property
    def limits_images(self) -> bool:
        """Whether it was started with the image limits of the requests."""
        ...

    def check(self) -> None:
        """Raises `ServerDied`, with the log's last lines, if the server is gone."""
        ...


class Launcher(Protocol):
    """Gets a server for the time of a ``with`` block, and leaves nothing running."""

    name: str
    serves_weights: bool
    """Whether ``--model`` names weights, rather than what is served already."""

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """What `start` would do, without doing any of it."""
        ...

    def start(self, request: LaunchRequest) -> AbstractContextManager[ServerHandle]:
        """Start and wait until it is ready.

        Raises:
            ServerStartFailed: it died or never became ready; with the log's last lines.
        """
        ...
