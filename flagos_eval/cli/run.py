"""``flagos-eval run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import errors
from . import _ray, _reference
from ._judge import judge_key, judge_options, say_ungraded
from ._server import say_counters, say_launch, server_options

if TYPE_CHECKING:
    from ..config import Configured, RunConfig, Source
    from ..estimate import Rates
    from ..plan import Plan
    from ..records import Run
    from ..serving import Choice
    from ..store import Stored

NOT_SETTINGS = {
    *("output", "dry_run", "rate", "fresh", "config", "config_from", "plain", "quiet"),
    *("reference", "reference_max_age"),
}


def _split(_: click.Context, __: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """``-t a,b -t c`` -> a, b, c."""
    return tuple(name for part in value for name in part.split(",") if name.strip())


@click.command(
    name="run",
    context_settings={"auto_envvar_prefix": "FLAGOS_EVAL"},
    epilog="""\b
Examples
  flagos-eval run -t mathvision,shapes --base-url http://10.0.0.5:8000/v1 -o results/cuda.json
  flagos-eval run -t mathvision --launcher vllm -m /models/Qwen2.5-VL-7B-Instruct
  flagos-eval run --config-from results/cuda.json --base-url http://10.0.0.9:8000/v1 -o
  results/metax.json
  flagos-eval run --reference results/cuda.json --base-url http://10.0.0.9:8000/v1
