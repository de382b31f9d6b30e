"""``flagos-eval ls``."""

from __future__ import annotations

from pathlib import Path

import click

from .. import errors

_KINDS = ("tasks", "runs", "launchers", "platforms", "reports", "importers")


@click.command(name="ls", context_settings={"auto_envvar_prefix": "FLAGOS_EVAL"})
@click.argument("kind", type=click.Choice(_KINDS), default="tasks")
@click.option("--tasks-dir", type=click.Path(path_type=Path), help="Folder of further task files.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(kind: str, tasks_dir: Path | None, as_json: bool) -> int:
    """List tasks, runs, launchers, platforms, report formats or formats to import."""
    import json

    from tabulate import tabulate

    if kind == "tasks":
        rows = _tasks(tasks_dir)
    elif kind == "runs":
        rows = _runs()
    elif kind == "platforms":
        from .. import platforms

        rows = [
            {"name": name, "devices chosen by": platform.visible_devices or "-"}
            for name, platform in platforms.known().items()
        ]
    else:
        from .. import catalog

        rows = [{"name": name, "module": module} for name, module in catalog.modules(kind).items()]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    elif rows:
        click.echo(tabulate(rows, headers="keys", disable_numparse=True))
    else:
        click.echo(f"no {kind}")
    return errors.EXIT_OK


def _tasks(folder: Path | None) -> list[dict[str, object]]:
    from .. import catalog

    rows: list[dict[str, object]] = []
    for name in catalog.task_names(folder):
        task = catalog.load_task(name, folder)
        rows.append(
            {
                "task": name,
                "n": task.dataset.n[task.dataset.split],
                "prompts": ", ".join(p.name for p in task.prompts),
                "scorers": ", ".join(s.name for s in task.scorers),
                "title": task.title,
            }
        )
    return rows


def _runs() -> list[dict[str, object]]:
    from .. import store

    rows: list[dict[str, object]] = []
    for path in sorted(store.RESULTS.glob("**/*.json")):
        try:
            run = store.load(path.resolve())
        except errors.FlagosEvalError as error:
            rows.append({"run": str(path), "state": f"unreadable: {error.message[:50]}"})
            continue
        rows.append(
            {
                "run": str(path),
                "state": run.state,
                "phase": f"shard {run.shard}" if run.shard else run.phase,
                "ended": run.ended_at[:16],
                "tasks": ", ".join(task.name for task in run.tasks),
            }
        )
    return rows
