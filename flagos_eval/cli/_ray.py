"""``run --engine ray``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import errors

if TYPE_CHECKING:
    from ..config import Configured
    from ..records import Run
    from ..task import Task

_F = TypeVar("_F", bound=Callable[..., Any])
NOT_SETTINGS = {"engine", "shards"}
"""Options that say where a run is driven from, and not what it asks."""


def ray_options(command: _F) -> _F:
    """Add the options to a command."""
    command = click.option(
        "--shards", type=click.IntRange(1), metavar="N", help="With --engine: how many tasks."
    )(command)
    return click.option(
        "--engine",
        type=click.Choice(["ray"]),
        help="Spread the run over a Ray cluster (RAY_ADDRESS) as --shards tasks, and merge them.",
    )(command)


def is_spread(options: dict[str, Any]) -> bool:
    """Whether the run is to be spread.

    Raises:
        UsageError: only half of it is said.
    """
    if (options["engine"] is None) != (options["shards"] is None):
        raise errors.UsageError("--engine ray and --shards N go together")
    if options["engine"] is not None and options["dry_run"]:
        raise errors.UsageError("--dry-run shows a run that is not spread: leave --engine out")
    return options["engine"] is not None


def spread(
    configured: Configured,
    options: dict[str, Any],
    like: Run | None,
    like_path: Path | None,
    output: Path,
    keys: dict[str, str | None],
) -> Run:
    """Run it; what it came to."""
    from .. import catalog, on_ray
    from ..clock import utc_now
    from ..environment import typed_command
    from ..progress import reporter

    config = configured.config
    folder = Path(config.tasks_dir) if config.tasks_dir else None
    catalog.load_tasks(config.tasks, folder)  # a name that is wrong is told here

    def load(name: str) -> Task:
        return catalog.load_task(name, folder)

    whole = on_ray.Whole(
        configured,
        options["shards"],
        output,
        typed_command(),
        like,
        like_path,
        fresh=options["fresh"],
        **keys,
    )
    with reporter(plain=True, quiet=options["quiet"]) as report:
        return on_ray.spread(whole, load, at=utc_now(), report=report)
