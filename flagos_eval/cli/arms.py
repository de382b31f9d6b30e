"""``flagos-eval arms``."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import errors
from . import _ray
from . import run as _run
from ._judge import judge_key
from ._reference import max_age_option

if TYPE_CHECKING:
    from ..arms import Experiment, Given
    from ..arms_run import Compared, Outcome

_F = TypeVar("_F", bound=Callable[..., Any])


def _run_settings(command: _F) -> _F:
    """Add every setting of ``run``, which then holds for all arms. Its help has them."""
    left_out = {*_run.NOT_SETTINGS, *_ray.NOT_SETTINGS, "name", "arm", "shard"}
    for option in reversed(_run.command.params):
        if isinstance(option, click.Option) and option.name not in left_out:
            hidden = copy.copy(option)
            hidden.hidden = True
            command.__dict__.setdefault("__click_params__", []).append(hidden)
    return command


@click.command(
    name="arms",
    context_settings={"auto_envvar_prefix": "FLAGOS_EVAL"},
    epilog="""\b
Examples
  flagos-eval arms release.toml                       to results/release/
  flagos-eval arms release.toml --dry-run             what would be asked and started
  flagos-eval arms release.toml -L 50 -o results/try  any setting of run, for every arm
A file of two arms
  tasks = ["mathvision"]
  policy = "policy.toml"
  model = "/models/Qwen2.5-VL-7B-Instruct"
  [arms.cuda]
  reference = "cuda.json"       a run that is kept, and not made again
  [arms.native]
  launcher = "flagscale"
Exit codes: of an arm or comparison that could not be made (2, 74) the first; else of all
outcomes the first of 4, 5, 1, 3, 0.""",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where runs and comparisons go [results/<FILE's name>].",
)
@max_age_option
@click.option("--fresh", is_flag=True, help="Drop the answers of arms that are not finished.")
@click.option("--dry-run", is_flag=True, help="Show what would be asked and started, and stop.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="With --dry-run: requests a second to reckon with [an earlier run's].",
)
@click.option("--plain", is_flag=True, help="Lines instead of a live view.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@_run_settings
@click.pass_context
def command(ctx: click.Context, /, file: Path, **options: Any) -> int:
    """Ask several servers the same, one after the other, and compare them pair by pair.

    FILE is TOML: settings of run, by their long names, and a table [arms.NAME] for each server with
    what differs. Each arm is a run of its own, FOLDER/NAME.json, and each pair a comparison,
    FOLDER/ONE-vs-OTHER.json. Every arm is checked before the first server starts; one that fails
    does not keep the others from running. The same command goes on where it was stopped.
    """
    from .. import arms, arms_file, arms_run, catalog, store
    from .. import run as running
    from ..progress import Note, reporter

    folder = options["output"] or store.RESULTS / file.stem
    quiet, dry = options["quiet"], options["dry_run"]
    with reporter(plain=True, quiet=quiet or dry) as report:
        experiment = arms.prepare(
            arms_file.read(file),
            _given(ctx, options, folder),
            lambda text: report(Note("data", text)),
        )
    if dry:
        _show(experiment, folder, options["rate"])
        return errors.EXIT_OK
    outcomes: list[Outcome] = []
    try:
        for outcome in arms_run.ask(
            experiment, lambda: reporter(plain=options["plain"], quiet=quiet)
        ):
            _say(outcome)
            outcomes.append(outcome)
    except running.Interrupted as stopped:
        click.echo(
            f"stopped. {stopped.kept} of this arm kept. Run the same command to continue.",
            err=True,
        )
        return errors.EXIT_INTERRUPTED
    tasks_dir = experiment.plan.config.tasks_dir
    known = partial(catalog.load_task, folder=Path(tasks_dir) if tasks_dir else None)
    compared = list(arms_run.compare(experiment, outcomes, folder, known))
    return _finished(experiment, outcomes, compared)


def _given(ctx: click.Context, options: dict[str, Any], folder: Path) -> Given:
    from ..arms import Given
    from ..clock import utc_now
    from ..environment import typed_command

    return Given(
        folder=folder,
        layers=_run.given(ctx, options),
        address=os.environ.get("OPENAI_BASE_URL"),
        command=typed_command(),
        now=utc_now(),
        max_age=options["reference_max_age"],
        api_key=os.environ.get("OPENAI_API_KEY"),
        judge_key=judge_key(),
        fresh=options["fresh"],
    )


# --- Before ---------------------------------------------------------------------------------------


def _show(experiment: Experiment, folder: Path, rate: float | None) -> None:
    """What is asked, which is the same for every arm; then each arm's server and file."""
    from .. import estimate
    from ..arms_file import VERSUS

    _run.show_questions(experiment.plan)
    for arm in experiment.arms:
        repeats = f", a repetition of {arm.repeat_of}" if arm.repeat_of else ""
        click.echo(f"\narm {arm.name}{repeats}")
        if arm.job is None:
            click.echo(f"kept: {arm.path}")
        elif arm.finished:
            click.echo(f"finished: {arm.path}")
        else:
            _run.show_server(arm.job.config, arm.path, arm.choice)
    click.echo("")
    for pair in experiment.pairs:
        click.echo(f"comparison: {VERSUS.join(pair)} ({_apart(experiment, pair)})")
    rates = None if rate is not None else estimate.find(experiment.plan, folder)
    n, total = len(experiment.open), experiment.plan.total
    click.echo(
        f"total: {n * total} requests, {total} of each of {n} arms; for one arm: "
        f"{estimate.say(experiment.plan, rate, rates)}"
    )


