"""``--reference``: the options of a kept reference, and the comparison with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import errors

if TYPE_CHECKING:
    from ..config import Configured
    from ..store import Stored

_F = TypeVar("_F", bound=Callable[..., Any])

max_age_option = click.option(
    "--reference-max-age",
    type=click.FloatRange(0, min_open=True),
    metavar="DAYS",
    help="A kept reference that ended earlier is refused [180].",
)


def reference_options(command: _F) -> _F:
    """Add the options to a command."""
    option = click.option(
        "--reference",
        metavar="FILE",
        help="Ask exactly what this finished run or pack asked, and then compare with it.",
    )
    return option(max_age_option(command))


def kept(options: dict[str, Any]) -> Stored | None:
    """The reference that the options name; None if they name none.

    Raises:
        UsageError: it may not serve as one, or ``--config-from`` names another run.
        FileError: it cannot be read.
    """
    from .. import kept_reference
    from ..clock import utc_now

    name = options["reference"]
    if name is None:
        return None
    if options["config_from"] is not None:
        raise errors.UsageError(
            "--reference and --config-from both say what is asked: give one of them"
        )
    age = options["reference_max_age"] or kept_reference.MAX_AGE
    return kept_reference.load(name, max_age=age, now=utc_now())


def refuse_preview(reference: Stored | None, configured: Configured) -> None:
    """Raise where following a preview would make a preview of a run that was not asked as one."""
    from .. import kept_reference

    if reference is not None:
        wanted = any(configured.sources.get(n, "run") != "run" for n in ("limit", "split"))
        kept_reference.refuse_preview(reference, wanted=wanted)


def against(reference: Stored, output: Path, configured: Configured) -> int:
    """Print how a finished run compares with its reference; the exit code is that of compare."""
    from ..reports import terminal
    from .compare import compared, outcome

    config = configured.config
    comparison, sides = compared(
        str(reference.path),
        str(output),
        policy=config.policy or "default",
        noise=(),
        scorer=None,
        tasks_dir=Path(config.tasks_dir) if config.tasks_dir else None,
    )
    text = terminal.render(comparison, sides)
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        text = terminal.coloured(text)
    click.echo(f"\n{text}", nl=False)
    return outcome(comparison)
