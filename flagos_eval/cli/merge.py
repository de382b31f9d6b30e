"""``flagos-eval merge``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..task import Task


@click.command(
    name="merge",
    context_settings={"auto_envvar_prefix": "FLAGOS_EVAL"},
    epilog="""\b
Examples
  flagos-eval run --shard 1/2 -t mmmu --base-url http://10.0.0.5:8000/v1 -o one.json
  flagos-eval run --shard 2/2 -t mmmu --base-url http://10.0.0.6:8000/v1 -o two.json
  flagos-eval merge one.json two.json -o cuda.json""",
)
@click.argument("shards", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The run file to write."
)
@click.option("--name", help="The run's name in tables [the output's].")
@click.option("--tasks-dir", type=click.Path(path_type=Path), help="Folder of further task files.")
def command(
    shards: tuple[Path, ...], output: Path, name: str | None, tasks_dir: Path | None
) -> int:
    """Put the shards of a run together.

    SHARDS are the files or packs of all parts, in any order. Refused are a part that is missing or
    there twice, and parts that were asked, answered or scored otherwise. The run has the scores and
    results that it would have had in one piece. A finished run is never overwritten.
    """
    from .. import catalog
    from ..clock import utc_now
    from ..environment import typed_command
    from ..merging import merge
    from ..run import refuse_finished
    from .run import finished

    def load(task: str) -> Task:
        return catalog.load_task(task, tasks_dir)

    refuse_finished(output)
    run = merge(shards, output, load, at=utc_now(), command=typed_command(), name=name)
    return finished(run, output, again="merge again when the failed requests of a shard are asked")