def _apart(experiment: Experiment, pair: tuple[str, str]) -> str:
    """What a difference between the two can come from, as far as settings say it."""
    names = ", ".join(name.replace("_", "-") for name in experiment.differing(pair))
    return f"differ in {names}" if names else "served alike"


# --- After ----------------------------------------------------------------------------------------


def _say(outcome: Outcome) -> None:
    """A line as soon as an arm's outcome is known; a failure in full."""
    if outcome.error is not None:
        click.echo(f"arm {outcome.arm}: {outcome.error.message}", err=True)
        if outcome.error.hint:
            click.echo(f"  try: {outcome.error.hint}", err=True)
    elif outcome.state == "finished before":
        click.echo(f"arm {outcome.arm}: {outcome.path} is finished and not asked again", err=True)


def _finished(experiment: Experiment, outcomes: list[Outcome], compared: list[Compared]) -> int:
    from ..arms_run import exit_code
    from ..reports._matrix import matrix
    from ..reports._rows import inert

    _table(
        ("arm", "state", "file, or why"),
        ((o.arm, o.state, _reason(o.why) or str(o.path)) for o in outcomes),
    )
    found = {c.pair: c.comparison for c in compared if c.comparison is not None}
    if found:
        click.echo(f"\n{matrix(found)}")
    if compared:
        _table(
            ("comparison", "verdict", "what differs, file"),
            (_pair_row(experiment, c) for c in compared),
        )
    for note in dict.fromkeys(note for held in found.values() for note in held.notes):
        click.echo(_wrapped(f"note: {inert(note)}", 98))
    return exit_code([*(o.code for o in outcomes), *map(_pair_code, compared)])


def _pair_row(experiment: Experiment, compared: Compared) -> tuple[str, str, str]:
    name = compared.path.stem
    if compared.comparison is None:
        return name, "not compared", _reason(compared.why)
    verdict = compared.comparison.suite.verdict
    return name, verdict, f"{_apart(experiment, compared.pair)}: {compared.path}"


def _pair_code(compared: Compared) -> int:
    """Of a pair that waits for an arm nothing counts but that arm."""
    from .compare import outcome

    if compared.comparison is not None:
        return outcome(compared.comparison)
    return compared.error.exit_code if compared.error else errors.EXIT_OK


def _reason(why: str | None) -> str:
    """The first line of a message, of which the others were printed already: a server's log."""
    from ..reports._rows import inert

    return inert(why.splitlines()[0]) if why else ""


def _table(headers: tuple[str, str, str], rows: Iterable[tuple[str, str, str]]) -> None:
    """Lines of at most 100 columns: the last cell is wrapped into what the others leave."""
    from tabulate import tabulate

    table = [headers, *((_wrapped(one, 40), two, three) for one, two, three in rows)]
    room = (
        100 - 4 - sum(max(map(_columns, column)) for column in list(zip(*table, strict=True))[:2])
    )
    table = [(one, two, _wrapped(three, max(room, 20))) for one, two, three in table]
    shown = tabulate(table, tablefmt="plain", disable_numparse=True).splitlines()
    lines = [line.rstrip() for line in shown]
    click.echo("\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]]))


def _columns(cell: str) -> int:
    return max(map(len, cell.split("\n")))


def _wrapped(text: str, width: int) -> str:
    import textwrap

    return textwrap.fill(text, width, break_on_hyphens=False)
