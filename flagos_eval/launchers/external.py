"""``--base-url``: servers that are running already. Nothing is started and nothing stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..records import Fact
from ..server import check_url
from .base import LaunchPlan, LaunchRequest


@dataclass(frozen=True)
class ExternalServer:
    """Somebody else's server."""

    urls: tuple[str, ...]
    model: str | None
    launcher: str = "external"
    pid: int | None = None
    container: str | None = None
    log: Path | None = None
    operators: Path | None = None
    limits_images: bool = False
    facts: tuple[Fact, ...] = ()

    def check(self) -> None:
        """Nothing to watch: the client notices when it is gone."""


class External:
    """Servers named by their address."""

    name = "external"
    serves_weights = False

    def plan(self, request: LaunchRequest) -> LaunchPlan:
        """Nothing is started."""
        return LaunchPlan()

    @contextmanager
    def start(self, request: LaunchRequest) -> Iterator[ExternalServer]:
        """The servers as they are."""
        if request.flag_gems is not None:
            raise UsageError(
                "--flag-gems is about a server that is started here",
                hint="docs/servers.md shows how another one writes down its operators for "
                "flagos-eval facts --operators",
            )
        urls = tuple(check_url(url) for url in request.base_urls)
        if len(set(urls)) != len(urls):
            raise UsageError("the same --base-url is given twice")
        yield ExternalServer(urls=urls, model=request.model)


LAUNCHER = External()
