"""The options that say which server is asked, and how a server that would be started is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..launchers.base import LaunchPlan
    from ..records import Run

_F = TypeVar("_F", bound=Callable[..., Any])


def _not_shown(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """The values, unless a secret is typed among them: everybody on the machine could read it."""
    from click.core import ParameterSource

    from ..errors import UsageError
    from ..redact import redact_command

    typed = ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
    if values and typed and redact_command(values) != values:
        raise UsageError(
            f"{param.opts[0]} holds a secret, which the list of processes would show",
            hint="export it as a variable, and --env NAME without a value hands it on",
        )
    return values


_OPTIONS = (
    click.option(
        "-m",
        "--model",
        help="Name at the server; for a launcher a folder of weights, or a hub's id.",
    ),
    click.option(
        "--base-url",
        multiple=True,
        help="A running server, as http://HOST:8000/v1; repeat to spread load.",
    ),
    click.option(
        "--facts",
        multiple=True,
        metavar="FILE",
        help="What flagos-eval facts wrote on the machine of --base-url.",
    ),
    click.option(
        "--launcher",
        help="Start a server: vllm, flagscale, docker, embedded (flagos-eval ls launchers).",
    ),
    click.option("--server-python", help="Interpreter that has the serving engine."),
    click.option("--platform", help="The machine's kind [found by its vendor's tool]."),
    click.option("--image", help="Container image of --launcher docker."),
    click.option(
        "--inside",
        type=click.Choice(["vllm", "flagscale"]),
        help="What runs in the container [vllm].",
    ),
    click.option(
        "--docker-arg",
        multiple=True,
        metavar="ARG",
        callback=_not_shown,
        help="A further argument of docker run.",
    ),
    click.option(
        "--tensor-parallel",
        type=click.IntRange(1),
        metavar="N",
        help="Devices that the model is spread over [1].",
    ),
    click.option(
        "--data-parallel", type=click.IntRange(1), metavar="N", help="Copies of the model [1]."
    ),
    click.option(
        "--max-model-len",
        type=click.IntRange(1),
        metavar="N",
        help="Tokens of prompt and answer [the model's own].",
    ),
    click.option(
        "--prefix-caching/--no-prefix-caching",
        default=None,
        help="Of the started server [off: it changes what is computed].",
    ),
    click.option(
        "--eager/--no-eager", default=None, help="Of the started server: no graphs [eager]."
    ),
    click.option(
        "--flag-gems",
        metavar="WHICH",
        help="FlagGems' operators of the started server, checked afterwards: off, all, "
        "only:mm,softmax or not:mm [the server's own, not checked].",
    ),
    click.option(
        "--set",
        "set",
        multiple=True,
        metavar="FLAG=VALUE",
        callback=_not_shown,
        help="A flag of the started server.",
    ),
    click.option(
        "--env",
        multiple=True,
        metavar="NAME[=VALUE]",
        callback=_not_shown,
        help="A variable of the started server; NAME alone has its value here.",
    ),
)


def server_options(command: _F) -> _F:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def say_launch(plan: LaunchPlan) -> None:
    """Print the exact commands and files, without secrets."""
    import shlex

    from ..redact import redact, redact_command, redact_variables
    from ..reports._rows import inert

    for command in plan.commands:
        click.echo(f"server: {inert(shlex.join(redact_command(command)))}")
    for name, value in redact_variables(plan.environment).items():
        click.echo(f"  {inert(name)}={inert(value)}")
    for name, content in plan.files.items():
        click.echo(f"  {inert(name)}:")
        for line in redact(content).splitlines():
            click.echo(f"    {inert(line)}")
    for note in plan.notes:
        click.echo(f"  note: {inert(note)}")


def say_counters(run: Run) -> None:
    """Print what the servers counted, where it is not what they answered."""
    from ..reports._rows import inert
    from ..tally import tally

    found = tally(run)
    if found is not None and found.state in ("more", "less"):
        click.echo(f"COUNTERS DIFFER: {inert(found.detail)}. Answers: {found.shown}.")
