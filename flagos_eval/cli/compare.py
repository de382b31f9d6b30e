"""``flagos-eval compare``."""

from __future__ import annotations

import click

from .. import errors


@click.command(
    name="compare",
    context_settings={"auto_envvar_prefix": "FLAGOS_EVAL"},
    epilog="""\b
Examples
  flagos-eval compare cuda.json metax.json        both are also looked for in results/
  flagos-eval compare cuda.json metax.json --json""",
)
@click.argument("reference")
@click.argument("candidate")
@click.option("--json", "as_json", is_flag=True, help="The comparison's record instead of a table.")
def command(reference: str, candidate: str, as_json: bool) -> int:
    """Put two runs side by side, answer by answer.

    REFERENCE and CANDIDATE are run files or packs. This version counts differences and gives no
    verdict: exit code 3, or 4 when the runs are not comparable, or 5 when one is incomplete."""
    from .. import catalog, store
    from ..compare import compare

    one, other = store.load(reference), store.load(candidate)
    comparison = compare(one, other)
    report = catalog.load_module("reports", "json" if as_json else "terminal", "report format")
    click.echo(report.render(comparison), nl=False)
    return outcome(comparison.comparable, (one.state, other.state))


def outcome(comparable: bool, states: tuple[str, ...]) -> int:
    """The exit code of a comparison."""
    codes = [errors.EXIT_NO_VERDICT]
    if not comparable:
        codes.append(errors.EXIT_NOT_COMPARABLE)
    if "incomplete" in states:
        codes.append(errors.EXIT_INCOMPLETE)
    return errors.worst_exit_code(*codes)