Every option is also read from FLAGOS_EVAL_<OPTION> and from --config. A key is taken from
OPENAI_API_KEY alone; OPENAI_BASE_URL, HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE and NO_COLOR are
honoured.""",
)
@click.option(
    "-t",
    "--tasks",
    multiple=True,
    callback=_split,
    help="Benchmarks, by name; 'all' for every one.",
)
@click.option("--tasks-dir", help="Folder of further task files.")
@server_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Run file [results/<endpoint or platform>.json].",
)
@click.option("--name", help="The run's name in tables [the output's].")
@click.option("--arm", help="Which arm of an experiment this is.")
@click.option("--policy", help="Policy file that will judge the run; its hash is recorded now.")
@click.option("--data-dir", help="Local copies of datasets: DIR/<task>, or DIR itself.")
@click.option("--split", multiple=True, metavar="TASK=SPLIT", help="Another split of a benchmark.")
@click.option(
    "--revision", multiple=True, metavar="TASK=REV", help="Another revision of a dataset."
)
@click.option("--prompt", help="Prompt by name [each benchmark's first].")
@click.option(
    "-L", "--limit", type=click.IntRange(1), help="Ask only N items of each task: a preview."
)
@click.option(
    "--shard", metavar="I/N", help="Ask only part I of N; flagos-eval merge puts them together."
)
@_ray.ray_options
@click.option("--repeat", type=click.IntRange(1), help="Ask everything K times [1].")
@click.option("--temperature", type=float, help="[0]")
@click.option("--top-p", type=float, help="[1]")
@click.option("--top-k", type=int, help="[-1, off]")
@click.option("--min-p", type=float, help="[0]")
@click.option("--repetition-penalty", type=float, help="[1]")
@click.option("--seed", type=int, help="[0]")
@click.option("--max-tokens", type=click.IntRange(1), help="[each benchmark's own]")
@click.option("--max-pixels", type=click.IntRange(1), help="Image limit, sent with each request.")
@click.option("--min-pixels", type=click.IntRange(1), help="Image limit, sent with each request.")
@click.option(
    "--logprobs",
    type=click.IntRange(0, 20),
    metavar="K",
    help="Keep log-probabilities, K per token.",
)
@click.option("--concurrency", type=click.IntRange(1), help="Requests in flight [32].")
@click.option("--timeout", type=click.FloatRange(0.1), help="Seconds for one attempt [600].")
@click.option("--max-retries", type=click.IntRange(0), help="Per request [5].")
@click.option(
    "--max-error-rate",
    type=click.FloatRange(0, 1),
    help="More failures make the run incomplete [0.005].",
)
@click.option(
    "--withhold-text",
    is_flag=True,
    default=None,
    help="Keep licence-restricted texts out of files.",
)
@judge_options
@click.option("-C", "--config", type=click.Path(path_type=Path), help="Settings from a TOML file.")
@click.option(
    "--config-from",
    type=click.Path(path_type=Path),
    help="Ask exactly what this run or pack asked.",
)
@_reference.reference_options
@click.option("--fresh", is_flag=True, help="Drop the answers of an unfinished run of this output.")
@click.option("--dry-run", is_flag=True, help="Show what would be asked and started, and stop.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="With --dry-run: requests a second to reckon with [an earlier run's].",
)
@click.option("--plain", is_flag=True, help="Lines instead of a live view.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> int:
    """Ask a server the questions of benchmarks, and save what it answered.

    Stop it at any time; the same command resumes and never asks again what was answered.
    """
    from .. import catalog, estimate, serving
    from .. import plan as planning
    from .. import run as running
    from ..environment import typed_command
    from ..job import Job
    from ..loading import Loading
    from ..progress import Note, reporter

    keys = {"api_key": _api_key(), "judge_key": judge_key()}
    reference = _reference.kept(options)
    like, like_path = (
        (reference.run, reference.path) if reference else _like(options["config_from"])
    )
    if _ray.is_spread(options):
        configured = _configured(ctx, options, like)
        _reference.refuse_preview(reference, configured)
        output = options["output"] or running.default_output(configured.config, "ray")
        run = _ray.spread(configured, options, like, like_path, output, keys)
        return _end(run, output, reference, configured)
    configured, choice = serving.chosen(_configured(ctx, options, like))
    _reference.refuse_preview(reference, configured)
    config = configured.config
    platform = "" if config.base_url else serving.platform_of(config).name
    output = options["output"] or running.default_output(config, platform)
    if options["dry_run"]:
        plan = planning.make(config, like=like, like_path=like_path)
        show_questions(plan)
        show_server(config, output, choice)
        rates = _rates(plan, options["rate"], like, output)
        click.echo(f"total: {plan.total} requests; {estimate.say(plan, options['rate'], rates)}")
        return errors.EXIT_OK
    running.refuse_finished(output)
    if choice is not None and choice.launcher is None:
        # A name that is wrong is told first; loading data, which can take minutes, is spared.
        catalog.load_tasks(config.tasks, Path(config.tasks_dir) if config.tasks_dir else None)
        raise serving.no_server(choice)
    try:
        with reporter(plain=options["plain"], quiet=options["quiet"]) as report:
            if choice is not None:
                report(Note("server", choice.why))
            outline = planning.outline(config, like=like, like_path=like_path)
            with Loading(outline) as tasks:
                job = Job(
                    configured, tasks, output, typed_command(), fresh=options["fresh"], **keys
                )
                run = running.execute(job, report)
    except running.Interrupted as stopped:
        click.echo(
            f"stopped. {stopped.kept} kept. Run the same command to continue.",
            err=True,
        )
        return errors.EXIT_INTERRUPTED
    except KeyboardInterrupt:  # before anything was asked, or again while stopping
        click.echo(
            "stopped. What was answered is kept. Run the same command to continue.", err=True
        )
        return errors.EXIT_INTERRUPTED
    return _end(run, output, reference, configured)


def _end(run: Run, output: Path, reference: Stored | None, configured: Configured) -> int:
    """What a run came to, and, with ``--reference``, what it comes to beside that one."""
    code = finished(run, output)
    if reference is None or code != errors.EXIT_OK:
        return code
    return _reference.against(reference, output, configured)


def _api_key() -> str | None:
    import os

    return os.environ.get("OPENAI_API_KEY")


def _like(path: Path | None) -> tuple[Run | None, Path | None]:
    if path is None:
        return None, None
    from .. import store

    found = store.find(path)
    return store.load(found), found


def _configured(ctx: click.Context, options: dict[str, Any], like: Run | None) -> Configured:
    """Merge defaults, file, run, environment and flags, and remember where each value came from."""
    import os

    from .. import config

    layers: dict[config.Source, dict[str, Any]] = {
        "default": {},
        "file": config.read_file(options["config"]) if options["config"] else {},
        "run": dict(config.from_run(like)) if like else {},
        **given(ctx, options),
    }
    return config.combine(config.with_address(layers, os.environ.get("OPENAI_BASE_URL")))


def given(ctx: click.Context, options: dict[str, Any]) -> dict[Source, dict[str, Any]]:
    """The settings that the environment gave, and those that flags gave, in this order."""
    from click.core import ParameterSource

    layers: dict[Source, dict[str, Any]] = {"environment": {}, "flag": {}}
    sources: dict[ParameterSource | None, Source] = {
        ParameterSource.ENVIRONMENT: "environment",
        ParameterSource.COMMANDLINE: "flag",
    }
    for name, value in options.items():
        source = sources.get(ctx.get_parameter_source(name))
        if source and name not in (NOT_SETTINGS | _ray.NOT_SETTINGS):
            layers[source][name] = value
    return layers


def _rates(plan: Plan, rate: float | None, like: Run | None, output: Path) -> Rates | None:
    """How fast an earlier run was: the one that is followed, or the last of these tasks."""
    from .. import estimate

    if rate is not None:
        return None
    found = estimate.measured(like, like.name) if like is not None else None
    return found or estimate.find(plan, output.parent)


def show_questions(plan: Plan) -> None:
    """Print how many items each task has, and its first request."""
    from ..records import TextPart
    from ..reports._rows import inert

    if plan.shard is not None:
        click.echo(f"shard {plan.shard} of {sum(whole.n for whole in plan.shard.of)} items")
    for planned in plan.tasks:
        record = planned.items.record
        click.echo(
            f"{planned.task.name}: {record.n} items of {record.id} {record.split} "
            f"({record.origin}), prompt {planned.prompt.name} v{planned.prompt.version}, "
            f"{len(planned.requests)} requests"
        )
        click.echo(f"  sampling {planned.sampling.model_dump_json()}")
        click.echo("  first request:")
        for part in planned.requests[0].messages[0].content:
            if isinstance(part, TextPart):
                shown = part.text
            else:
                size = f"{part.width}x{part.height}, {part.size} bytes"
                shown = f"[{part.media_type} {size}, {part.sha256[:12]}]"
            click.echo("    " + "\n    ".join(inert(line) for line in shown.split("\n")))


def show_server(config: RunConfig, output: Path, choice: Choice | None) -> None:
    """Print who is asked, or what would be started, and where the answers go."""
    from .. import catalog, serving

    launcher = catalog.load_module("launchers", config.launcher or "external", "launcher").LAUNCHER
    server = launcher.plan(serving.launch_request(config, output, lambda text: None))
    if choice is not None:
        click.echo(f"server: {choice.why}")
    elif not server.commands:
        click.echo(f"server: {', '.join(config.base_url)}")
    say_launch(server)
    click.echo(f"output: {output}")


def finished(
    run: Run, output: Path, again: str = "run the same command to ask the failed ones again"
) -> int:
    """Print what a run came to; the exit code."""
    from tabulate import tabulate

    from ..records import Status
    from ..reports._rows import inert
    from ..served import oddities, operators

    rows = []
    for result in run.results:
        metric = result.metrics[0]
        shown = "-" if metric.value is None else f"{metric.value:.2f}"
        if metric.low != metric.high and metric.low is not None and metric.high is not None:
            shown += f" ({metric.low:.2f}-{metric.high:.2f})"
        counted = (Status.UNPARSED, Status.TRUNCATED, Status.EMPTY, Status.REFUSED, Status.ERROR)
        rows.append([result.task, result.n, shown, *(result.counts.get(s, 0) for s in counted)])
    headers = ["task", "n", "score", "unparsed", "cut", "empty", "refused", "error"]
    click.echo(
        tabulate(rows, headers=headers, disable_numparse=True, colalign=["left"] + ["right"] * 7)
    )
    say_counters(run)
    for line in oddities(run):
        click.echo(f"NOTE: {inert(line)}")
    if run.state == "incomplete":
        click.echo(f"INCOMPLETE: {run.reason}. Saved {output}; {again}.")
        return errors.EXIT_INCOMPLETE
    if run.dispatch is not None:
        click.echo(f"operators: {operators(run)}")
    if run.invalid:
        click.echo(f"INVALID: {'; '.join(run.invalid)}. Saved {output}", err=True)
        return errors.EXIT_NOT_COMPARABLE
    say_ungraded(run.results, output)
    preview = " (preview: not the whole benchmark)" if run.phase == "preview" else ""
    shard = f" (shard {run.shard}: merge it with the others)" if run.shard else ""
    click.echo(f"Saved {output}{preview}{shard}")
    return errors.EXIT_OK
