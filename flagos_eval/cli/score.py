"""``flagos-eval score``."""

from __future__ import annotations

from pathlib import Path

import click

from .. import errors


@click.command(
    name="score",
    context_settings={"auto_envvar_prefix": "FLAGOS_EVAL"},
    epilog="""\b
Examples
  flagos-eval score cuda.json                 does this version score it as it was scored?
  flagos-eval score cuda.json -o again.json   save it with the new scores""",
)
@click.argument("run")
@click.option("--scorer", help="Scorer by name [each benchmark's first].")
@click.option("--tasks-dir", type=click.Path(path_type=Path), help="Folder of further task files.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Save the run with the new scores."
)
@click.option(
    "--limit", type=click.IntRange(1), default=10, show_default=True, help="Changes to show."
)
def command(
    run: str, scorer: str | None, tasks_dir: Path | None, output: Path | None, limit: int
) -> int:
    """Score the stored responses of a run again, without a server.

    RUN is a run file or a pack. Nothing is overwritten: -o names a new file.
    """
    from tabulate import tabulate

    from .. import catalog, store
    from ..clock import utc_now
    from ..environment import typed_command
    from ..reports._rows import inert, number
    from ..rescore import rescore

    path = store.find(run)
    loaded = store.load(path)
    outcome = rescore(
        loaded,
        path,
        lambda name: catalog.load_task(name, tasks_dir),
        scorer=scorer,
        at=utc_now(),
        command=typed_command(),
    )
    rows = [
        [
            r.task,
            f"{r.scorer} v{r.scorer_version}",
            r.n,
            r.metrics[0].name,
            number(r.metrics[0].value),
        ]
        for r in outcome.run.results
    ]
    click.echo(
        tabulate(rows, headers=["task", "scorer", "n", "metric", "value"], disable_numparse=True)
    )
    click.echo(f"{len(outcome.changed)} of {len(outcome.run.scores)} scores changed")
    for before, after in outcome.changed[:limit]:
        click.echo(
            f"  {inert(after.task)} {inert(after.sample_id)}: "
            f"{before.value} {before.status.value} -> {after.value} {after.status.value}"
        )
    if output is not None:
        _save(outcome.run, path, output)
    return errors.EXIT_OK


def _save(run: object, path: Path, output: Path) -> None:
    from .. import samples, store
    from ..records import Run

    assert isinstance(run, Run)
    if output.exists():
        raise errors.FinishedRun(f"{output} exists and stays as it is", hint="choose another -o")
    for file in run.files:
        target = output.parent / file.path
        if not target.exists():
            data = samples.read_stored(path, file)
            with store.atomic_write(target) as out:
                out.write(data)
    store.save(run, output)
    click.echo(f"Saved {output}")
